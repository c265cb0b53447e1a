"""Hotel: stand-in for the booking assistant; its limit is of its `.env`, its machines are containers of a Compose project."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.standins.core import Answer, Growth, Sample, StandIn, serve


class Hotel(StandIn):
    """Guests ask `traffic` times a second; each machine answers RATE_LIMIT_PER_MINUTE of it, and refuses the rest."""

    routes: ClassVar = {"/health/live": "alive", "/health/ready": "alive"}

    def __init__(self, home: Path) -> None:
        """Start with empty counters."""
        super().__init__(home)
        self._offered, self._hits = Growth(), Growth()

    def alive(self, method: str, path: str) -> Answer:
        """Say that it lives."""
        return 200, {"status": "alive"}

    def machines(self) -> int:
        """Count the containers that run now."""
        kept = json.loads(Path(self.parts["docker"]).read_text(encoding="utf-8"))
        return sum(one["State"]["Running"] for one in kept["containers"])

    def measured(self) -> Iterable[Sample]:
        """Say how many are refused."""
        taken = int(self.env["RATE_LIMIT_PER_MINUTE"]) / 60 * self.machines()
        refused = max(0.0, self.fault("traffic") - taken)
        yield "slowapi_limiter_hits_total", {}, self._hits.by(refused)

    def exported(self, job: str) -> Iterable[Sample]:
        """Say what stands in front of the limit."""
        if job == "agente-hotel-nginx":
            yield "nginx_http_requests_total", {}, self._offered.by(self.fault("traffic"))


if __name__ == "__main__":
    serve(Hotel)

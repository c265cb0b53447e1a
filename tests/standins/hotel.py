"""Hotel: stand-in for the booking assistant behind nginx; its limit is of its `.env`, its machines are those of a project."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.standins.core import Answer, Growth, Sample, StandIn, asked, serve

GUESTS = tuple(f"198.18.0.{n}" for n in range(1, 6))


class Hotel(StandIn):
    """Guests ask `traffic` times a second and one address `client` times; each machine refuses what is beyond its limit."""

    routes: ClassVar = {"/health/live": "alive", "/health/ready": "alive"}

    def __init__(self, home: Path) -> None:
        """Start with empty counters."""
        super().__init__(home)
        self._offered, self._hits = Growth(), Growth()
        self._refused = {address: Growth() for address in (*GUESTS, self.parts["client"])}

    def alive(self, method: str, path: str) -> Answer:
        """Say that it lives."""
        return 200, {"status": "alive"}

    def machines(self) -> int:
        """Count the containers that run now."""
        kept = json.loads(Path(self.parts["docker"]).read_text(encoding="utf-8"))
        return sum(one["State"]["Running"] for one in kept["containers"])

    def _client(self) -> float:
        """Return how often the one address comes through nginx."""
        rate = self.fault("client")
        seen = {"X-Forwarded-For": self.parts["client"]}
        return rate if rate and asked(f"{self.parts['nginx']}/health/live", headers=seen)[0] == 200 else 0.0

    def measured(self) -> Iterable[Sample]:
        """Say how many are refused."""
        taken = int(self.env["RATE_LIMIT_PER_MINUTE"]) / 60 * self.machines()
        refused = max(0.0, self.fault("traffic") + self._client() - taken)
        yield "slowapi_limiter_hits_total", {}, self._hits.by(refused)

    def exported(self, job: str) -> Iterable[Sample]:
        """Say what the exporters of nginx, of its access log and of Redis say."""
        if job == "agente-hotel-nginx":
            yield (
                "nginx_http_requests_total",
                {},
                self._offered.by(self.fault("traffic") + self.fault("client")),
            )
        elif job == "agente-hotel-accesslog":
            usual = self.fault("traffic") / len(GUESTS)
            rates = dict.fromkeys(GUESTS, usual) | {self.parts["client"]: self._client()}
            for address, refused in self._refused.items():
                labels = {"status": "429", "remote_addr": address}
                yield "nginx_http_response_count_total", labels, refused.by(rates[address])
        elif job == "agente-hotel-redis":
            yield "redis_up", {}, self._redis_answers()

    def _redis_answers(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.parts["redis"], socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


if __name__ == "__main__":
    serve(Hotel)

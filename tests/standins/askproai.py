"""AskProAI: stand-in for the API behind nginx; Redis is real, what keeps a flood out, nginx and Cloudflare's double know."""

import json
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from tests.standins.core import Answer, Growth, Sample, StandIn, asked, serve

USUAL = 50  # requests a second
LIMITS = ("1", "10", "+Inf")  # seconds of the histogram's buckets


class AskProAI(StandIn):
    """`flood` and `client`: requests a second, of many and of one; both come to Cloudflare first."""

    routes: ClassVar = {"/api/health/redis": "redis", "/api/health": "alive"}

    def __init__(self, home: Path) -> None:
        """Start with empty counters."""
        super().__init__(home)
        self._offered, self._reached, self._client = Growth(), Growth(), Growth()
        self._answers = {limit: Growth() for limit in LIMITS}

    def alive(self, method: str, path: str) -> Answer:
        """Say that it lives."""
        return 200, {"status": "healthy"}

    def redis(self, method: str, path: str) -> Answer:
        """Say whether Redis takes a write."""
        return (
            (200, {"status": "healthy"})
            if self._takes_a_write()
            else (503, {"error": "OOM command not allowed"})
        )

    def _takes_a_write(self) -> bool:
        import redis

        with redis.Redis.from_url(self.parts["redis"], socket_timeout=1) as client:
            try:
                return bool(client.set("session:probe", "x" * 100, ex=600))
            except redis.RedisError:
                return False

    def cloudflare(self, path: str) -> Any:
        """Ask Cloudflare."""
        place = f"{self.parts['cloudflare']}/zones/{self.parts['zone']}/{path}"
        asking = urllib.request.Request(place, headers={"Authorization": f"Bearer {self.parts['token']}"})
        with urllib.request.urlopen(asking, timeout=2) as answer:
            return json.loads(answer.read())["result"]

    def exported(self, job: str) -> Iterable[Sample]:
        """Say what each exporter says."""
        return {
            "askproai-health": self._health,
            "askproai-cloudflare": self._cloudflare,
            "askproai-nginx": self._nginx,
            "askproai-nginxlog": self._log,
            "askproai-redis": self._redis,
        }[job]()

    def _health(self) -> Iterable[Sample]:
        yield "probe_success", {"check": "site"}, asked(f"{self.parts['url']}/api/health")[0] == 200

    def _cloudflare(self) -> Iterable[Sample]:
        asked_for = USUAL + self.fault("flood") + self.fault("client")
        yield "cloudflare_zone_requests_total", {"zone": "askproai.de"}, self._offered.by(asked_for)

    def _flooded(self) -> float:
        """Return what of the flood comes through: who attacks answers no challenge."""
        flood = self.fault("flood")
        return (
            0.0 if flood and self.cloudflare("settings/security_level")["value"] == "under_attack" else flood
        )

    def _nginx(self) -> Iterable[Sample]:
        yield "nginx_http_requests_total", {}, self._reached.by(USUAL + self._flooded())

    def _log(self) -> Iterable[Sample]:
        client = self.fault("client")
        if client:
            rules = self.cloudflare("firewall/access_rules/rules")
            client *= all(rule["configuration"]["value"] != self.parts["client"] for rule in rules)
        labels = {"status": "200", "remote_addr": self.parts["client"]}
        yield "nginx_http_response_count_total", labels, self._client.by(client)
        slow = self._flooded() > 0
        for limit, count in self._answers.items():
            rate = 0 if slow and limit == "1" else USUAL
            yield "nginx_http_response_time_seconds_hist_bucket", {"le": limit}, count.by(rate)

    def _redis(self) -> Iterable[Sample]:
        import redis

        self._takes_a_write()  # as the application does all the time
        with redis.Redis.from_url(self.parts["redis"], socket_timeout=1, decode_responses=True) as client:
            refused = client.info("errorstats").get("errorstat_OOM", {"count": 0})
        yield "redis_up", {}, 1
        yield "redis_errors_total", {"err": "OOM"}, refused["count"]


if __name__ == "__main__":
    serve(AskProAI)

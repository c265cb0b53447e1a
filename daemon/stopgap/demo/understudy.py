"""Understudy: plays Prometheus and Alertmanager where they are not installed.

It reads the stand-ins' `/metrics`, decides the pack's four alerts by itself, posts the same notifications (Alertmanager's
version "4"), and answers the few queries that the pack's probes ask, by name. It is no PromQL engine: what it does not know
is an error, hence unknown.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from stopgap.alert import fingerprint
from stopgap.demo.monitoring import GROUP_INTERVAL

_EVERY = 1.0
_SAMPLES = 6  # rates are taken over the last five seconds
_REPEAT = 30.0
_NEVER = "0001-01-01T00:00:00Z"
_PATIENCE = aiohttp.ClientTimeout(total=3)

Sample = Mapping[str, float]
"""Metric name, for a histogram's bucket with its `le` in braces, to value."""

QUERIES = {
    "latency_p95": "understudy:latency_p95",
    "limiter_hits": "understudy:limiter_hits",
    "pms_latency": "understudy:pms_latency",
    "offered": "understudy:offered",
}
"""What the pack's vars are set to: names that the understudy answers."""

CONDITIONS = {
    "PMSCircuitBreakerOpen": ("max(pms_circuit_breaker_state)", 1.0, "critical"),
    "DatabaseDown": ("understudy:database_down", 1.0, "critical"),
    "HighLatency": ("understudy:latency_p95", 3.0, "warning"),
    "RateLimitSpike": ("understudy:limiter_hits", 10.0, "warning"),
}
"""Alert → query, the value from which it fires, severity: those of alerts.yaml."""


def read(text: str) -> dict[str, float]:
    """Read Prometheus' text format; a histogram's buckets are told apart by `le`."""
    return {
        sample.name + (f"{{{sample.labels['le']}}}" if "le" in sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def quantile(fraction: float, increase: Mapping[float, float]) -> float | None:
    """Interpolate a quantile from cumulative counts by upper bound, as `histogram_quantile` does; None without observations."""
    bounds = sorted(increase)
    total = increase[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    below, floor = 0.0, 0.0
    for bound in bounds:
        count = increase[bound]
        if count >= fraction * total:
            if bound == float("inf"):
                return floor
            return floor + (bound - floor) * (fraction * total - below) / (count - below)
        below, floor = count, bound
    return floor


@dataclass
class Understudy:
    """Polls `targets` (job → host:port) every second, posts to `webhook` with `token`, answers queries at `address`."""

    targets: Mapping[str, str]
    webhook: str
    token: str
    _history: dict[str, deque[tuple[float, Sample]]] = field(default_factory=dict)
    _since: dict[str, str] = field(default_factory=dict)
    _told: dict[str, float] = field(default_factory=dict)

    @property
    def firing(self) -> frozenset[str]:
        """Return the names of the alerts that fire."""
        return frozenset(self._since)

    def take(self, job: str, at: float, sample: Sample | None) -> None:
        """Learn one scrape; None is a target that did not answer, whose last values are then stale."""
        history = self._history.setdefault(job, deque(maxlen=_SAMPLES))
        if sample is None:
            history.clear()
        else:
            history.append((at, sample))

    def ask(self, query: str) -> float | None:
        """Answer a query by its name; None is no data. Raises KeyError for a query that it does not know."""
        if query.startswith("max(") and query.endswith(")"):
            return self._now("agente-hotel", query[4:-1])
        match query.removeprefix("understudy:"):
            case "database_down":
                up = self._now("agente-hotel", "database_up")
                return None if up is None else 1.0 - up
            case "latency_p95":
                return self._p95("agente-hotel", "orchestration_latency_seconds")
            case "pms_latency":
                return self._p95("agente-hotel-pms", "pms_api_latency_seconds")
            case "limiter_hits":
                return self._rate("agente-hotel", "slowapi_limiter_hits_total")
            case "offered":
                return self._rate("agente-hotel-guests", "guest_requests_total")
            case _:
                raise KeyError(query)

    def judge(self) -> dict[str, str]:
        """Return what changed: alert → `firing` or `resolved`; no data resolves, as it does in Prometheus."""
        changed = {}
        for alert, (query, threshold, _) in CONDITIONS.items():
            value = self.ask(query)
            fires = value is not None and value >= threshold
            if fires and alert not in self._since:
                changed[alert] = "firing"
            elif not fires and alert in self._since:
                changed[alert] = "resolved"
        return changed

    def notification(self, alert: str, status: str) -> dict[str, Any]:
        """Build the body that Alertmanager would post for this alert (version "4")."""
        labels = {
            "alertname": alert,
            "job": "agente-hotel",
            "service": "agente-hotel",
            "severity": CONDITIONS[alert][2],
        }
        one = {
            "status": status,
            "labels": labels,
            "annotations": {"summary": f"{alert}, as the understudy sees it"},
            "startsAt": self._since.get(alert, _now_text()),
            "endsAt": _now_text() if status == "resolved" else _NEVER,
            "generatorURL": "",
            "fingerprint": fingerprint(labels),
        }
        return {
            "version": "4",
            "groupKey": f'{{}}:{{alertname="{alert}", job="agente-hotel"}}',
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "stopgap",
            "groupLabels": {"alertname": alert, "job": "agente-hotel"},
            "commonLabels": labels,
            "commonAnnotations": one["annotations"],
            "externalURL": "",
            "alerts": [one],
        }

    async def run(self) -> None:
        """Scrape, judge and tell for ever; what could not be told is told again."""
        async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
            while True:
                for job, address in self.targets.items():
                    self.take(job, time.monotonic(), await _scrape(session, address))
                await self._tell(session)
                await asyncio.sleep(_EVERY)

    async def _tell(self, session: aiohttp.ClientSession) -> None:
        changed, now = self.judge(), time.monotonic()
        for alert, status in changed.items():
            if status == "firing":
                self._since[alert] = _now_text()
        due = {alert: "firing" for alert in self._since if now - self._told.get(alert, -_REPEAT) >= _REPEAT}
        for alert, status in {**due, **changed}.items():
            if status == "resolved" and now - self._told.get(alert, -_REPEAT) < GROUP_INTERVAL:
                continue
            if await self.notify(session, self.notification(alert, status)):
                self._told[alert] = now
                if status == "resolved":
                    del self._since[alert], self._told[alert]

    async def notify(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> bool:
        """Post one notification: True when the receiver took it."""
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            async with session.post(self.webhook, json=body, headers=headers) as answer:
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    @contextlib.asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[None]:
        """Answer `/api/v1/query` as Prometheus does, while polling and telling."""
        app = web.Application()
        app.router.add_route("*", "/api/v1/query", self._query)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        task = asyncio.create_task(self.run())
        try:
            await web.TCPSite(runner, host, port).start()
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await runner.cleanup()

    async def _query(self, request: web.Request) -> web.Response:
        form = await request.post() if request.method == "POST" else request.query
        query = str(form.get("query", ""))
        try:
            value = self.ask(query)
        except KeyError:
            problem = {
                "status": "error",
                "errorType": "bad_data",
                "error": "the understudy knows no such query",
            }
            return web.json_response(problem, status=400)
        result = [] if value is None else [{"metric": {}, "value": [time.time(), repr(value)]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    def _now(self, job: str, metric: str) -> float | None:
        history = self._history.get(job)
        return history[-1][1].get(metric) if history else None

    def _rate(self, job: str, metric: str) -> float | None:
        history = self._history.get(job, deque())
        if len(history) < 2:  # noqa: PLR2004 - a rate needs two points
            return None
        (first_at, first), (last_at, last) = history[0], history[-1]
        return max(0.0, last.get(metric, 0.0) - first.get(metric, 0.0)) / (last_at - first_at)

    def _p95(self, job: str, metric: str) -> float | None:
        history = self._history.get(job)
        if not history:
            return None
        first, last, prefix = history[0][1], history[-1][1], f"{metric}_bucket{{"
        increase = {
            float(name.removeprefix(prefix).removesuffix("}")): max(0.0, count - first.get(name, 0.0))
            for name, count in last.items()
            if name.startswith(prefix)
        }
        return quantile(0.95, increase)


async def _scrape(session: aiohttp.ClientSession, address: str) -> Sample | None:
    try:
        async with session.get(f"http://{address}/metrics") as answer:
            return read(await answer.text()) if answer.ok else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def _now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

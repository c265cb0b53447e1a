"""Stream: alerts that fire, repeat, resolve and fire again, sent as Alertmanager sends them: until they are acknowledged.

What was acknowledged is written down; of one alert, nothing new is said before the last thing was acknowledged.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

NEVER = "0001-01-01T00:00:00Z"
RETRY_SECONDS = 0.02


@dataclass(slots=True)
class Alert:
    """One alert: what was said of it last, since when, and all that was acknowledged."""

    name: str
    labels: dict[str, str]
    firing: bool = False
    starts_at: str = NEVER
    pending: bool = False
    said: list[bool] = field(default_factory=list)
    turned: float = 0.0

    def body(self) -> dict[str, Any]:
        """Return it as Alertmanager writes it."""
        now = _now()
        return {
            "status": "firing" if self.firing else "resolved",
            "labels": self.labels,
            "annotations": {},
            "startsAt": self.starts_at,
            "endsAt": NEVER if self.firing else now,
        }


class Stream:
    """Sends until it is stopped. `url` is where the daemon listens, if it does."""

    def __init__(self, chances: Random, names: Sequence[str], houses: int, pace: float) -> None:
        self.alerts = [
            Alert(
                f"{name}-{house}-{i}",
                {"alertname": name, "house": f"h{house}", "instance": f"{name}-{house}-{i}"},
            )
            for name in names
            for house in range(houses)
            for i in range(2)
        ]
        self.url: Callable[[], str] = str
        self.sent = 0
        self.acknowledged = 0
        self._chances = chances
        self._pace = pace
        self._over = False

    async def run(self) -> None:
        """Send group after group; at the end resolve whatever fires."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            while not self._over:
                group = self._chances.sample(self.alerts, self._chances.choice((1, 1, 1, 2, 3)))
                for alert in group:
                    self._turn(alert)
                await self._deliver(session, group)
                await asyncio.sleep(self._pace)
            for alert in self.alerts:
                if alert.firing or alert.pending:
                    alert.firing, alert.pending = False, True
            await self._deliver(session, [alert for alert in self.alerts if alert.pending])

    def stop(self) -> None:
        """Let everything be over."""
        self._over = True

    def _turn(self, alert: Alert) -> None:
        """Let an alert fire, be over, or be said once more."""
        if self._chances.random() < 0.6:
            alert.firing = not alert.firing
            if alert.firing:
                alert.starts_at = _now()
        alert.pending = True

    async def _deliver(self, session: aiohttp.ClientSession, group: Sequence[Alert]) -> None:
        """Send until it is acknowledged; now and then twice at once, as two Alertmanagers do."""
        if not group:
            return
        alerts = [alert.body() for alert in group]
        body = {"version": "4", "receiver": "stopgap", "groupKey": "{}", "status": "firing", "alerts": alerts}
        while True:
            times = self._chances.choice((1, 1, 1, 2))
            if any(await asyncio.gather(*(self._post(session, body) for _ in range(times)))):
                break
            await asyncio.sleep(RETRY_SECONDS)
        self.acknowledged += len(group)
        for alert in group:
            alert.said.append(alert.firing)
            alert.pending = False

    async def _post(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> bool:
        self.sent += 1
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(f"{self.url()}/webhook", json=body) as answer:
                return answer.status == 200
        return False


def _now() -> str:
    at = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"

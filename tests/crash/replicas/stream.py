"""Stream: alerts that fire, repeat, resolve and fire again, told to any of several daemons as a pair of Alertmanagers tells them.

Each notification is sent again, to whichever daemon, until one of them acknowledges it; now and then to two at once. A daemon that
has not answered may take what it was sent later on: such attempts are counted as doubts. Of one alert nothing new is said before
the last thing was acknowledged.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import aiohttp
from tests.crash.replicas.auditor import Told
from tests.crash.stream import Alert

SENDERS = 8
PAUSE = (0.05, 0.5)  # seconds between two notifications of one sender
PATIENCE = (0.4, 2.0)  # seconds that an answer is waited for
AGAIN = 0.1  # seconds
ACKNOWLEDGED = 200


class Stream:
    """Sends until it is stopped. `anyone` returns the URL of one of the daemons."""

    def __init__(self, chances: Random, names: Sequence[str], houses: int, anyone: Callable[[], str]) -> None:
        self.alerts = [
            Alert(name, {"alertname": kind, "house": f"h{house}", "instance": name})
            for kind in names
            for house in range(houses)
            for i in range(2)
            for name in [f"{kind}-{house}-{i}"]
        ]
        self.attempts = 0
        self.acknowledged = 0  # notifications
        self.doubts: Counter[str] = Counter()  # attempts without an answer, by the alert
        self.told: dict[str, list[Told]] = {alert.name: [] for alert in self.alerts}
        self.diary: list[str] = []  # every attempt, as it ended
        self._chances = chances
        self._anyone = anyone
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Send group after group."""
        async with aiohttp.ClientSession() as session:
            senders = (
                self._send(session, Random(self._chances.random()), self.alerts[first::SENDERS])
                for first in range(SENDERS)
            )
            await asyncio.gather(*senders)

    def stop(self) -> None:
        """Begin nothing new; what is under way goes on until it is acknowledged."""
        self._over.set()

    async def resolve_all(self) -> None:
        """Say of every alert that it is over."""
        async with aiohttp.ClientSession() as session:
            for alert in self.alerts:
                alert.firing = False
            groups = (self.alerts[first : first + 4] for first in range(0, len(self.alerts), 4))
            for group in groups:
                await self._deliver(session, self._chances, group)

    async def _send(self, session: aiohttp.ClientSession, chances: Random, alerts: Sequence[Alert]) -> None:
        """Be one group of Alertmanager's."""
        while not self._over.is_set():
            group = chances.sample(alerts, chances.choice((1, 1, 2)))
            for alert in group:
                if chances.random() < 0.7:
                    alert.firing = not alert.firing
                    alert.starts_at = _now() if alert.firing else alert.starts_at
            await self._deliver(session, chances, group)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), chances.uniform(*PAUSE))

    async def _deliver(self, session: aiohttp.ClientSession, chances: Random, group: Sequence[Alert]) -> None:
        alerts, began = [alert.body() for alert in group], time.time_ns() // 1000
        body = {"version": "4", "receiver": "stopgap", "groupKey": "{}", "status": "firing", "alerts": alerts}
        while True:
            times = chances.choice((1, 1, 1, 2))
            sending = (self._post(session, body, chances.uniform(*PATIENCE)) for _ in range(times))
            answers = await asyncio.gather(*sending)
            for alert in group:
                self.doubts[alert.name] += answers.count(None)
            if ACKNOWLEDGED in answers:
                break
            await asyncio.sleep(AGAIN)
        self.acknowledged += 1
        for alert in group:
            self.told[alert.name].append(Told(alert.firing, alert.starts_at, began))

    async def _post(self, session: aiohttp.ClientSession, body: dict[str, Any], within: float) -> int | None:
        """Return the status of the answer, 0 when nobody can have taken it, None when somebody may have or yet may."""
        self.attempts += 1
        url, began, said = self._anyone(), time.time(), "nothing"
        try:
            bound = aiohttp.ClientTimeout(total=within)
            async with session.post(f"{url}/webhook", json=body, timeout=bound) as answer:
                said = f"{answer.status} {'' if answer.status == ACKNOWLEDGED else await answer.text()}"
                return answer.status if answer.status == ACKNOWLEDGED else None
        except aiohttp.ClientConnectorError:
            return 0
        except (aiohttp.ClientError, TimeoutError):
            return None
        finally:
            told = " ".join(f"{one['labels']['instance']}:{one['status'][0]}" for one in body["alerts"])
            self.diary.append(f"{began:.3f} {time.time():.3f} {url[-5:]} {told} {said}")


def _now() -> str:
    at = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"

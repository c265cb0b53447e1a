"""Webhook: takes Alertmanager's notifications (`POST /webhook`); a 2xx means that what they change is on disk.

Alertmanager retries 5xx only, and takes any 2xx after a redirect for delivered. So: 503 for whatever is ours (a full or
broken store, a surprise), 4xx for what will never be right, and never 3xx, 429 or 500.
One bad alert does not cost the good ones beside it. A client that goes away does not stop the work: aiohttp cancels no handler for
that (`handler_cancellation` stays off).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any, Protocol

import structlog
from aiohttp import hdrs, web

from stopgap.alert import Alert, BadAlert, Notification, read_alert, read_notification
from stopgap.body import BodyRefused, Room, read_body
from stopgap.credential import Credential
from stopgap.errors import BadNotification, StoreError
from stopgap.seldom import Seldom

log = structlog.get_logger(__name__)

PATH = "/webhook"
CODES = (200, 400, 401, 408, 413, 415, 503)
"""Every status that this edge answers."""

JSON = "application/json"
SLICE = 0.005  # seconds of parsing between two breaths of the event loop
SMALL = 4 * 1024  # bytes: what bodies up to this size say is remembered
LARGE = 256 * 1024  # bytes: from here on, bodies are worked off one after the other


class Taken(Protocol):
    """What became of a notification's alerts."""

    @property
    def matched(self) -> Mapping[str, int]:
        """How many alerts each rule took."""
        ...

    @property
    def unmatched(self) -> int:
        """How many no rule took."""
        ...


class Intake(Protocol):
    """The engine, as far as the webhook knows it."""

    async def receive(self, alerts: Sequence[Alert]) -> Taken:
        """Make what these alerts change durable. Raises StoreError."""
        ...


class Tally(Protocol):
    """Who counts what comes in (the metrics)."""

    def answered(self, code: int) -> None:
        """Count one notification by the status of its answer."""
        ...

    def took(self, firing: int, resolved: int, taken: Taken) -> None:
        """Count alerts that are on disk, or changed nothing."""
        ...

    def rejected(self, reason: str, count: int) -> None:
        """Count alerts of a good notification that were not taken."""
        ...

    def noticed(self, *, truncated: int, mismatched: int) -> None:
        """Count alerts that Alertmanager left out, and fingerprints that are not the ones we compute."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one notification, and all of them together, may cost. 10 000 alerts are a body of 5 MB."""

    body: int = 64 * 1024 * 1024  # bytes
    bodies: int = 128 * 1024 * 1024  # bytes in memory at once
    within: timedelta = timedelta(seconds=30)  # for a body to arrive


@dataclass(slots=True)
class _Read:
    """The alerts of one notification, good and bad."""

    alerts: list[Alert] = field(default_factory=list)
    bad: Counter[str] = field(default_factory=Counter)
    firing: int = 0
    mismatched: int = 0

    def add(self, raw: object) -> None:
        alert = read_alert(raw)
        if isinstance(alert, BadAlert):
            self.bad[alert.value] += 1
            return
        self.alerts.append(alert)
        self.firing += alert.firing
        self.mismatched += not alert.fingerprint_matches


class Webhook:
    """The edge itself; `mount` puts it into an application."""

    def __init__(
        self, intake: Intake, tally: Tally, credential: Credential, limits: Limits | None = None
    ) -> None:
        self._intake = intake
        self._tally = tally
        self._credential = credential
        self._limits = limits or Limits()
        self._room = Room(self._limits.bodies)
        self._large = asyncio.Lock()
        self._seldom = Seldom(timedelta(seconds=10))
        self.on_heard: Callable[[str, int], None] = lambda _receiver, _truncated: None

    def mount(self, app: web.Application) -> None:
        """Add the route. Anything but POST is 405, `/webhook/` is 404, both without our doing."""
        app.router.add_post(PATH, self.post)

    async def post(self, request: web.Request) -> web.Response:
        """Answer one notification; never raises but when the server is ending."""
        try:
            response = await self._post(request)
        except BodyRefused as refused:
            self._complain(request, refused.text)
            response = _answer(refused.status, refused.text)
            response.force_close()
        except BadNotification as bad:
            self._complain(request, str(bad))
            response = _answer(400, str(bad)[:180])
        except StoreError as error:
            self._complain(request, f"store: {error}")
            response = _answer(503, "the store does not take it: send again")
        except Exception:  # border: HTTP. A surprise of ours must be retried, and only a 5xx is; 503 says it is not the message
            log.exception("webhook_fault")
            response = _answer(503, "not taken: send again")
        self._tally.answered(response.status)
        return response

    async def _post(self, request: web.Request) -> web.Response:
        headers = request.headers
        if not self._credential.admits(headers.get(hdrs.AUTHORIZATION, "")):
            self._complain(request, "wrong or no credentials")
            refusal = _answer(401, "wrong or no credentials")
            refusal.headers[hdrs.WWW_AUTHENTICATE] = self._credential.challenge()
            return refusal
        if hdrs.CONTENT_ENCODING in headers:
            raise BodyRefused(415, "send without Content-Encoding")
        if headers.get(hdrs.CONTENT_TYPE) != JSON and request.content_type != JSON:
            raise BodyRefused(415, "Content-Type must be application/json")
        with self._room.share() as share:
            body = await read_body(request, share, self._limits.body, self._limits.within)
            if len(body) < LARGE:
                await self._take(body)
            else:
                async with self._large:
                    await self._take(body)
        return _answer(200, "ok")

    async def _take(self, body: bytes) -> None:
        if len(body) <= SMALL:
            notification, read = _read_small(body)
        else:
            notification = read_notification(body)
            read = await _read(notification.alerts)
        if notification.truncated or read.bad or read.mismatched:
            self._notice(notification, read)
        self.on_heard(notification.receiver, notification.truncated)
        taken = await self._intake.receive(read.alerts)
        self._tally.took(read.firing, len(read.alerts) - read.firing, taken)

    def _notice(self, notification: Notification, read: _Read) -> None:
        """Count and log what is odd about a notification that is taken all the same."""
        self._tally.noticed(truncated=notification.truncated, mismatched=read.mismatched)
        for reason, count in read.bad.items():
            self._tally.rejected(reason, count)
        odd: dict[str, Any] = {"truncated": notification.truncated, "rejected": dict(read.bad)}
        odd = {name: value for name, value in odd.items() if value}
        unsaid = self._seldom.ask("odd " + " ".join(odd)) if odd else None
        if unsaid is not None:
            receiver, group = notification.receiver[:200], notification.group_key[:500]
            log.warning("notification_odd", receiver=receiver, group=group, unsaid=unsaid, **odd)

    def _complain(self, request: web.Request, why: str) -> None:
        unsaid = self._seldom.ask(why)
        if unsaid is not None:
            log.warning("notification_refused", remote=request.remote, why=why, unsaid=unsaid)


@lru_cache(512)
def _read_small(body: bytes) -> tuple[Notification, _Read]:
    """Read a small body, and remember it: repeats, retries and a second Alertmanager send the same, byte for byte."""
    notification, read = read_notification(body), _Read()
    for raw in notification.alerts:
        read.add(raw)
    return notification, read


async def _read(raws: Sequence[object]) -> _Read:
    """Read all alerts, and let the event loop breathe in between."""
    read = _Read()
    time = asyncio.get_running_loop().time
    pause_at = time() + SLICE
    for raw in raws:
        read.add(raw)
        if time() >= pause_at:
            await asyncio.sleep(0)
            pause_at = time() + SLICE
    return read


def _answer(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)

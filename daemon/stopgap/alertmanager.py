"""Alertmanager: its API, asked for the alerts that fire. It never lists resolved ones, and never a URL with its password is shown.

What an answer proves stands in `survey.py`.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import aiohttp
import orjson

from stopgap.alert import Alert, BadAlert, read_alert
from stopgap.clock import Clock
from stopgap.duration import print_duration
from stopgap.endpoint import Endpoint, Question, Reply, instant, shown, without_secrets
from stopgap.errors import ProbeError
from stopgap.survey import Answer, Flaw, Polled, State, Status, Survey, merged

RESEND_DELAY = timedelta(minutes=1)  # Prometheus' default of `--rules.alert.resend-delay`
TIMEOUT = timedelta(seconds=10)  # for all that one Alertmanager is asked in a survey
_LARGEST = 64 * 1024 * 1024  # bytes of all alerts; 20 000 are 12 MB
_LARGE = 1024 * 1024  # bytes of any other answer
_EVERY = ("active", "silenced", "inhibited", "unprocessed")
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")  # what Go's regexp.QuoteMeta escapes


class Alertmanager:
    """One Alertmanager by its URL, which may hold a user, a password and a path. `session` is asked at every call."""

    def __init__(self, url: str, session: Callable[[], aiohttp.ClientSession]) -> None:
        self.url = without_secrets(url)
        self._endpoint = Endpoint("Alertmanager", url, session)

    async def alerts(self, receiver: str | None, timeout: timedelta) -> tuple[Polled, ...]:  # noqa: ASYNC109 - bounds retries
        """Return all alerts that fire, those of one receiver (its name as configured), or of all. Raises ProbeError.

        An alert whose labels the webhook would refuse is left out: it never was an episode.
        """
        query = [(word, "true") for word in _EVERY]
        if receiver is not None:
            query.append(("receiver", f"^(?:{_META.sub(_escaped, receiver)})$"))
        return await self._endpoint.ask(Question("/api/v2/alerts", _LARGEST, query), _alerts, timeout)

    async def status(self, timeout: timedelta) -> Status:  # noqa: ASYNC109 - the same
        """Return uptime and version. Raises ProbeError."""
        return await self._endpoint.ask(Question("/api/v2/status", _LARGE), _status, timeout)

    async def receivers(self, timeout: timedelta) -> tuple[str, ...]:  # noqa: ASYNC109 - the same
        """Return the names of its receivers. Raises ProbeError."""
        return await self._endpoint.ask(Question("/api/v2/receivers", _LARGE), _receivers, timeout)

    async def answer(self, receiver: str | None, timeout: timedelta) -> Answer:  # noqa: ASYNC109 - bounds all three
        """Ask for all that a survey needs. Raises ProbeError, also where there is no such receiver: its `[]` proves nothing."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                alerts = await self.alerts(receiver, timeout)
                status = await self.status(timeout)  # after the alerts: a restart in between must show
                if receiver is not None and receiver not in await self.receivers(timeout):
                    name = shown(receiver)[:80]
                    raise ProbeError(f"Alertmanager has no receiver {name!r}: name ours with --receiver")
        except TimeoutError:
            raise ProbeError(f"Alertmanager did not answer within {print_duration(timeout)}") from None
        return Answer(alerts, status)


class Alertmanagers:
    """All Alertmanagers that are configured, or none; a URL that is given twice is asked once."""

    def __init__(
        self,
        urls: Iterable[str],
        session: Callable[[], aiohttp.ClientSession],
        clock: Clock,
        *,
        timeout: timedelta = TIMEOUT,
        resend_delay: timedelta = RESEND_DELAY,
    ) -> None:
        self._each = tuple(Alertmanager(url, session) for url in dict.fromkeys(urls))
        self._clock = clock
        self._timeout = timeout
        self._settled_after = 2 * resend_delay

    def __bool__(self) -> bool:
        return bool(self._each)

    async def survey(self, receiver: str | None) -> Survey:
        """Ask all at once, each within the time limit, about one receiver (its name as configured) or about all. Never raises."""
        at = self._clock.now()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._ask(one, receiver)) for one in self._each]
        said = [task.result() for task in asked]
        answers = [one for one in said if isinstance(one, Answer)]
        complete = bool(said) and len(answers) == len(said)
        return Survey(
            at=at,
            heard={one.url: what for one, what in zip(self._each, said, strict=True)},
            complete=complete,
            settled=complete and all(one.status.uptime > self._settled_after for one in answers),
            alerts=merged([one.alerts for one in answers]),
        )

    async def _ask(self, one: Alertmanager, receiver: str | None) -> Answer | Flaw:
        try:
            return await one.answer(receiver, self._timeout)
        except ProbeError as error:
            return Flaw(str(error))


def _escaped(found: re.Match[str]) -> str:
    return "\\" + found[0]


def _read(reply: Reply) -> Any:
    """Return the JSON of a good answer. Raises ProbeError with Alertmanager's own words for any other."""
    try:
        told: Any = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        told = None
    if reply.status == 200 and told is not None:  # noqa: PLR2004 - OK
        return told
    if isinstance(told, dict):
        told = told.get("message") or told.get("error")
    says = told if isinstance(told, str) else reply.body[:4096].decode("utf-8", "replace")
    cure = "; a redirect is not followed, give the URL that it leads to" if 300 <= reply.status < 400 else ""  # noqa: PLR2004 - 3xx
    raise ProbeError(f"Alertmanager answered {reply.status} with {shown(says) or 'nothing'}{cure}")


def _no_form() -> ProbeError:
    return ProbeError("Alertmanager's answer has not the form of its API v2: is it an Alertmanager's URL?")


def _alerts(reply: Reply) -> tuple[Polled, ...]:
    told = _read(reply)
    if not isinstance(told, list):
        raise _no_form()
    try:
        return tuple(polled for polled in map(_polled, told) if polled is not None)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _no_form() from None


def _polled(raw: Any) -> Polled | None:
    alert = _alert(raw)
    if alert is None:
        return None
    status = raw["status"]
    state = status["state"]
    return Polled(
        alert=alert,
        state=State(state) if state in set(State) else State.UNPROCESSED,
        silenced_by=tuple(map(str, status.get("silencedBy") or ())),
        inhibited_by=tuple(map(str, status.get("inhibitedBy") or ())),
        receivers=tuple(str(one["name"]) for one in raw.get("receivers") or ()),
        updated_at=instant(raw["updatedAt"]),
    )


def _alert(raw: Any) -> Alert | None:
    """Read an alert as the webhook's reader does, without its annotations where these alone are bad; None: labels not taken."""
    given = raw | {"status": "firing", "endsAt": None}  # `endsAt` is when it ends unless it is sent again
    alert = read_alert(given)
    if alert is BadAlert.BAD_ANNOTATIONS or alert is BadAlert.TOO_LARGE:
        alert = read_alert(given | {"annotations": None, "generatorURL": None})
    if alert in (BadAlert.BAD_LABELS, BadAlert.TOO_LARGE, BadAlert.RESERVED_LABEL):
        return None
    if isinstance(alert, BadAlert):
        raise ValueError(alert)  # noqa: TRY004 - its content is wrong
    return alert


def _status(reply: Reply) -> Status:
    told = _read(reply)
    if reply.at is None:
        raise ProbeError("Alertmanager's answer has no date: a proxy before it must hand `Date` on")
    try:
        started_at = instant(told["uptime"])  # it is called so, and is an instant
        return Status(max(reply.at - started_at, timedelta()), shown(str(told["versionInfo"]["version"])))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _no_form() from None


def _receivers(reply: Reply) -> tuple[str, ...]:
    try:
        return tuple(str(one["name"]) for one in _read(reply))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _no_form() from None

# ruff: noqa: ARG002 - the port's signatures
"""Silence: alerts that only follow from the incident are kept quiet in Alertmanager for a while; taking back ends that early."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import aiohttp
import orjson
from pydantic import AfterValidator, BeforeValidator, Field

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled, Text, reveal
from stopgap.actions.http import NoClearAnswer, web_address
from stopgap.backends.answer import read_answer
from stopgap.context import Context
from stopgap.duration import Duration, print_duration
from stopgap.errors import PermanentError, TemporaryError
from stopgap.matcher import Op, parse_matchers

_AUTHOR = "stopgap"
_LARGEST = 16 * 1024 * 1024  # bytes of a list of silences
_LONGEST = timedelta(days=1)
_OK, _GONE, _SERVER_ERROR = 200, 404, 500


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _narrow(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse matchers that hold for everything."""
    matchers = [matcher for text in texts for matcher in parse_matchers(text)]
    if all(matcher.matches({}) for matcher in matchers):
        raise ValueError('it would silence every alert: name one, as in alertname="CheckoutSlow"')
    return texts


def _bounded(length: timedelta) -> timedelta:
    if not timedelta() < length <= _LONGEST:
        raise ValueError(f"a silence lasts up to {print_duration(_LONGEST)}")
    return length


class SilenceParams(Params):
    """Which alerts, for how long, and where."""

    prose = frozenset({"comment"})

    at: Annotated[
        Text,
        AfterValidator(web_address),
        Field(description="An Alertmanager's address; it tells its cluster."),
    ]
    match: Annotated[
        tuple[str, ...],
        BeforeValidator(_one_or_many, json_schema_input_type=str | tuple[str, ...]),
        AfterValidator(_narrow),
        Field(min_length=1, max_length=20, description="Matchers of the alerts; all of them must hold."),
    ]
    for_: Annotated[
        Duration,
        AfterValidator(_bounded),
        Field(alias="for", description="It ends by itself after this time, at most 1d."),
    ]
    comment: Annotated[
        str, Field(max_length=500, description="Why, for those who read the list of silences.")
    ] = ""

    @property
    def matchers(self) -> list[dict[str, Any]]:
        """Return the matchers as Alertmanager's API writes them."""
        return [
            {
                "name": matcher.name,
                "value": matcher.value,
                "isRegex": matcher.op in (Op.MATCHES, Op.NOT_MATCHES),
                "isEqual": matcher.op in (Op.EQUAL, Op.MATCHES),
            }
            for text in self.match
            for matcher in parse_matchers(text)
        ]


class Silence(Action[SilenceParams]):
    """Silence alerts in Alertmanager for a time; revert ends the silence early.

    For what only follows from the incident. Never silence the alert that the rule itself is about: nobody would hear that the
    mitigation has not helped.

    ```yaml
    silence: {at: "http://127.0.0.1:9093", match: ['alertname="CheckoutSlow"', 'job="shop"'], for: 1h}
    ```
    """

    name: ClassVar[str] = "silence"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=15)
    params = SilenceParams

    def __init__(self, context: Context) -> None:
        """Take the session."""
        self._http = context.http

    def describe(self, params: SilenceParams) -> str:
        """Say which alerts, and for how long."""
        return f"silence {', '.join(params.match)} for {print_duration(params.for_)}"

    def idempotent(self, params: SilenceParams) -> bool:
        """Tell that a second silence of the same alerts does no harm: both end, and both are taken back."""
        return True

    def reverts(self, params: SilenceParams) -> bool:
        """Tell that a silence can be ended."""
        return True

    def resource(self, params: SilenceParams) -> tuple[str, ...]:
        """Name the matchers, however they are written; not the Alertmanager, which may be one of a cluster."""
        matchers = sorted(str(matcher) for text in params.match for matcher in parse_matchers(text))
        return (f"silence:{','.join(matchers)}",)

    def undo_by_hand(self, params: SilenceParams, before: Json) -> str:
        """Say which silence to end."""
        return f"expire the silence of {', '.join(params.match)} by {_AUTHOR} in Alertmanager"

    async def observe(self, params: SilenceParams, moment: Moment) -> Json:
        """List our silences of the same alerts that have not ended."""
        try:
            status, body = await self._ask("GET", "/silences", params, moment)
        except (NoClearAnswer, TimeoutError):
            raise TemporaryError("Alertmanager did not answer") from None
        if status != _OK:
            raise PermanentError(f"Alertmanager answered {status}")
        wanted = _comparable(params.matchers)
        return {
            "ids": [
                one["id"]
                for one in orjson.loads(body)
                if one["createdBy"] == _AUTHOR
                and one["status"]["state"] != "expired"
                and _comparable(one["matchers"]) == wanted
            ]
        }

    def settled(self, params: SilenceParams, before: Json, now: Json) -> Settled:
        """Compare the lists: one more is done."""
        return Settled.DONE if set(now["ids"]) - set(before["ids"]) else Settled.NOT_DONE

    def settled_revert(self, params: SilenceParams, before: Json, now: Json) -> Settled:
        """Compare the lists: none more is done."""
        return Settled.NOT_DONE if set(now["ids"]) - set(before["ids"]) else Settled.DONE

    async def run(self, params: SilenceParams, before: Json, moment: Moment) -> Json:
        """Create the silence."""
        now = datetime.now(UTC)
        silence = {
            "matchers": params.matchers,
            "startsAt": now.isoformat(),
            "endsAt": (now + params.for_).isoformat(),
            "createdBy": _AUTHOR,
            "comment": f"{params.comment or 'follows from another incident'} ({moment.incident or moment.key})",
        }
        status, body = await self._ask("POST", "/silences", params, moment, silence)
        _insist(status)
        return {"id": orjson.loads(body)["silenceID"]}

    async def revert(self, params: SilenceParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """End what we added, unless it has ended."""
        ours = set((await self.observe(params, moment))["ids"]) - set(before["ids"])
        for one in sorted(ours):
            status, _ = await self._ask("DELETE", f"/silence/{one}", params, moment)
            if status != _GONE:
                _insist(status)
        return Reverted(Restored.REVERTED if ours else Restored.NOTHING, "the silence has ended")

    async def _ask(
        self, method: str, path: str, params: SilenceParams, moment: Moment, body: Json = None
    ) -> tuple[int, bytes]:
        """Send one request. Raises TemporaryError when it was not sent, NoClearAnswer when not clearly answered."""
        limits = aiohttp.ClientTimeout(total=moment.timeout.total_seconds(), connect=10)
        url = f"{reveal(params.at).rstrip('/')}/api/v2{path}"
        try:
            async with self._http.session().request(
                method, url, json=body, timeout=limits, allow_redirects=False
            ) as answer:
                return answer.status, await read_answer(answer, _LARGEST)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
            raise TemporaryError("Alertmanager cannot be reached") from None
        except aiohttp.ClientError as error:  # its text may show the whole address
            raise NoClearAnswer(f"Alertmanager did not answer clearly: {type(error).__name__}") from None


def _insist(status: int) -> None:
    if status >= _SERVER_ERROR:
        raise NoClearAnswer(f"Alertmanager answered {status}")
    if status != _OK:
        raise PermanentError(f"Alertmanager answered {status}")


def _comparable(matchers: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((one["name"], one["value"], one["isRegex"], one.get("isEqual", True)) for one in matchers)

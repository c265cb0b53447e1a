"""A small catalog of actions and probes that do nothing: enough to load rules and to plan rungs."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from stopgap.action import Action, Danger, Json, Moment, Params, Reverted, Settled, Text
from stopgap.catalog import Catalog
from stopgap.duration import Duration
from stopgap.probe import Finding, Probe, Verdict


def _locator(text: str) -> str:
    if "://" not in text:
        raise ValueError(f"`{text}` is not a locator: write scheme://…")
    return text


Locator = Annotated[str, AfterValidator(_locator)]


class _Idle(Action[Params]):
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    back: ClassVar[bool] = False

    def describe(self, params: Params) -> str:
        return f"{self.name} {params}"

    def idempotent(self, params: Params) -> bool:
        return True

    def reverts(self, params: Params) -> bool:
        return self.back

    def resource(self, params: Any) -> tuple[str, ...]:
        return (f"{params.at}",)

    def undo_by_hand(self, params: Params, before: Json) -> str:
        return "nothing"

    async def observe(self, params: Params, moment: Moment) -> Json:
        return None

    def settled(self, params: Params, before: Json, now: Json) -> Settled:
        return Settled.UNCLEAR

    def settled_revert(self, params: Params, before: Json, now: Json) -> Settled:
        return Settled.UNCLEAR

    async def run(self, params: Params, before: Json, moment: Moment) -> Json:
        return None

    async def revert(self, params: Params, before: Json, receipt: Json, moment: Moment) -> Reverted:
        raise NotImplementedError


class FlagParams(Params):
    verbatim = frozenset({"set", "back_to"})

    at: Locator
    set: dict[str, Text] = Field(min_length=1)
    back_to: dict[str, Text] | None = None


class Flag(_Idle):
    name = "flag"
    back = True
    params = FlagParams

    def resource(self, params: FlagParams) -> tuple[str, ...]:
        return tuple(f"{params.at}#{key}" for key in params.set)


class RestartParams(Params):
    scalar = "at"

    at: Locator


class Restart(_Idle):
    name = "restart"
    timeout = timedelta(seconds=90)
    params = RestartParams


class WaitParams(Params):
    scalar = "for"

    for_: Duration = Field(alias="for")


class Wait(_Idle):
    name = "wait"
    danger = Danger.NONE
    params = WaitParams


class NotifyParams(Params):
    prose = frozenset({"body"})

    contact: str
    body: str


class Notify(_Idle):
    name = "notify"
    danger = Danger.NONE
    params = NotifyParams


class Wipe(_Idle):
    name = "wipe"
    danger = Danger.DESTRUCTIVE
    params = RestartParams


class ScaleParams(Params):
    at: Locator
    count: int = Field(ge=1, le=10)


class Scale(_Idle):
    name = "scale"
    back = True
    params = ScaleParams


class _Mute(Probe[Params]):
    after: ClassVar[float] = 0.0

    def describe(self, params: Params) -> str:
        return f"{self.name} {params}"

    async def ask(self, params: Params, timeout: timedelta) -> Finding:
        return Finding(Verdict.UNKNOWN, "nobody was asked")


class HttpParams(Params):
    scalar = "url"

    url: Text
    status: int = 200
    headers: dict[str, Text] = Field(default_factory=dict)


class Http(_Mute):
    name = "http"
    params = HttpParams


class PromqlParams(Params):
    scalar = "query"
    siblings = frozenset({"is"})

    query: str
    is_: str = Field(alias="is")


class Promql(_Mute):
    name = "promql"
    after = 30.0
    params = PromqlParams


CATALOG = Catalog(
    {kind.name: kind() for kind in (Flag, Restart, Wait, Notify, Wipe, Scale)},
    {kind.name: kind() for kind in (Http, Promql)},
)
SECRET = SecretStr("hunter2")

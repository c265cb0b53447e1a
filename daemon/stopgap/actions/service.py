# ruff: noqa: ARG002 - the port's signatures
"""Service: what runs at a place is started or stopped, and brought back to how it was found."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled
from stopgap.backends import locate
from stopgap.backends.capability import Services
from stopgap.context import Context


class State(StrEnum):
    """What a service shall be."""

    STARTED = "started"
    STOPPED = "stopped"


def _place(locator: str) -> Services:
    return locate(locator, Services)  # type: ignore[type-abstract]


def _starts_and_stops(locator: str) -> str:
    _place(locator)
    return locator


class ServiceParams(Params):
    """Which service, and what it shall be."""

    at: Annotated[
        str,
        AfterValidator(_starts_and_stops),
        Field(
            description="Which: systemd://unit, ssh+systemd://user@host/unit, supervisor://socket#program, docker://container, "
            "compose://project/service."
        ),
    ]
    state: Annotated[State, Field(description="What it shall be.")]


class Service(Action[ServiceParams]):
    """Start or stop a service; revert brings it back to the state it was found in.

    ```yaml
    service: {at: compose://bookgen/worker, state: stopped}   # or started; also systemd://unit, supervisor://…#program
    ```
    """

    name: ClassVar[str] = "service"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=90)
    params = ServiceParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def describe(self, params: ServiceParams) -> str:
        """Name the service and the state."""
        return f"{'start' if params.state is State.STARTED else 'stop'} {_place(params.at).name}"

    def idempotent(self, params: ServiceParams) -> bool:
        """Tell that starting what runs, and stopping what does not, does nothing."""
        return True

    def reverts(self, params: ServiceParams) -> bool:
        """Tell that there is a state to go back to."""
        return True

    def resource(self, params: ServiceParams) -> tuple[str, ...]:
        """Name the service."""
        return (_place(params.at).name,)

    def undo_by_hand(self, params: ServiceParams, before: Json) -> str:
        """Say whether to start or to stop it."""
        return f"{'start' if before['state'] != State.STOPPED else 'stop'} {_place(params.at).name}"

    async def observe(self, params: ServiceParams, moment: Moment) -> Json:
        """See whether it runs: started, stopped, or only partly up."""
        running = await _place(params.at).observe(moment.timeout)
        if running.up:
            return {"state": State.STARTED.value}
        return {"state": "partly started" if running.starts else State.STOPPED.value}

    def effect(self, params: ServiceParams, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Name the state."""
        return {_place(params.at).name: params.state.value}

    def settled(self, params: ServiceParams, before: Json, now: Json) -> Settled:
        """Compare with the state that was wanted."""
        return Settled.DONE if now["state"] == params.state else Settled.NOT_DONE

    def settled_revert(self, params: ServiceParams, before: Json, now: Json) -> Settled:
        """Compare with the state that was found."""
        back = State.STOPPED if before["state"] == State.STOPPED else State.STARTED
        return Settled.DONE if now["state"] in {back, before["state"]} else Settled.NOT_DONE

    async def run(self, params: ServiceParams, before: Json, moment: Moment) -> Json:
        """Start or stop."""
        await _bring(params.at, params.state, moment)

    async def revert(self, params: ServiceParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Bring it back to the state it was found in. Two states cannot drift: the other one is ours, or nobody minds."""
        old = State.STOPPED if before["state"] == State.STOPPED else State.STARTED
        if (await self.observe(params, moment))["state"] in {old, before["state"]}:
            return Reverted(Restored.NOTHING, f"it was {old} already")
        await _bring(params.at, old, moment)
        return Reverted(Restored.REVERTED, f"{old} again")


async def _bring(locator: str, state: State, moment: Moment) -> None:
    place = _place(locator)
    await (place.start if state is State.STARTED else place.stop)(moment.timeout)

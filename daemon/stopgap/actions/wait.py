# ruff: noqa: ARG002 - the port's signatures
"""Wait: nothing is done for a while, so that what was done can take effect. It ends early when the alerts are over."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from stopgap.action import Action, Danger, Json, Moment, Params, Settled
from stopgap.actions.transient import Transient
from stopgap.context import Context
from stopgap.duration import Duration, print_duration


class WaitParams(Params):
    """How long."""

    scalar = "for"

    for_: Annotated[Duration, Field(alias="for", description="How long.")]


class Wait(Transient[WaitParams], Action[WaitParams]):
    """Wait; ends early when all alerts of the incident are over. The step's `timeout` must be longer.

    ```yaml
    wait: 30s   # or {for: 30s}
    ```
    """

    name: ClassVar[str] = "wait"
    danger: ClassVar[Danger] = Danger.NONE
    timeout: ClassVar[timedelta] = timedelta(minutes=30)
    params = WaitParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context."""

    def describe(self, params: WaitParams) -> str:
        """Say how long."""
        return f"wait {print_duration(params.for_)}"

    def idempotent(self, params: WaitParams) -> bool:
        """Tell that waiting again does no harm."""
        return True

    def resource(self, params: WaitParams) -> tuple[str, ...]:
        """Name nothing: nothing is changed."""
        return ()

    def observes(self, params: WaitParams) -> bool:
        """Tell that there is nothing to be seen."""
        return False

    async def observe(self, params: WaitParams, moment: Moment) -> Json:
        """See nothing."""

    def settled(self, params: WaitParams, before: Json, now: Json) -> Settled:
        """Tell that a wait that was cut off need not be repeated: time has passed."""
        return Settled.DONE

    async def run(self, params: WaitParams, before: Json, moment: Moment) -> Json:
        """Wait, or until there is no more reason to."""
        seconds = params.for_.total_seconds()
        if moment.hurry is None:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(moment.hurry.wait(), seconds)

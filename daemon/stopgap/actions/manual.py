# ruff: noqa: ARG002 - the port's signatures
"""Manual: a person is asked to do something, and says when it is done; then the rung goes on."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from stopgap.action import Action, Danger, Json, Moment, Params, Settled
from stopgap.actions.transient import Transient
from stopgap.context import Context


class ManualParams(Params):
    """What a person is asked to do, and where it is written down at length."""

    scalar = "say"
    prose = frozenset({"say"})

    say: Annotated[str, Field(min_length=1, max_length=1000, description="What a person is asked to do.")]
    runbook: Annotated[
        Annotated[str, Field(max_length=1000, pattern="^https?://")] | None,
        Field(description="The address where it is written down at length."),
    ] = None


class Manual(Transient[ManualParams], Action[ManualParams]):
    """Ask a person to do something, and wait for `stopgap done`; nobody within the step's `timeout` (30m): the step failed.

    Whoever `default` is hears of it. It ends by itself when all alerts of the incident are over. What the person did is not taken
    back: the rung's `verify` tells whether it helped.

    ```yaml
    manual: {say: Rotate the API keys and redeploy, runbook: "https://runbooks.example.com/keys"}
    ```
    """

    name: ClassVar[str] = "manual"
    danger: ClassVar[Danger] = Danger.NONE
    timeout: ClassVar[timedelta] = timedelta(minutes=30)
    by_hand: ClassVar[bool] = True
    params = ManualParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: the engine tells the person."""

    def describe(self, params: ManualParams) -> str:
        """Say what is to be done, and where that is written down."""
        return f"by hand: {params.say}" + (f" ({params.runbook})" if params.runbook else "")

    def idempotent(self, params: ManualParams) -> bool:
        """Tell that asking again does no harm."""
        return True

    def resource(self, params: ManualParams) -> tuple[str, ...]:
        """Name nothing: what a person changes is not known."""
        return ()

    def observes(self, params: ManualParams) -> bool:
        """Tell that there is nothing to be seen."""
        return False

    async def observe(self, params: ManualParams, moment: Moment) -> Json:
        """See nothing."""

    def settled(self, params: ManualParams, before: Json, now: Json) -> Settled:
        """Tell that only the person knows."""
        return Settled.UNCLEAR

    async def run(self, params: ManualParams, before: Json, moment: Moment) -> Json:
        """Do nothing: the engine waits for the person."""

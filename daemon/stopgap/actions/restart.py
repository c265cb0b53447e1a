# ruff: noqa: ARG002 - the port's signatures
"""Restart: what runs at a place is started anew. There is nothing to take back."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from stopgap.action import Action, Danger, Json, Moment, Params, Settled
from stopgap.actions.transient import Transient
from stopgap.backends import locate
from stopgap.backends.capability import Restartable
from stopgap.context import Context


def _place(locator: str) -> Restartable:
    return locate(locator, Restartable)  # type: ignore[type-abstract]


def _restarts(locator: str) -> str:
    _place(locator)
    return locator


class RestartParams(Params):
    """What to restart."""

    scalar = "at"

    at: Annotated[
        str,
        AfterValidator(_restarts),
        Field(
            description="What: systemd://unit, ssh+systemd://user@host/unit, supervisor://socket#program, docker://container, "
            "compose://project/service, k8s://namespace/deployment/name (or statefulset), fly://app, "
            "nginx:///file (a graceful reload)."
        ),
    ]


class Restart(Transient[RestartParams], Action[RestartParams]):
    """Restart a service, a program or an app; what is stopped is started.

    ```yaml
    restart: {at: systemd://oracle-chat.service}   # also supervisor:///run/s.sock#app, docker://api, compose://project/api, fly://app
    ```
    """

    name: ClassVar[str] = "restart"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=90)
    params = RestartParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def describe(self, params: RestartParams) -> str:
        """Name what is restarted."""
        return f"restart {_place(params.at).name}"

    def idempotent(self, params: RestartParams) -> bool:
        """Tell that a second restart is a second restart: a rolling one that got half way is a person's to judge."""
        return False

    def resource(self, params: RestartParams) -> tuple[str, ...]:
        """Name what is restarted."""
        return (_place(params.at).name,)

    async def observe(self, params: RestartParams, moment: Moment) -> Json:
        """Note the last start of every instance."""
        running = await _place(params.at).observe(moment.timeout)
        return {"up": running.up, "starts": dict(running.starts)}

    async def rehearse(self, params: RestartParams, moment: Moment) -> None:
        """See what runs, and whether the place would let it be restarted, where that can be tried."""
        await _place(params.at).try_restarting(moment.timeout)

    def settled(self, params: RestartParams, before: Json, now: Json) -> Settled:
        """Compare starts: done when all is up and every instance that ran was started since, or replaced."""
        same = [name for name, mark in before["starts"].items() if now["starts"].get(name) == mark]
        if not now["up"] or (before["starts"] and len(same) == len(before["starts"])):
            return Settled.NOT_DONE
        return Settled.UNCLEAR if same else Settled.DONE

    async def run(self, params: RestartParams, before: Json, moment: Moment) -> Json:
        """Restart. There is no receipt: the probes tell what came of it."""
        await _place(params.at).restart(moment.timeout)

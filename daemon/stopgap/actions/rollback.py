# ruff: noqa: ARG002 - the port's signatures
"""Rollback: an older version takes the place of the one that is there; taking back brings the newer one again."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled
from stopgap.backends import locate
from stopgap.backends.capability import Version, Versioned
from stopgap.context import Context
from stopgap.errors import PermanentError, TemporaryError


def _place(locator: str) -> Versioned:
    return locate(locator, Versioned)  # type: ignore[type-abstract]


def _has_versions(locator: str) -> str:
    _place(locator)
    return locator


class RollbackParams(Params):
    """Where, and to which version."""

    scalar = "at"
    verbatim = frozenset({"to"})

    at: Annotated[
        str,
        AfterValidator(_has_versions),
        Field(description="What: git:///srv/app, fly://app, k8s://namespace/deployment/name."),
    ]
    to: Annotated[
        str, Field(max_length=200, description="A version, such as a tag; by default the one before.")
    ] = ""

    @property
    def wanted(self) -> str:
        """Return the version as the place names it."""
        return self.to or _place(self.at).previous

    @model_validator(mode="after")
    def _names_a_version(self) -> "RollbackParams":
        _place(self.at).check(self.wanted)
        return self


class Rollback(Action[RollbackParams]):
    """Put an older version in place; revert puts the newer one back, unless somebody deployed another one meanwhile.

    Which version that is, is settled before the step, so that a repetition never goes one further back. What a version needs to
    run (packages, a build, a restart) belongs into `activate`.

    ```yaml
    rollback: {at: git:///srv/app, to: v1.1.0}   # a tag, a commit, HEAD~1 (default); also fly://app, to: its image or v41; k8s://…
    ```
    """

    name: ClassVar[str] = "rollback"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(minutes=5)
    params = RollbackParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def describe(self, params: RollbackParams) -> str:
        """Name the place and the version."""
        return f"roll {_place(params.at).name} back to {params.wanted}"

    def idempotent(self, params: RollbackParams) -> bool:
        """Tell that the version is settled before the step."""
        return True

    def reverts(self, params: RollbackParams) -> bool:
        """Tell that the newer version comes back."""
        return True

    def resource(self, params: RollbackParams) -> tuple[str, ...]:
        """Name the place."""
        return (_place(params.at).name,)

    def undo_by_hand(self, params: RollbackParams, before: Json) -> str:
        """Name the newer version."""
        return f"put {_of(before['now']).shown} in place at {_place(params.at).name}"

    async def observe(self, params: RollbackParams, moment: Moment) -> Json:
        """Read the version that is there, and settle to which one to go."""
        place = _place(params.at)
        now = await place.current(moment.timeout)
        seen = {"now": {"name": now.name, "branch": now.branch}}
        try:
            return {**seen, "to": await place.find(params.wanted, moment.timeout)}
        except PermanentError as error:
            # from an older version there may be no way further back: only `run` minds
            return {**seen, "to": None, "why": str(error)}

    async def rehearse(self, params: RollbackParams, moment: Moment) -> None:
        """See that there is another version to go to, and whether the place would take it, where that can be tried."""
        before = await self.observe(params, moment)
        _another(params, before)
        await _place(params.at).try_switching(Version(before["to"]), moment.timeout)

    def effect(self, params: RollbackParams, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Name the version as the rule does."""
        return dict.fromkeys(self.resource(params), params.wanted)

    def settled(self, params: RollbackParams, before: Json, now: Json) -> Settled:
        """Compare versions."""
        if now["now"]["name"] == before["to"]:
            return Settled.DONE
        return Settled.NOT_DONE if now["now"]["name"] == before["now"]["name"] else Settled.UNCLEAR

    def settled_revert(self, params: RollbackParams, before: Json, now: Json) -> Settled:
        """Compare with the newer version."""
        if now["now"]["name"] == before["now"]["name"]:
            return Settled.DONE
        return Settled.NOT_DONE if now["now"]["name"] == before["to"] else Settled.UNCLEAR

    async def run(self, params: RollbackParams, before: Json, moment: Moment) -> Json:
        """Put the older version in place, if what is there is still what was observed."""
        _another(params, before)
        place = _place(params.at)
        now = await place.current(moment.timeout)
        if now.name not in (before["now"]["name"], before["to"]):
            raise TemporaryError(f"{place.name} was changed to {now.shown} since it was observed")
        if now.name != before["to"]:
            await place.switch(Version(before["to"]), moment.timeout)
        return {"name": before["to"]}

    async def revert(self, params: RollbackParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Put the newer version back, unless somebody put another one there."""
        place, newer = _place(params.at), _of(before["now"])
        now = await place.current(moment.timeout)
        if now.name == newer.name:
            return Reverted(Restored.NOTHING, f"{newer.shown} was there already")
        if now.name != before["to"]:
            return Reverted(
                Restored.DRIFTED, f"{place.name} is at {now.shown}, which is not ours: left alone"
            )
        await place.switch(newer, moment.timeout)
        return Reverted(Restored.REVERTED, f"{place.name} is at {newer.shown} again")


def _of(document: Json) -> Version:
    return Version(document["name"], document["branch"])


def _another(params: RollbackParams, before: Json) -> None:
    """See that there is another version to go to. Raises PermanentError."""
    if before["to"] is None:
        raise PermanentError(before["why"])
    if before["to"] == before["now"]["name"]:
        raise PermanentError(
            f"{_place(params.at).name} is at {params.wanted} already: there is nothing to roll back"
        )

# ruff: noqa: ARG002 - the port's signatures
"""Scale: there is more of something for a while, within bounds, and then as much as before."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled
from stopgap.backends import locate
from stopgap.backends.capability import Scalable
from stopgap.context import Context
from stopgap.errors import PermanentError

_SIZE = re.compile(r"[+-]?[0-9]{1,7}")


def _place(locator: str) -> Scalable:
    return locate(locator, Scalable)  # type: ignore[type-abstract]


def _scales(locator: str) -> str:
    _place(locator)
    return locator


def _size(value: object) -> str:
    text = str(value)
    if isinstance(value, bool) or not _SIZE.fullmatch(text):
        raise ValueError(f"{text[:50]!r} is not a size: write a number, such as 3, or a change, such as +1")
    return text


Size = Annotated[
    str,
    BeforeValidator(_size),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^[+-]?[0-9]{1,7}$",
            "patternErrorMessage": "a size is a number, such as 3, or a change, such as +1",
        }
    ),
]


class ScaleParams(Params):
    """Where, which measure, how much, and the bounds."""

    at: Annotated[
        str,
        AfterValidator(_scales),
        Field(description="What: compose://project/service, fly://app, k8s://namespace/deployment/name."),
    ]
    count: Annotated[Size | None, Field(description="How many instances: 3, or a change such as +1.")] = None
    memory: Annotated[
        Size | None, Field(description="How much memory each has, in MiB: 512, or a change such as +256.")
    ] = None
    min: Annotated[int, Field(ge=0, description="A result below this is refused.")]
    max: Annotated[int, Field(ge=1, description="A result above this is refused.")]

    @property
    def measure(self) -> str:
        """Name what is changed."""
        return "count" if self.count is not None else "memory"

    @property
    def size(self) -> str:
        """Return how much: a number, or a change with its sign."""
        return self.count or self.memory or ""

    @model_validator(mode="after")
    def _makes_sense(self) -> "ScaleParams":
        if (self.count is None) == (self.memory is None):
            raise ValueError("write either count or memory")
        if self.measure not in _place(self.at).measures:
            raise ValueError(
                f"{self.at} cannot change {self.measure}: only {', '.join(_place(self.at).measures)}"
            )
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        if self.size.isdigit() and not self.min <= int(self.size) <= self.max:
            raise ValueError(f"{self.measure} {self.size} is not within min {self.min} and max {self.max}")
        return self


class Scale(Action[ScaleParams]):
    """Set the number of instances, or the memory of each in MiB; revert goes back to what was found.

    `min` and `max` bound the result whatever is there; a result outside of them is refused, not clipped.

    ```yaml
    scale: {at: fly://agente-hotel-api, count: +1, min: 1, max: 4}   # or memory: 512; also compose://project/service, k8s://…
    ```
    """

    name: ClassVar[str] = "scale"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=90)
    params = ScaleParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def describe(self, params: ScaleParams) -> str:
        """Name the measure, the size and the bounds."""
        return f"scale {_place(params.at).name} {params.measure} to {params.size} (within {params.min} and {params.max})"

    def idempotent(self, params: ScaleParams) -> bool:
        """Tell that the wanted size counts from the observation, so that a repetition sets the same."""
        return True

    def reverts(self, params: ScaleParams) -> bool:
        """Tell that there is a size to go back to."""
        return True

    def resource(self, params: ScaleParams) -> tuple[str, ...]:
        """Name the measure of the place."""
        return (f"{_place(params.at).name}#{params.measure}",)

    def undo_by_hand(self, params: ScaleParams, before: Json) -> str:
        """Say the old size."""
        return f"scale {_place(params.at).name} {params.measure} to {before['size']}"

    async def observe(self, params: ScaleParams, moment: Moment) -> Json:
        """Read the size."""
        return {"size": await _place(params.at).size(params.measure, moment.timeout)}

    async def rehearse(self, params: ScaleParams, moment: Moment) -> None:
        """Read the size, and see that the one that is wanted is within the bounds."""
        _bounded(params, {"size": await _place(params.at).try_resizing(params.measure, moment.timeout)})

    def effect(self, params: ScaleParams, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Name the new size, within the bounds; a change of a size that nobody knows stays a change."""
        (resource,) = self.resource(params)
        old = str(values.get(resource, ""))
        if not old.isdecimal():
            return {resource: int(params.size) if params.size.isdecimal() else f"{old} {params.size}"}
        return {resource: _bounded(params, {"size": old})}

    def settled(self, params: ScaleParams, before: Json, now: Json) -> Settled:
        """Compare sizes; between the two, a change is half done or somebody else's."""
        if now["size"] == _wanted(params, before):
            return Settled.DONE
        return Settled.NOT_DONE if now["size"] == before["size"] else Settled.UNCLEAR

    def settled_revert(self, params: ScaleParams, before: Json, now: Json) -> Settled:
        """Compare with the old size."""
        if now["size"] == before["size"]:
            return Settled.DONE
        return Settled.NOT_DONE if now["size"] == _wanted(params, before) else Settled.UNCLEAR

    async def run(self, params: ScaleParams, before: Json, moment: Moment) -> Json:
        """Set the size, counted from the observation."""
        wanted = _bounded(params, before)
        if wanted != before["size"]:
            await _place(params.at).resize(params.measure, wanted, moment.timeout)
        return {"size": wanted}

    async def revert(self, params: ScaleParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Go back to the old size, unless somebody chose another one meanwhile."""
        place, old = _place(params.at), before["size"]
        ours = receipt["size"] if receipt else _wanted(params, before)
        now = await place.size(params.measure, moment.timeout)
        if now == old:
            return Reverted(Restored.NOTHING, f"{params.measure} was {old} already")
        if now != ours:
            return Reverted(
                Restored.DRIFTED, f"{params.measure} is {now}, neither {old} nor {ours}: left alone"
            )
        await place.resize(params.measure, old, moment.timeout)
        return Reverted(Restored.REVERTED, f"{params.measure} is {old} again")


def _wanted(params: ScaleParams, before: Json) -> int:
    return int(before["size"]) + int(params.size) if params.size[0] in "+-" else int(params.size)


def _bounded(params: ScaleParams, before: Json) -> int:
    """Return the wanted size. Raises PermanentError for one that is out of bounds."""
    wanted = _wanted(params, before)
    if not params.min <= wanted <= params.max:
        raise PermanentError(f"{params.measure} {wanted} would not be within {params.min} and {params.max}")
    return wanted

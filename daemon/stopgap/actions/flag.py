# ruff: noqa: ARG002 - the port's signatures
"""Flag: settings of a place are set together, and each is set back unless somebody changed it meanwhile."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr, model_validator

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled, Text, reveal
from stopgap.backends import locate
from stopgap.backends.capability import Entry, Flags
from stopgap.context import Context
from stopgap.errors import TemporaryError

_SECRET_KEY = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY", re.IGNORECASE)
_LOGIN = re.compile(r"://[^/\s]*@")


def _flags(locator: str) -> Flags:
    return locate(locator, Flags)  # type: ignore[type-abstract]


def _holds_flags(locator: str) -> str:
    _flags(locator)
    return locator


Settings = Annotated[dict[str, Text], Field(min_length=1, max_length=50)]


class FlagParams(Params):
    """Where, what to set, and what to go back to where the old value cannot be read."""

    verbatim = frozenset({"set", "back_to"})

    at: Annotated[
        str,
        AfterValidator(_holds_flags),
        Field(
            description="Where they stand: env:///path, json:///path#key, yaml:///path#key, fly://app, cloudflare://zone, "
            "k8s://namespace/configmap/name."
        ),
    ]
    set: Annotated[Settings, Field(description="Names and new values; the characters stay as they are.")]
    back_to: Annotated[
        dict[str, Text] | None,
        Field(description="What to go back to, only where the old value cannot be read (fly)."),
    ] = None

    @model_validator(mode="after")
    def _has_a_way_back(self) -> "FlagParams":
        known = set(self.back_to or {})
        if len(self.set) > (most := _flags(self.at).at_once):
            raise ValueError(f"{self.at} cannot set {len(self.set)} in one write: at most {most} a step")
        if unknown := known - set(self.set):
            raise ValueError(f"back_to names {', '.join(sorted(unknown))}, which set does not: remove it")
        if not _flags(self.at).legible and (missing := set(self.set) - known):
            raise ValueError(
                f"{self.at} shows only digests: add back_to with a value for {', '.join(sorted(missing))}"
            )
        return self


class Flag(Action[FlagParams]):
    """Set one or more settings in one atomic write; revert sets them back, and removes those that were not there.

    ```yaml
    flag:
      at: env:///etc/agente-hotel/app.env   # also json:, yaml:, fly://my-app, cloudflare://example.com (one setting a step)
      set: {PMS_TYPE: mock}
      back_to: {PMS_TYPE: qloapps}          # used only where the old value cannot be read (fly)
    ```
    """

    name: ClassVar[str] = "flag"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = FlagParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def describe(self, params: FlagParams) -> str:
        """Name the settings and their new values, secrets masked."""
        return f"set {_shown(params.set)} in {_flags(params.at).name}"

    def idempotent(self, params: FlagParams) -> bool:
        """Tell that setting twice is setting once."""
        return True

    def reverts(self, params: FlagParams) -> bool:
        """Tell that there is something to take back."""
        return True

    def resource(self, params: FlagParams) -> tuple[str, ...]:
        """Name each setting."""
        place = _flags(params.at).name
        return tuple(f"{place}#{key}" for key in params.set)

    def undo_by_hand(self, params: FlagParams, before: Json) -> str:
        """Name the old values, except those that are or look like secrets."""
        said = []
        for key in params.set:
            old = _old(params, before, key).value
            given = (params.set[key], (params.back_to or {}).get(key))
            named = any(isinstance(value, SecretStr) for value in given)
            hidden = named or _SECRET_KEY.search(key) or _LOGIN.search(old or "")
            said.append(f"remove {key}" if old is None else f"{key}={'***' if hidden else old}")
        return f"in {_flags(params.at).name}: {', '.join(said)}"

    async def observe(self, params: FlagParams, moment: Moment) -> Json:
        """Read the values that `run` is about to replace."""
        return _written(await _flags(params.at).read(params.set, moment.timeout))

    async def rehearse(self, params: FlagParams, moment: Moment) -> None:
        """Prove that the settings, and those to go back to, could be written now."""
        place = _flags(params.at)
        writings = [params.set] if place.legible else [params.set, params.back_to or {}]
        plain = [{key: reveal(value) for key, value in settings.items()} for settings in writings]
        await place.try_writing(plain, moment.timeout)

    def effect(self, params: FlagParams, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Name the new values, secrets masked."""
        place = _flags(params.at).name
        return {f"{place}#{key}": str(value) for key, value in params.set.items()}

    def settled(self, params: FlagParams, before: Json, now: Json) -> Settled:
        """Compare values; digests only say whether something changed."""
        legible = _flags(params.at).legible
        new = [_is_new(params, before, key, now[key]["value"], legible) for key in params.set]
        if all(new):
            return Settled.DONE
        old = [now[key]["value"] == before[key]["value"] for key in params.set]
        return Settled.NOT_DONE if all(old) else Settled.UNCLEAR

    def settled_revert(self, params: FlagParams, before: Json, now: Json) -> Settled:
        """Compare with the old values; where only digests show, setting back again does no harm."""
        back = all(now[key]["value"] == before[key]["value"] for key in params.set)
        return Settled.DONE if back else Settled.NOT_DONE

    async def run(self, params: FlagParams, before: Json, moment: Moment) -> Json:
        """Set all settings in one write, if they are still as observed or already as wanted."""
        place = _flags(params.at)
        new = {key: reveal(value) for key, value in params.set.items()}

        def plan(now: Mapping[str, Entry]) -> Mapping[str, Entry]:
            for key, entry in now.items():
                if place.legible and entry.value not in {before[key]["value"], new[key]}:
                    raise TemporaryError(f"{key} was changed by somebody else since it was observed")
            return {key: Entry(value) for key, value in new.items() if now[key].value != value}

        return _written(await place.change(list(new), plan, moment.timeout))

    async def revert(self, params: FlagParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Set back what is still as we left it; leave alone, and name, what somebody changed."""
        place = _flags(params.at)
        left: list[str] = []
        back: list[str] = []

        def plan(now: Mapping[str, Entry]) -> Mapping[str, Entry]:
            for key, entry in now.items():
                if entry.value == before[key]["value"]:
                    continue
                ours = (
                    receipt[key]["value"] == entry.value
                    if receipt
                    else _is_new(params, before, key, entry.value, place.legible)
                )
                (back if ours else left).append(key)
            return {key: _old(params, before, key) for key in back}

        await place.change(list(params.set), plan, moment.timeout)
        if left:
            kept = f", set back: {', '.join(back)}" if back else ""
            return Reverted(
                Restored.DRIFTED,
                f"changed by somebody else and left alone: {', '.join(left)}{kept}",
                partly=bool(back),
            )
        if not back:
            return Reverted(Restored.NOTHING, "the old values were in place")
        return Reverted(Restored.REVERTED, f"set back: {', '.join(back)}")


def _written(entries: Mapping[str, Entry]) -> Json:
    return {key: {"value": entry.value, "form": entry.form} for key, entry in entries.items()}


def _is_new(params: FlagParams, before: Json, key: str, value: str | None, legible: bool) -> bool:  # noqa: FBT001 - a fact of the place
    """Tell whether a value is the one that we set, as far as can be known without a receipt."""
    if legible:
        return value == reveal(params.set[key])
    return value is not None and value != before[key]["value"]


def _old(params: FlagParams, before: Json, key: str) -> Entry:
    """Return what to set back: what stood there, or `back_to` where that shows only as a digest."""
    if not _flags(params.at).legible and before[key]["value"] is not None:
        return Entry(reveal((params.back_to or {})[key]))
    return Entry(before[key]["value"], before[key]["form"])


def _shown(settings: Mapping[str, Text]) -> str:
    return ", ".join(
        f"{key}={'***' if isinstance(value, SecretStr) else value}" for key, value in settings.items()
    )

# ruff: noqa: ARG002 - the port's signatures
"""Restore: a database, a file or a folder is exchanged for the latest good copy of it, and the old state is kept aside."""

import asyncio
import hashlib
from contextlib import suppress
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from stopgap import errand
from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled, Text, reveal
from stopgap.clock import SystemClock
from stopgap.context import Context
from stopgap.copies import original, shelf
from stopgap.copies.original import Original
from stopgap.copies.shelf import Copy
from stopgap.duration import Duration, print_duration, span
from stopgap.errors import ActionError, PermanentError, TemporaryError
from stopgap.sweep.protected import plain_path

CLEAR_UP = timedelta(seconds=20)

Pattern = Annotated[str, StringConstraints(pattern=r"^[^/\x00-\x1f]{1,255}$")]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[
    tuple[Pattern, ...],
    BeforeValidator(_listed, json_schema_input_type=Pattern | tuple[Pattern, ...]),
    Field(max_length=50),
]


def _folder(value: Any) -> Any:
    return {"folder": value} if isinstance(value, str) else value


class Source(BaseModel):
    """Which copies may be chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[
        str, AfterValidator(plain_path), Field(description="Where copies are: /var/backups/hotel.")
    ]
    match: Annotated[
        Patterns,
        Field(description="Names of copies; with it, also copies of another place, such as staging's."),
    ] = ()
    not_match: Annotated[Patterns, Field(description="Names that are never chosen: *emergency*.")] = ()
    without_manifest: Annotated[
        bool,
        Field(description="Take files, too, that `backup` did not write: a nightly dump's. Needs match."),
    ] = False
    own: Annotated[bool, Field(description="Take copies, too, that this same rule has made.")] = False

    @model_validator(mode="after")
    def _says_which(self) -> "Source":
        if self.without_manifest and not self.match:
            raise ValueError("without_manifest takes whatever match names: add match")
        return self


class RestoreParams(Params):
    """From which copies, and to where."""

    from_: Annotated[
        Source,
        BeforeValidator(_folder, json_schema_input_type=str | Source),
        Field(
            alias="from",
            description="The folder of the copies, or {folder, match, not_match, without_manifest, own}.",
        ),
    ]
    to: Annotated[
        str,
        Field(
            description="What: sqlite:///var/lib/x.db, postgres://user@host/database, mysql://user@host/database, file:///etc/x."
        ),
    ]
    password: Annotated[Text | None, Field(description="Of the database: {{ secrets.db_password }}.")] = None
    max_age: Annotated[Duration | None, Field(description="An older copy is refused: 26h.")] = None

    @model_validator(mode="after")
    def _can_be_put_back(self) -> "RestoreParams":
        _to(self)
        return self


def _to(params: RestoreParams) -> Original:
    return original(params.to, None if params.password is None else reveal(params.password))


class Restore(Action[RestoreParams]):
    """Put back the latest proved copy of a database, a file or a folder. Destructive: its rung needs `approval`.

    The copy is chosen before the rung and shown to who approves. Copies for evidence are never chosen, nor what the same rule has
    copied: it copied what was broken (`own: true` allows it). Its checksum and integrity are asked first; it is built beside the
    live one and then exchanged for it, in one move where the system has one. The old state stays under another name
    (`x.db.before-…`, database `x_before_…`) and is exchanged back on revert, or removed by a person. Who has a SQLite file open is
    to be stopped first. What was written since is lost by an exchange back: such a rung wants `on_resolve: keep`.

    ```yaml
    restore:
      from: /var/backups/hotel
      to: sqlite:///var/lib/hotel/hotel.db
      max_age: 26h
    ```
    ```yaml
    restore:
      from: {folder: /var/backups/askproai/db, match: "*.sql.gz", not_match: "*emergency*", without_manifest: true}
      to: mysql://restore@127.0.0.1:3306/askproai
      password: "{{ secrets.db_password }}"
    ```
    """

    name: ClassVar[str] = "restore"
    danger: ClassVar[Danger] = Danger.DESTRUCTIVE
    timeout: ClassVar[timedelta] = timedelta(minutes=30)
    params = RestoreParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context but the time of day."""
        self._clock = SystemClock()

    def describe(self, params: RestoreParams) -> str:
        """Say what is put back where to."""
        which = ", ".join(params.from_.match) or "the latest copy"
        age = f", no older than {print_duration(params.max_age)}" if params.max_age else ""
        return f"restore {_to(params).name} from {which} in {params.from_.folder}{age}; the old state is kept aside"

    def idempotent(self, params: RestoreParams) -> bool:
        """Tell that an exchange of one key takes place once."""
        return True

    def reverts(self, params: RestoreParams) -> bool:
        """Tell that the old state is kept."""
        return True

    def resource(self, params: RestoreParams) -> tuple[str, ...]:
        """Name what is replaced."""
        return (_to(params).name,)

    def undo_by_hand(self, params: RestoreParams, before: Json) -> str:
        """Say where the old state is, and for which copy it is exchanged: who approves reads this."""
        thing, copy = _to(params), before["copy"]
        which = f" (exchanged for {copy['path']}, made at {copy['made_at']})" if copy else ""
        if before["live"] is None:
            return f"remove {thing.name}: there was nothing before{which}"
        return f"put {thing.aside(before['mark'])} back in the place of {thing.name}{which}"

    async def observe(self, params: RestoreParams, moment: Moment) -> Json:
        """Choose the copy, and see what is live: the same as long as neither changes, so that an approval does not go stale."""
        mark = hashlib.sha256(moment.origin.encode()).hexdigest()[:12]
        state = await _to(params).state(mark, moment.timeout)
        seen = {"mark": mark, "live": state.live, "exchanged": state.aside}
        if state.aside or moment.takes_back:
            return seen | {"copy": None}  # it has been put back: which is the latest does not matter any more
        copy = await errand.run(lambda _: self._choose(params, moment), moment.timeout)
        return seen | {"copy": _seen(copy)}

    async def rehearse(self, params: RestoreParams, moment: Moment) -> str:
        """See that there is a copy to put back, and the programs for it."""
        await _to(params).try_tools()
        copy = (await self.observe(params, moment))["copy"]
        return f"would put back {copy['path']}" if copy else "has been put back"

    def settled(self, params: RestoreParams, before: Json, now: Json) -> Settled:
        """See whether the exchange took place: it does as a whole."""
        return Settled.DONE if _exchanged(before, now) else Settled.NOT_DONE

    def settled_revert(self, params: RestoreParams, before: Json, now: Json) -> Settled:
        """See whether the old state is live again."""
        return Settled.NOT_DONE if _exchanged(before, now) else Settled.DONE

    async def run(self, params: RestoreParams, before: Json, moment: Moment) -> Json:
        """Check the copy, build the new state beside the live one, and exchange them."""
        thing, mark = _to(params), before["mark"]
        now = await thing.state(mark, moment.timeout)
        if not _exchanged(before, {"live": now.live, "exchanged": now.aside}):
            await self._put_back(thing, before, moment)
            now = await thing.state(mark, moment.timeout)
        return {"copy": before["copy"]["path"], "live": now.live, "old": thing.aside(mark)}

    async def _put_back(self, thing: Original, before: Json, moment: Moment) -> None:
        mark = before["mark"]
        await thing.unstage(mark, moment.timeout)  # of a try that died
        if (await thing.state(mark, moment.timeout)).live != before["live"]:
            raise TemporaryError(f"{thing.name} was replaced by somebody else since it was observed")
        copy = await self._checked(thing, before["copy"], moment)
        try:
            await thing.stage(copy, mark, moment.timeout)
            await thing.exchange(mark, moment.timeout)
        except BaseException:  # whatever it was, nothing stays that is not in use
            with suppress(ActionError, TimeoutError):  # a server that is away: the next try clears up
                await asyncio.shield(thing.unstage(mark, CLEAR_UP))
            raise

    async def _checked(self, thing: Original, chosen: Json, moment: Moment) -> Path:
        path = Path(chosen["path"])
        sha256, size = await errand.run(lambda job: shelf.digest(path, job), moment.timeout)
        if size != chosen["bytes"] or (chosen["sha256"] and sha256 != chosen["sha256"]):
            raise PermanentError(
                f"{path} is not what it was when it was made: its checksum differs, nothing was touched"
            )
        await thing.prove(path, moment.timeout)
        return path

    async def revert(self, params: RestoreParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Exchange back, unless somebody put another state in place meanwhile."""
        thing, mark = _to(params), before["mark"]
        now = await thing.state(mark, moment.timeout)
        if not _exchanged(before, {"live": now.live, "exchanged": now.aside}):
            await thing.unstage(mark, moment.timeout)
            now = await thing.state(mark, moment.timeout)
            if now.live == before["live"]:
                return Reverted(Restored.NOTHING, "the old state was in place")
            return Reverted(Restored.DRIFTED, f"{thing.aside(mark)} is gone: {thing.name} was left alone")
        if receipt and now.live != receipt["live"]:
            return Reverted(Restored.DRIFTED, f"{thing.name} was replaced by somebody else and left alone")
        await thing.exchange_back(mark, moment.timeout, nothing_before=before["live"] is None)
        return Reverted(
            Restored.REVERTED, f"{thing.name} is as it was before; what was restored is kept beside it"
        )

    # --- which copy ---

    def _choose(self, params: RestoreParams, moment: Moment) -> Copy:
        """Return the latest copy that may be put back. Raises PermanentError that says why there is none."""
        thing, source = _to(params), params.from_
        fit = [copy for copy in shelf.copies(Path(source.folder)) if _fits(copy, source, thing, moment)]
        if not fit:
            raise PermanentError(f"{source.folder} holds no proved copy of {thing.name} that may be put back")
        age = self._clock.now() - fit[0].made_at
        if params.max_age is not None and age > params.max_age:
            raise PermanentError(
                f"the latest copy, {fit[0].path.name}, is {span(age)} old: older than {print_duration(params.max_age)}"
            )
        return fit[0]


def _fits(copy: Copy, source: Source, thing: Original, moment: Moment) -> bool:
    name, manifest = copy.path.name, copy.manifest
    if source.match and not any(fnmatchcase(name, pattern) for pattern in source.match):
        return False
    if not copy.bytes or any(fnmatchcase(name, pattern) for pattern in source.not_match):
        return False
    if manifest is None:
        return source.without_manifest
    if not manifest.verified or manifest.evidence or manifest.kind != thing.kind:
        return False
    if not source.own and moment.rule and manifest.rule == moment.rule:
        return False
    return bool(source.match) or manifest.of == thing.name


def _seen(copy: Copy) -> dict[str, Json]:
    digest = copy.manifest.sha256 if copy.manifest else ""
    made_at: datetime = copy.made_at
    return {"path": str(copy.path), "bytes": copy.bytes, "sha256": digest, "made_at": made_at.isoformat()}


def _exchanged(before: Json, now: Json) -> bool:
    """Tell whether the exchange took place: an old state is aside, or something is where nothing was."""
    return bool(now["exchanged"]) or (before["live"] is None and now["live"] is not None)

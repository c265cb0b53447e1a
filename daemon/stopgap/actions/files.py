# ruff: noqa: ARG002 - the port's signatures
"""Files: what nobody needs any more is cleared away below one folder, within bounds, so that a full disk has room again."""

import hashlib
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

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
from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled
from stopgap.actions.size import Size, print_size
from stopgap.clock import SystemClock
from stopgap.context import Context
from stopgap.duration import Duration, print_duration
from stopgap.errand import Errand
from stopgap.errors import PermanentError, TemporaryError
from stopgap.sweep import clearance, deeds
from stopgap.sweep.choice import Choice, within
from stopgap.sweep.folder import Found
from stopgap.sweep.protected import open_to_clearing

_ALL = {"*", "*.*", "**"}
_MOST_MOVED = 10_000


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Pattern = Annotated[str, StringConstraints(pattern=r"^[^/\x00-\x1f]{1,255}$")]
Patterns = Annotated[
    tuple[Pattern, ...],
    BeforeValidator(_listed, json_schema_input_type=Pattern | tuple[Pattern, ...]),
    Field(min_length=1, max_length=50),
]
Root = Annotated[str, AfterValidator(open_to_clearing)]


class Away(BaseModel):
    """Where to."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    to: Annotated[Root, Field(description="A folder that is there already.")]


class Move(BaseModel):
    """Files are moved instead of removed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    move: Annotated[Away, Field(description="Where to: {to: /mnt/archive/app}.")]


class FilesParams(Params):
    """Where, which files, what to do with them, and at most how many."""

    under: Annotated[Root, Field(description="The folder of one application: /var/log/app.")]
    match: Annotated[Patterns, Field(description="Names of files: *.gz, or a list. No path.")]
    older_than: Annotated[Duration | None, Field(description="Only what was last changed before: 7d.")] = None
    keep_newest: Annotated[
        int, Field(ge=0, le=10_000, description="So many of the newest stay in each folder.")
    ] = 0
    max_files: Annotated[int, Field(ge=1, le=1_000_000, description="At most so many files.")] = 1000
    max_bytes: Annotated[Size | None, Field(description="At most so much disk: 20GB.")] = None
    beyond: Annotated[
        Literal["stop", "refuse"],
        Field(description="What a bound does: stop at it, or refuse to start when there is more."),
    ] = "stop"
    do: Annotated[
        Literal["delete", "truncate", "compress"] | Move,
        Field(description="delete, truncate, compress, or {move: {to: /mnt/archive/app}}."),
    ] = "delete"
    empty_folders: Annotated[bool, Field(description="Remove folders that deleting has emptied, too.")] = (
        False
    )

    @property
    def to(self) -> str:
        """Return where files are moved, "" when they are not."""
        return self.do.move.to if isinstance(self.do, Move) else ""

    @property
    def word(self) -> str:
        """Say in a word what is done."""
        return "move" if isinstance(self.do, Move) else self.do

    @model_validator(mode="after")
    def _is_bounded(self) -> "FilesParams":
        if self.do == "delete" and _ALL & {*self.match} and self.older_than is None and not self.keep_newest:
            raise ValueError("this would delete everything: add older_than or keep_newest, or narrow match")
        if self.to and (self.to == self.under or self.to.startswith(f"{self.under}/")):
            raise ValueError(f"{self.to} is itself below {self.under}: move to another folder")
        if self.to and self.max_files > _MOST_MOVED:
            raise ValueError(f"at most {_MOST_MOVED} files are moved at once: lower max_files")
        if self.empty_folders and self.do != "delete":
            raise ValueError("empty_folders goes with delete only")
        return self


class Files(Action[FilesParams]):
    """Delete, empty, compress or move away regular files below one folder, the oldest first, until a bound stops it.

    `under` is one application's folder: the system's own, homes and Stopgap's data are protected, and do not load. No link is
    followed, no other mount entered, no file taken that changed since it was found. `keep_newest` counts in each folder. A bound
    (`max_files`, `max_bytes`) stops it, or with `beyond: refuse` keeps it from starting. `truncate` empties logs that are open,
    `compress` needs some room, `move` puts files below a folder of its own in `to`, never over another one, and moves them back
    on revert; a rung that moves to make room wants `on_resolve: keep`.

    ```yaml
    files:
      under: /var/log/bookgen
      match: ["*.gz", "*.log.[0-9]*"]
      older_than: 7d
      keep_newest: 2
      max_files: 500
      max_bytes: 20GB
      do: delete            # or truncate, compress, {move: {to: /mnt/archive/bookgen}}
    ```
    """

    name: ClassVar[str] = "files"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(minutes=5)
    params = FilesParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context but the time of day."""
        self._clock = SystemClock()

    def describe(self, params: FilesParams) -> str:
        """Say which files, what becomes of them, and the bounds."""
        said = f"{params.word} files {', '.join(params.match)} below {params.under}"
        said += f" to {params.to}" if params.to else ""
        said += f", older than {print_duration(params.older_than)}" if params.older_than else ""
        said += f", but the newest {params.keep_newest} of each folder" if params.keep_newest else ""
        most = f" and {print_size(params.max_bytes)}" if params.max_bytes is not None else ""
        return f"{said} (at most {params.max_files} files{most})"

    def idempotent(self, params: FilesParams) -> bool:
        """Tell that a repetition counts what is gone already against the bounds."""
        return True

    def reverts(self, params: FilesParams) -> bool:
        """Tell whether the files are only moved."""
        return bool(params.to)

    def resource(self, params: FilesParams) -> tuple[str, ...]:
        """Name the folder."""
        return (f"files:{params.under}",)

    def undo_by_hand(self, params: FilesParams, before: Json) -> str:
        """Say where the files are."""
        if not params.to:
            return "nothing"
        return f"move what is below {params.to}/{before['folder']} back below {params.under}"

    async def observe(self, params: FilesParams, moment: Moment) -> Json:
        """Count what would be cleared away; of files to be moved, what stands in their new place."""
        if params.to:  # the same at any time, so that an approval does not go stale by a new log
            folder = _folder(moment)
            there = await errand.run(lambda job: clearance.moved(params.to, folder, job), moment.timeout)
            return {"folder": folder, "moved": len(there)}
        at = self._clock.now()
        return {"at": at.isoformat(), **_count(await self._chosen(params, at, moment))}

    async def rehearse(self, params: FilesParams, moment: Moment) -> str:
        """List what would be cleared away now, see that we may, and say how much it is."""
        await self.observe(params, moment)
        files = await self._chosen(params, self._clock.now(), moment)
        taken = _bounded(params, files, 0, 0)
        await errand.run(lambda job: clearance.check_writable(params.under, taken, job), moment.timeout)
        count = _count(taken)
        verb = {"compress": "compress", "move": "move"}.get(params.word, "free")
        return f"would {verb} {print_size(count['bytes'])} in {count['files']} files"

    def settled(self, params: FilesParams, before: Json, now: Json) -> Settled:
        """Compare counts: part of it is worth a repetition, which does the rest."""
        if params.to:
            return Settled.UNCLEAR if now["moved"] > before["moved"] else Settled.NOT_DONE
        if before["files"] and not now["files"]:
            return Settled.DONE
        return Settled.NOT_DONE if now["files"] >= before["files"] else Settled.UNCLEAR

    def settled_revert(self, params: FilesParams, before: Json, now: Json) -> Settled:
        """See whether all files have left the place that they were moved to."""
        return Settled.NOT_DONE if params.to and now["moved"] else Settled.DONE

    async def run(self, params: FilesParams, before: Json, moment: Moment) -> Json:
        """Clear away what was old when it was observed, and what the bounds leave."""
        at = self._clock.now() if params.to else datetime.fromisoformat(before["at"])
        return await errand.run(lambda job: self._clear(params, before, at, job), moment.timeout)

    async def revert(self, params: FilesParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Move the files back, each where nothing else stands by now."""
        if not params.to or not (await self.observe(params, moment))["moved"]:
            return Reverted(Restored.NOTHING, "nothing is in the folder that files were moved to")
        folder = before["folder"]
        done = await errand.run(
            lambda job: clearance.move_back(params.under, params.to, folder, job), moment.timeout
        )
        if done.failed:
            left = f"{done.failed} files stay in {params.to}/{folder}: {done.why}"
            return Reverted(Restored.DRIFTED, left, partly=bool(done.files))
        return Reverted(Restored.REVERTED, f"moved {done.files} files back")

    async def _chosen(self, params: FilesParams, at: datetime, moment: Moment) -> list[Found]:
        try:
            return await errand.run(lambda job: _choose(params, at, job), moment.timeout)
        except TimeoutError:
            raise TemporaryError(f"{params.under} could not be listed in time") from None

    def _clear(self, params: FilesParams, before: Json, at: datetime, job: Errand) -> Json:
        files = _choose(params, at, job)
        gone, freed = _gone(params, before, files, job)
        taken = _bounded(params, files, gone, freed)
        if params.to:
            outcome = clearance.move_away(params.under, taken, params.to, before["folder"], job)
        else:
            outcome = clearance.clear(params.under, taken, _deed(params, job), job)
        receipt = {"files": outcome.files, "bytes": outcome.bytes, "names": outcome.names}
        receipt |= {"beyond": len(files) - len(taken), "changed": outcome.changed, "failed": outcome.failed}
        if params.empty_folders:
            receipt["folders"] = clearance.drop_empty(params.under, taken)
        return receipt | ({"why": outcome.why} if outcome.why else {})


def _folder(moment: Moment) -> str:
    return f"stopgap-{hashlib.sha256(moment.origin.encode()).hexdigest()[:12]}"


def _choose(params: FilesParams, at: datetime, job: Errand) -> list[Found]:
    """Choose the files as of an instant; an empty file has nothing to give, and what is compressed stays as it is."""
    before_ns = None
    if params.older_than is not None or params.do == "delete":
        before_ns = int((at - (params.older_than or timedelta())).timestamp() * 1_000_000_000)
    files = clearance.chosen(params.under, Choice(params.match, before_ns, params.keep_newest), job)
    if params.do == "compress":
        return [
            file for file in files if file.size and not file.name.endswith((".gz", ".xz", ".zst", ".bz2"))
        ]
    return [file for file in files if file.size] if params.do == "truncate" else files


def _count(files: list[Found]) -> dict[str, int]:
    return {"files": len(files), "bytes": sum(file.frees for file in files)}


def _gone(params: FilesParams, before: Json, files: list[Found], job: Errand) -> tuple[int, int]:
    """Return what an earlier try with the same key has cleared away."""
    if params.to:
        there = _count(clearance.moved(params.to, before["folder"], job))
        return there["files"], there["bytes"]
    now = _count(files)
    return max(before["files"] - now["files"], 0), max(before["bytes"] - now["bytes"], 0)


def _bounded(params: FilesParams, files: list[Found], gone: int, freed: int) -> list[Found]:
    """Return what the bounds leave. Raises PermanentError where they are to refuse more."""
    room = None if params.max_bytes is None else params.max_bytes - freed
    taken = within(files, params.max_files - gone, room)
    if params.beyond == "refuse" and len(taken) < len(files):
        count = _count(files)
        raise PermanentError(
            f"it would {params.word} {count['files']} files of {print_size(count['bytes'])}, more than is allowed: nothing was done"
        )
    return taken


def _deed(params: FilesParams, job: Errand) -> clearance.Deed:
    if params.do == "compress":
        return lambda folder, file: deeds.compress(folder, file, job)
    return deeds.truncate if params.do == "truncate" else deeds.delete

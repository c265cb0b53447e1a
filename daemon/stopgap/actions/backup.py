# ruff: noqa: ARG002 - the port's signatures
"""Backup: before something risky, what it may destroy is copied; the copy is proved whole before it gets its name."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from stopgap import errand
from stopgap.action import Action, Danger, Json, Moment, Params, Settled, Text, reveal
from stopgap.actions.size import Size, parse_size, print_size
from stopgap.actions.transient import Transient
from stopgap.clock import SystemClock
from stopgap.context import Context
from stopgap.copies import original, shelf
from stopgap.copies.manifest import Manifest
from stopgap.copies.original import Original
from stopgap.sweep.protected import open_to_clearing

_NAME = re.compile(r"(?!\.)[A-Za-z0-9_.+-]{1,120}")
_TIME = "%Y%m%dT%H%M%SZ"
T = TypeVar("T")


def _of(params: "BackupParams") -> Original:
    return original(params.of, None if params.password is None else reveal(params.password))


class BackupParams(Params):
    """What, where to, under which name, how many, and whether the copy must be proved."""

    of: Annotated[
        str,
        Field(
            description="What: sqlite:///var/lib/x.db, postgres://user@host/database, mysql://user@host/database, file:///etc/x."
        ),
    ]
    password: Annotated[Text | None, Field(description="Of the database: {{ secrets.db_password }}.")] = None
    to: Annotated[
        str, AfterValidator(open_to_clearing), Field(description="A folder for copies: /var/backups/hotel.")
    ]
    name: Annotated[
        str, Field(description="Name of the copy, without its ending; {time} stands for the time in UTC.")
    ] = ""
    keep: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="So many copies stay, the newest; those for evidence are counted apart.",
        ),
    ] = 10
    min_free: Annotated[Size, Field(description="So much of the disk must stay free: 1GB.")] = parse_size(
        "100MB"
    )
    verify: Annotated[
        bool,
        Field(
            description="false: a copy for evidence, of what may be corrupt; it is never chosen by `restore`."
        ),
    ] = True

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if name and ("{time}" not in name or not _NAME.fullmatch(name.replace("{time}", "0"))):
            raise ValueError(
                f"{name[:100]!r} is not a name for copies: write letters and {{time}}, such as hotel-{{time}}"
            )
        return name

    @model_validator(mode="after")
    def _can_be_copied(self) -> "BackupParams":
        _of(self)
        return self


class Backup(Transient[BackupParams], Action[BackupParams]):
    """Copy a database, a file or a folder, prove that the copy is whole, and keep the newest of them.

    SQLite is copied by its online backup and proved by its integrity check; PostgreSQL by pg_dump and `pg_restore --list`; MariaDB
    and MySQL by a dump in one transaction and its closing line; files as a tar that is read again. Beside each copy stands a
    manifest (`.json`: what, when, SHA-256, proved). It is for its owner alone, and appears under its name whole or not at all.
    `verify: false` keeps what may be corrupt for those who look for the cause: a SQLite database with all its files, byte by byte.

    ```yaml
    backup:
      of: sqlite:///var/lib/hotel/hotel.db
      to: /var/backups/hotel
      name: hotel-{time}
      keep: 14
      min_free: 1GB
    ```
    ```yaml
    backup:
      of: postgres://bookgen@127.0.0.1:5432/bookgen
      password: "{{ secrets.db_password }}"
      to: /opt/bookgen/backups
    ```
    """

    name: ClassVar[str] = "backup"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(minutes=30)
    params = BackupParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context but the time of day."""
        self._clock = SystemClock()

    def describe(self, params: BackupParams) -> str:
        """Say what is copied where to."""
        kind = "copy" if params.verify else "keep as evidence, unproved,"
        return f"{kind} {_of(params).name} to {params.to} (the newest {params.keep} stay, {print_size(params.min_free)} stay free)"

    def idempotent(self, params: BackupParams) -> bool:
        """Tell that the copy of one key is made once."""
        return True

    def resource(self, params: BackupParams) -> tuple[str, ...]:
        """Name the folder: what is copied is not changed."""
        return (f"files:{params.to}",)

    async def observe(self, params: BackupParams, moment: Moment) -> Json:
        """Choose the time that stands in the name, and look for a copy that this very step has made."""
        return {"at": self._clock.now().isoformat(), "made": await self._made(params, moment)}

    async def rehearse(self, params: BackupParams, moment: Moment) -> str:
        """See that there are programs, rights and room for a copy, and say how large it will be."""
        thing = _of(params)
        await thing.try_tools()
        size = await thing.size(moment.timeout)
        await _in_thread(lambda: shelf.check(Path(params.to), size, params.min_free), moment)
        return f"would write up to {print_size(size)} to {params.to}"

    def settled(self, params: BackupParams, before: Json, now: Json) -> Settled:
        """Tell whether the copy has its name by now."""
        return Settled.DONE if now["made"] else Settled.NOT_DONE

    async def run(self, params: BackupParams, before: Json, moment: Moment) -> Json:
        """Copy, prove, name, and remove the oldest."""
        if made := await self._made(params, moment):
            return made
        thing, folder = _of(params), Path(params.to)
        at = datetime.fromisoformat(before["at"])
        size = await thing.size(moment.timeout)
        await _in_thread(lambda: shelf.check(folder, size, params.min_free), moment)
        try:
            part = await _in_thread(lambda: shelf.begin(folder, _mark(moment), at), moment)
            return await self._into(part, params, at, moment)
        finally:
            # it has its name by now, or is not wanted, also when it was begun and nobody waited
            with suppress(OSError):
                shelf.part_of(folder, _mark(moment)).unlink()

    async def _into(self, part: Path, params: BackupParams, at: datetime, moment: Moment) -> Json:
        thing, evidence = _of(params), not params.verify
        await thing.copy(part, moment.timeout, evidence=evidence)
        if params.verify:
            await thing.prove(part, moment.timeout)
        sha256, size = await errand.run(lambda job: shelf.digest(part, job), moment.timeout)
        manifest = Manifest(
            of=thing.name,
            kind=thing.kind,
            made_at=at,
            bytes=size,
            sha256=sha256,
            verified=params.verify,
            evidence=evidence,
            rule=moment.rule,
            incident=moment.incident,
            key=moment.key,
        )
        name = (params.name or f"{thing.title}-{{time}}").replace(
            "{time}", at.astimezone(UTC).strftime(_TIME)
        )
        path = Path(params.to, name + thing.suffix_of(evidence=evidence))
        await _in_thread(lambda: shelf.publish(part, path, manifest), moment)
        removed = await _in_thread(lambda: shelf.prune(path.parent, manifest, params.keep), moment)
        return _receipt(path, manifest) | {"removed": removed}

    async def _made(self, params: BackupParams, moment: Moment) -> Json:
        """Return the receipt of the copy that was made with this key, None when there is none."""
        folder = Path(params.to)
        for copy in await _in_thread(lambda: shelf.copies(folder) if folder.exists() else [], moment):
            if copy.manifest and copy.manifest.key == moment.key:
                return _receipt(copy.path, copy.manifest) | {"removed": []}
        return None


def _receipt(path: Path, manifest: Manifest) -> dict[str, Json]:
    return {
        "path": str(path),
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "verified": manifest.verified,
    }


def _mark(moment: Moment) -> str:
    return hashlib.sha256(moment.key.encode()).hexdigest()[:12]


async def _in_thread(work: Callable[[], T], moment: Moment) -> T:
    return await errand.run(lambda _: work(), moment.timeout)

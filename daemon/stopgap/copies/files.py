"""Files: a file, or a folder with all that is in it."""

import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from stopgap import errand
from stopgap.backends.locator import parse_locator
from stopgap.backends.successor import take_after
from stopgap.copies import archive
from stopgap.copies.exchange import Exchange
from stopgap.copies.original import Original, State
from stopgap.copies.shelf import told
from stopgap.copies.tool import unpacked
from stopgap.errand import Errand
from stopgap.errors import PermanentError

T = TypeVar("T")


class Files(Original):
    """A path. A copy is a tar that holds it; what others made of a single file may be the file itself, compressed or not."""

    schemes = ("file",)
    example = "file:///etc/hotel"
    kind = "file"
    suffix = ".tar"

    def __init__(self, locator: str, password: str | None = None) -> None:
        parsed = parse_locator(locator)
        parsed.only("path")
        if password is not None:
            raise ValueError("a file has no password: remove it")
        if parsed.path.strip("/").count("/") < 1:
            raise ValueError(f"{parsed.path} is too much: name a file or folder of one application")
        self._path = Path(parsed.path)

    @property
    def name(self) -> str:
        """Name it as a resource."""
        return f"file:{self._path}"

    @property
    def title(self) -> str:
        """Return the last part of the path."""
        return self._path.name.lstrip(".") or "files"

    def aside(self, mark: str) -> str:
        """Say where an exchange keeps the old file or folder."""
        return str(Exchange(self._path, mark, prefix=".").aside)

    async def try_tools(self) -> None:
        """Need nothing that Python does not bring."""

    async def size(self, within: timedelta) -> int:
        """Add up the files."""
        return await errand.run(self._size, within)

    def _size(self, job: Errand) -> int:
        with told(self._path):
            real = self._path.resolve(strict=True)
            size = real.stat().st_size
            for folder, _, names in os.walk(real):
                job.pause()
                size += sum(Path(folder, name).lstat().st_size for name in names)
            return size

    async def copy(self, to: Path, within: timedelta, *, evidence: bool) -> None:  # noqa: ARG002 - as it is in any case
        """Pack it."""
        with told(self._path):
            real = self._path.resolve(strict=True)
        await errand.run(lambda job: archive.pack([real], to, job), within)

    async def prove(self, copy: Path, within: timedelta) -> None:
        """Read a tar to its end; another file is proved by its checksum alone."""
        await errand.run(lambda job: archive.prove(copy, job) if archive.is_archive(copy) else None, within)

    # --- putting back ---

    async def state(self, mark: str, within: timedelta) -> State:
        """See what is live, and whether something old is aside."""
        return await errand.run(lambda _: self._do(mark, Exchange.state), within)

    def _at(self, mark: str) -> Exchange:
        with told(self._path):
            return Exchange(self._path.resolve(), mark, prefix=".")

    def _do(self, mark: str, deed: Callable[[Exchange], T]) -> T:
        at = self._at(mark)
        with told(at.live):
            return deed(at)

    async def stage(self, copy: Path, mark: str, within: timedelta) -> None:
        """Unpack beside the live one."""
        await errand.run(lambda job: self._stage(copy, self._at(mark), job), within)

    def _stage(self, copy: Path, at: Exchange, job: Errand) -> None:
        with told(at.live):
            at.unstage()
            if archive.is_archive(copy):
                archive.unpack(copy, at.staged, job)
            else:
                self._write(copy, at, job)
            _same_kind(at)

    def _write(self, copy: Path, at: Exchange, job: Errand) -> None:
        descriptor = os.open(at.staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as target, unpacked(copy) as source:
            while chunk := source.read(1024 * 1024):
                job.pause()
                target.write(chunk)
            if at.live.is_file():
                take_after(at.live, descriptor, at.live.stat())
            target.flush()
            os.fsync(descriptor)

    async def unstage(self, mark: str, within: timedelta) -> None:
        """Remove what is staged."""
        await errand.run(lambda _: self._do(mark, Exchange.unstage), within)

    async def exchange(self, mark: str, within: timedelta) -> None:
        """Put the new one in place."""
        await errand.run(lambda _: self._do(mark, Exchange.go), within)

    async def exchange_back(self, mark: str, within: timedelta, *, nothing_before: bool) -> None:
        """Put the old one back."""
        await errand.run(lambda _: self._do(mark, lambda at: at.back(nothing_before=nothing_before)), within)


def _same_kind(at: Exchange) -> None:
    if at.live.exists() and stat.S_IFMT(at.live.lstat().st_mode) != stat.S_IFMT(at.staged.lstat().st_mode):
        raise PermanentError(
            f"{at.live} is a file and the copy a folder, or the reverse: nothing was put back"
        )

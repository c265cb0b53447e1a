"""Archive: files and folders in one tar, and out of it again."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from stopgap.copies.shelf import told
from stopgap.errand import Errand
from stopgap.errors import PermanentError

_CHUNK = 1024 * 1024


def pack(paths: Sequence[Path], to: Path, errand: Errand) -> None:
    """Write files and folders into a tar, each under its own name; links stay links. Raises PermanentError."""

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        errand.pause()
        return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None

    with (
        told(paths[0]),
        to.open("wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in paths:
            tar.add(path, arcname=path.name, filter=wanted)


def is_archive(path: Path) -> bool:
    """Tell whether a file is a tar, compressed or not."""
    with told(path):
        return tarfile.is_tarfile(path)


def prove(path: Path, errand: Errand) -> None:
    """Read a tar to its end. Raises PermanentError."""
    try:
        with told(path), tarfile.open(path) as tar:
            count = 0
            for member in tar:
                errand.pause()
                count += 1
                if member.isreg() and (content := tar.extractfile(member)) is not None:
                    while content.read(_CHUNK):
                        errand.pause()
    except (tarfile.TarError, EOFError) as error:
        raise PermanentError(f"{path.name} is not whole: {error}") from None
    if not count:
        raise PermanentError(f"{path.name} is empty")


def unpack(path: Path, to: Path, errand: Errand) -> None:
    """Unpack the one file or folder that a tar holds as `to`, with its owners and modes; nothing of it leaves `to`.

    Raises PermanentError.
    """
    try:
        with told(to), tarfile.open(path) as tar:
            top = {member.name.split("/")[0] for member in tar.getmembers()}
            if len(top) != 1:
                raise PermanentError(f"{path.name} holds {len(top)} files or folders, and not one")
            members = _renamed(tar, next(iter(top)), to.name, errand)
            tar.extractall(to.parent, members, numeric_owner=True, filter=lambda each, _: _kept(each, to))  # noqa: S202 - that is what the filter is for
    except (tarfile.TarError, EOFError) as error:
        raise PermanentError(f"{path.name} cannot be unpacked: {error}") from None


def _renamed(tar: tarfile.TarFile, old: str, new: str, errand: Errand) -> Iterator[tarfile.TarInfo]:
    for member in tar.getmembers():
        errand.pause()
        member.name = new + member.name.removeprefix(old)
        if member.islnk():
            member.linkname = new + member.linkname.removeprefix(old)
        yield member


def _kept(member: tarfile.TarInfo, to: Path) -> tarfile.TarInfo:
    """Refuse what would be written elsewhere; keep the modes that tarfile's own filter takes away."""
    for name in (member.name, member.linkname) if member.islnk() else (member.name,):
        above = os.path.realpath((to.parent / name).parent)  # through the links that came before it
        inside = Path(above).is_relative_to(Path(os.path.realpath(to.parent), to.name))
        linked = member.islnk() and (to.parent / member.linkname).is_symlink()
        if ".." in name.split("/") or linked or not (inside or to.parent / name == to):
            raise PermanentError(f"{member.name[:200]!r} in it leads out of it")
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise PermanentError(f"{member.name[:200]!r} in it is neither a file, a folder nor a link")
    return member

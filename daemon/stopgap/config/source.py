"""Source: which files of a directory are rules, and of which pack, whatever order the file system lists them in.

A directory holds packs: a folder is one, named by its `pack.yaml` or else by the folder; a loose file is a pack of its stem. One
folder with a `pack.yaml` can be named alone, and so can one file, with the `pack.yaml` beside it and the `site.yaml` above.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stopgap.config.clear_text import clear_text_in
from stopgap.config.codes import Odd, Wrong
from stopgap.config.findings import Findings
from stopgap.config.node import Mark, Node
from stopgap.config.permissions import judge_permissions
from stopgap.config.read import read

PACK, SITE = "pack.yaml", "site.yaml"
LARGEST = 1024 * 1024  # bytes of a file
MOST_FILES = 1000
_ENDINGS = (".yaml", ".yml")
_GROUPS = re.compile(rb"^[\"']?groups\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Folder:
    """One pack's files: `name` is what it is called unless `pack` says otherwise."""

    name: str
    place: Path
    pack: Path | None
    files: tuple[Path, ...]


def site_of(place: Path) -> Path | None:
    """Find the site's file: in the directory, or above what is named alone."""
    folder = place if place.is_dir() else place.parent
    for each in (folder, *([folder.parent] if is_part(place) or is_part(folder) else [])):
        if (each / SITE).is_file():
            return each / SITE
    return None


def is_part(place: Path) -> bool:
    """Tell whether a place is one pack or one file of a directory, so that other packs are out of sight."""
    return place.is_file() or (place / PACK).is_file()


def is_piece(place: Path) -> bool:
    """Tell whether a place is one file of a pack, so that even rules of its own pack are out of sight."""
    return place.is_file() and place.name != PACK and (place.parent / PACK).is_file()


def folders_of(place: Path, findings: Findings) -> tuple[Folder, ...]:
    """Find the packs of a directory, or the one that is named."""
    try:
        found = tuple(_named(place) if is_part(place) else _all(place))
    except OSError as error:
        said = f"cannot be read: {error.strerror}"
        findings.error(Mark(str(place)), said, "name a directory of rules", code=Wrong.UNREADABLE)
        return ()
    folders = (each.place if each.place.is_dir() else each.place.parent for each in found)
    for folder in dict.fromkeys((place, *folders)) if place.is_dir() else ():
        judge_permissions(folder, findings)
    count = sum(len(folder.files) for folder in found)
    if count > MOST_FILES:
        said = f"{count} files, more than {MOST_FILES}"
        findings.error(Mark(str(place)), said, "put more rules into one file", code=Wrong.TOO_LARGE)
        return ()
    return found


def _named(place: Path) -> Iterator[Folder]:
    folder = place if place.is_dir() else place.parent
    pack = folder / PACK if (folder / PACK).is_file() else None
    files = _files(folder) if place.is_dir() else (place,) if place.name != PACK else ()
    yield Folder(folder.name if pack else place.stem, pack or place, pack, files)


def _all(place: Path) -> Iterator[Folder]:
    for file in _files(place):
        yield Folder(file.stem, file, None, (file,))
    for folder in sorted(place.iterdir()):
        if not folder.name.startswith(".") and folder.is_dir():
            pack = folder / PACK if (folder / PACK).is_file() else None
            files = _files(folder)
            if pack or files:
                yield Folder(folder.name, pack or folder, pack, files)


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.iterdir() if _is_rules(path) and path.is_file()))


def _is_rules(path: Path) -> bool:
    aside = path.stem.endswith((".test", ".drill"))
    return (
        path.suffix in _ENDINGS
        and not aside
        and not path.name.startswith(".")
        and path.name not in {PACK, SITE}
    )


def is_of_prometheus(path: Path) -> bool:
    """Tell whether a file looks as if alerting rules stand in it, which are to be known before the rules that take them."""
    try:
        with path.open("rb") as stream:
            return _GROUPS.search(stream.read(LARGEST)) is not None
    except OSError:
        return False


def read_file(path: Path, findings: Findings) -> Node | None:
    """Read one file; whatever is wrong with it goes to the findings."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        findings.error(Mark(file), f"cannot be read: {error.strerror}", code=Wrong.UNREADABLE)
        return None
    if len(content) > LARGEST:
        findings.error(Mark(file), "larger than 1 MiB", "split it", code=Wrong.TOO_LARGE)
        return None
    try:
        source = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode("utf-8-sig")) + 1
        hint = "save the file as UTF-8"
        findings.error(Mark(file, line, column), "not UTF-8", hint, code=Wrong.UNREADABLE)
        return None
    root = read(source, file, findings)
    judge_permissions(path, findings)
    for node, what in clear_text_in(root) if root is not None else ():
        hint = "name it under `secrets` of pack.yaml and write {{ secrets.NAME }}"
        findings.warning(node.mark, f"{what} stands here in clear text", hint, code=Odd.SECRET_IN_YAML)
    return root

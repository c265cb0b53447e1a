"""Packs: the files of tests below what was named, and the rules that each is about, loaded once for each set of vars."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stopgap.catalog import Catalog
from stopgap.config import Loaded, load
from stopgap.config.codes import Odd, Wrong
from stopgap.config.findings import Findings
from stopgap.config.node import Mark, Node
from stopgap.config.source import PACK, read_file
from stopgap.errors import ConfigError, Problem
from stopgap.simulate.environ import SECRET, Environ
from stopgap.suite.running import Cast
from stopgap.suite.script import Script

ENDINGS = (".test.yaml", ".test.yml")
MOST_FILES = 1000


def files_below(paths: Iterable[Path], findings: Findings) -> tuple[Path, ...]:
    """Find the files of tests that are named, and those in named directories and their folders."""
    found: dict[Path, None] = {}
    for path in paths:
        try:
            found |= dict.fromkeys(_below(path))
        except OSError as error:
            said = f"cannot be read: {error.strerror}"
            findings.error(Mark(str(path)), said, "name a directory or a *.test.yaml", code=Wrong.UNREADABLE)
    if len(found) > MOST_FILES:
        path = next(iter(found))
        findings.error(Mark(str(path.parent)), f"more than {MOST_FILES} files of tests", code=Wrong.TOO_LARGE)
        return ()
    return tuple(found)


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        path.stat()
        yield path
        return
    folders = [
        path,
        *(each for each in sorted(path.iterdir()) if each.is_dir() and not each.name.startswith(".")),
    ]
    for folder in folders:
        yield from sorted(each for each in folder.iterdir() if each.name.endswith(ENDINGS) and each.is_file())


def pack_of(test: Path) -> Path:
    """Return what a file of tests is about: the pack beside it, else the file of rules of the same name, else its folder."""
    folder = test.parent
    if (folder / PACK).is_file():
        return folder
    stem = next(
        (test.name.removesuffix(ending) for ending in ENDINGS if test.name.endswith(ending)), test.stem
    )
    beside = (folder / f"{stem}{ending}" for ending in (".yaml", ".yml"))
    return next((each for each in beside if each.is_file()), folder)


class Packs:
    """The rules of packs, each loaded once for each set of vars and secrets. `given` are the vars of the command line."""

    def __init__(self, catalog: Catalog, given: Mapping[str, str]) -> None:
        self._catalog = catalog
        self._given = given
        self._loaded: dict[tuple[Any, ...], Loaded] = {}
        self._files: dict[Path, tuple[Node | None, Findings]] = {}
        self._packs: dict[Path, Path] = {}

    def cast(self, script: Script, more: Mapping[str, str]) -> Cast:
        """Return the rules of a test's pack, under its vars and then these. Raises ConfigError."""
        own = {**script.vars, **more}
        if script.path not in self._packs:
            self._packs[script.path] = pack_of(script.path)
        loaded = self.load(self._packs[script.path], own, script.secrets)
        unused = {problem.key for problem in loaded.warnings if problem.code == Odd.UNUSED_VAR}
        for name in own:
            if f"vars.{name}" in unused:
                mark = script.place("vars", name)
                said, hint = f"no rule of the pack has a var `{name}`", "remove it"
                problem = Problem(
                    mark.file, mark.line, mark.column, f"vars.{name}", Wrong.UNKNOWN_VAR, said, hint
                )
                raise ConfigError((problem,))
        return _cast(loaded)

    def load(self, place: Path, own: Mapping[str, str], secrets: Mapping[str, str]) -> Loaded:
        """Load a pack. What a test says outranks the command line. Raises ConfigError."""
        given = {**self._given, **own}
        key = (place, *sorted(given.items()), None, *sorted(secrets.items()))
        if key not in self._loaded:
            environ = Environ({f"{SECRET}{name.upper()}": value for name, value in secrets.items()})
            self._loaded[key] = load(place, self._catalog, vars=given, environ=environ, read=self._read)
        return self._loaded[key]

    def _read(self, path: Path, findings: Findings) -> Node | None:
        """Read a file once, whatever the vars."""
        if path not in self._files:
            own = Findings()
            self._files[path] = read_file(path, own), own
        node, found = self._files[path]
        findings.take(found)
        return node


def _cast(loaded: Loaded) -> Cast:
    def known(pack: str, name: str) -> bool:
        return name in loaded.contacts.get(pack, {}) or name in loaded.contacts.get("", {})

    return Cast(loaded.rulebook, known)

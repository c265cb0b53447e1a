"""Script: the tests of one file, each with the places of what it says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError

from stopgap.config.codes import Wrong
from stopgap.config.complaint import complain
from stopgap.config.findings import At, Findings, did_you_mean
from stopgap.config.node import Mark, Node
from stopgap.config.source import read_file
from stopgap.suite.form import AlertKeys, FileKeys, TestKeys

MOST_TOLD = 1_000_000  # alerts of one test, each time that it is told


@dataclass(frozen=True, slots=True)
class Script:
    """One test of one file. `vars`, `secrets` and `labels` are the file's and its own."""

    path: Path
    keys: TestKeys
    vars: Mapping[str, str]
    secrets: Mapping[str, str]
    labels: Mapping[str, str]
    node: Node = field(repr=False)

    @property
    def line(self) -> int:
        """Return where it begins."""
        return self.node.mark.line

    def place(self, *path: str | int) -> Mark:
        """Return where something of it stands."""
        return self.node.find(path)


def read_scripts(path: Path, findings: Findings) -> tuple[Script, ...]:
    """Read the tests of a file; whatever is wrong with it goes to the findings."""
    node = read_file(path, findings)
    if node is None:
        if not findings.errors:
            findings.error(Mark(str(path)), "the file is empty", "write tests: […]", code=Wrong.MISSING_KEY)
        return ()
    tell = At(node, findings)
    try:
        keys = FileKeys.model_validate(node.exact().plain())
    except ValidationError as wrong:
        complain(wrong, FileKeys, tell)
        return ()
    scripts = tuple(_scripts(path, keys, node))
    for i, script in enumerate(scripts):
        _judge(script, At(script.node, findings), [one.keys.name for one in scripts[:i]])
    return scripts


def _scripts(path: Path, keys: FileKeys, node: Node) -> Iterator[Script]:
    for i, test in enumerate(keys.tests):
        inner = node.within(("tests", i))
        if inner is not None:
            yield Script(path, test, {**keys.vars, **test.vars}, keys.secrets, keys.labels, inner)


def _judge(script: Script, tell: At, before: list[str]) -> None:
    """Tell of what is well in itself, and wrong beside the rest."""
    if script.keys.name in before:
        tell.error(
            ("name",), "a test of this file is called so already", "rename one", code=Wrong.DUPLICATE_NAME
        )
    if _told(script.keys) > MOST_TOLD:
        text, hint = (
            f"more than {MOST_TOLD:,} alerts would be told",
            "write a longer `repeat`, or a shorter test",
        )
        tell.error(("repeat",), text, hint, code=Wrong.TOO_LARGE)
    known: set[str] = set()
    for i, alert in sorted(enumerate(script.keys.alerts), key=lambda one: one[1].at):
        if alert.fire is not None:
            known.add(called(alert))
        elif alert.resolve not in known:
            hint = did_you_mean(str(alert.resolve), known, "fire it before")
            tell.error(("alerts", i, "resolve"), "no such alert fired before", hint, code=Wrong.BAD_VALUE)


def _told(keys: TestKeys) -> int:
    """Return how many alerts Alertmanager tells at most, repeats and all."""
    end = end_of(keys)
    return sum(
        (1 + (end - one.at) // keys.repeat) * sum(map(len, one.each.values()), start=1) for one in keys.alerts
    )


def end_of(keys: TestKeys) -> timedelta:
    """Return when the last thing of a test is."""
    listed = (keys.alerts, keys.world, keys.people, keys.expect)
    return max(one.at for each in listed for one in each)


def called(alert: AlertKeys) -> str:
    """Return what a test calls an alert."""
    return alert.name or alert.fire or alert.resolve or ""

"""Aside: what stands beside rules and is none: drills and tests, as `check` reads them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stopgap.config.findings import Findings
from stopgap.errors import ConfigError, Problem

TEST, DRILL = (".test.yaml", ".test.yml"), (".drill.yaml", ".drill.yml")
DEPTHS = ("", "*/", "*/*/")  # beside the rules, in a pack, in a folder of the pack
MOST = 1000  # drills below one directory


def is_aside(path: Path) -> bool:
    """Tell whether a file is a drill or a file of tests."""
    return path.name.endswith(TEST + DRILL)


def problems_of(path: Path) -> list[Problem]:
    """Return what is wrong with one file, or with the drills below a directory; tests are read when they are played."""
    if path.is_dir():
        return [problem for drill in islice(_drills(path), MOST) for problem in _of_drill(drill)]
    if path.name.endswith(DRILL):
        return _of_drill(path)
    return _of_tests(path) if path.name.endswith(TEST) else []


def _drills(directory: Path) -> Iterator[Path]:
    for depth in DEPTHS:
        for path in sorted(directory.glob(f"{depth}*")):
            parts = path.relative_to(directory).parts
            if path.name.endswith(DRILL) and not any(part.startswith(".") for part in parts):
                yield path


def _of_drill(path: Path) -> list[Problem]:
    from stopgap.drill.script import read_script

    try:
        read_script(path)
    except ConfigError as error:
        return list(error.problems)
    return []


def _of_tests(path: Path) -> list[Problem]:
    from stopgap.suite.script import read_scripts

    findings = Findings()
    read_scripts(path, findings)
    return list(findings.errors)

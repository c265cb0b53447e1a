"""Test on the command line: plays the tests of rules on virtual time, and says what is not as they expect."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stopgap.cli.daemon import Vars, VarsFiles, settings
from stopgap.cli.problems import Format, show
from stopgap.cli.screen import REFUSED, WRONG_USAGE, clean, fail, show_json

if TYPE_CHECKING:
    from stopgap.errors import Problem
    from stopgap.simulate.play import Stage
    from stopgap.suite.coverage import Coverage
    from stopgap.suite.packs import Packs
    from stopgap.suite.running import Result
    from stopgap.suite.script import Script

RARELY = 200_000  # new objects after which cycles among them are looked for


def play(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH…", help="Files *.test.yaml, or directories; else --rules' default."),
    ] = None,
    vars_: VarsFiles = None,
    var: Vars = None,
    only: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only tests with this in name or file.")
    ] = "",
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write what came of it as JUnit XML, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play the tests of rules, and say what is not as expected: 1 when a test failed, 2 when one cannot be read."""
    form = Format.JSON if as_json else Format.TEXT
    with unhurried():
        chosen = settings(vars=vars_, var=var)
        results, coverage = _played(paths or [chosen.rules], chosen, only, form)
    _show(results, coverage, as_json=as_json, whole=not only)
    if junit is not None:
        _write(junit, results)
    if not all(result.passed for result in results):
        raise typer.Exit(REFUSED)


@contextmanager
def unhurried() -> Iterator[None]:
    """Look rarely for garbage in cycles: plays leave little of it, and looking takes a tenth of their time."""
    before = gc.get_threshold()
    gc.set_threshold(RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _played(paths: list[Path], chosen: Any, only: str, form: Format) -> "tuple[tuple[Result, ...], Coverage]":
    """Play the tests in these places that are wanted; ends with 2 when there are none, or one cannot be read."""
    from stopgap.simulate.play import Stage
    from stopgap.stock import build_catalog
    from stopgap.suite.packs import Packs

    scripts = _scripts(paths, form)
    if not scripts:
        fail(f"no *.test.yaml in {', '.join(clean(path) for path in paths)}", WRONG_USAGE)
    stage = Stage(build_catalog)
    packs = Packs(stage.catalog, _given(chosen, form))
    wanted = [one for one in scripts if only in one.keys.name or only in str(one.path)]
    if not wanted:
        fail(f"none of {len(scripts)} tests has `{clean(only)}` in its name or file", WRONG_USAGE)
    return _run(wanted, packs, stage, form)


def _given(chosen: Any, form: Format) -> Mapping[str, str]:
    from stopgap.errors import ConfigError

    try:
        given: Mapping[str, str] = chosen.all_vars()
    except ConfigError as error:
        _refuse(error.problems, form)
    return given


def _refuse(problems: "Iterable[Problem]", form: Format) -> "Any":
    show(tuple(problems), 0, form)
    raise typer.Exit(WRONG_USAGE)


def _scripts(paths: list[Path], form: Format) -> "list[Script]":
    """Read all tests; ends with 2 when one cannot be read."""
    from stopgap.config.findings import Findings
    from stopgap.suite.packs import files_below
    from stopgap.suite.script import read_scripts

    findings = Findings()
    scripts = [script for path in files_below(paths, findings) for script in read_scripts(path, findings)]
    if findings.errors:
        _refuse(findings.errors, form)
    return scripts


def _run(
    scripts: "list[Script]", packs: "Packs", stage: "Stage", form: Format
) -> "tuple[tuple[Result, ...], Coverage]":
    """Play all tests; ends with 2 when a pack does not load."""
    from stopgap.suite.crew import play_all

    played = play_all(scripts, packs, stage)
    if played.problems:
        _refuse(played.problems, form)
    return played.results, played.coverage


def _write(file: Path, results: "tuple[Result, ...]") -> None:
    """Write the JUnit XML; ends with 2 when it cannot be written."""
    from stopgap.suite.junit import junit

    try:
        file.write_bytes(junit(results))
    except OSError as error:
        fail(f"the JUnit XML cannot be written: {clean(error)}", WRONG_USAGE)


def _show(results: "tuple[Result, ...]", coverage: "Coverage", *, as_json: bool, whole: bool) -> None:
    from stopgap.suite import words

    if as_json:
        show_json(
            {
                "tests": [_told(result) for result in results],
                "coverage": {name: reached.kinds for name, reached in sorted(coverage.rules.items())},
            }
        )
        return
    for result in results:
        if not result.passed:
            for line in words.failed(result):
                typer.echo(clean(line))
            typer.echo()
    if whole:
        for line in words.covered(coverage):
            typer.echo(clean(line))
    typer.echo(words.summed(results))


def _told(result: "Result") -> dict[str, Any]:
    return {
        "file": str(result.path),
        "line": result.line,
        "name": result.name,
        "passed": result.passed,
        "seconds": round(result.seconds, 3),
        "failures": [
            {
                "line": failure.line,
                "at": failure.at,
                "key": failure.miss.key,
                "expected": failure.miss.expected,
                "got": failure.miss.got,
            }
            for failure in result.failures
        ],
        "timeline": list(result.story),
    }

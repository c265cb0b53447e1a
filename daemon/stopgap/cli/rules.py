"""Rules on the command line: checking them, and what they can do."""

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stopgap.cli.daemon import Vars, VarsFiles, settings
from stopgap.cli.screen import REFUSED, WRONG_USAGE, clean, fail, show_json, wrapped

if TYPE_CHECKING:
    from stopgap.errors import Problem
    from stopgap.settings import Settings


def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH…", help="Rules; else --rules' default.")
    ] = None,
    vars_: VarsFiles = None,
    var: Vars = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say everything that is wrong with the rules: file, line, column, key and cure."""
    from dataclasses import asdict

    count, problems = _load(paths, settings(vars=vars_, var=var))
    errors = [problem for problem in problems if not problem.warning]
    if as_json:
        show_json({"rules": count, "problems": [asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            typer.echo(clean(problem))
        warnings = len(problems) - len(errors)
        typer.echo(f"{count} rules, {len(errors)} problems, {warnings} warnings")
    if errors:
        raise typer.Exit(WRONG_USAGE)


def _load(paths: list[Path] | None, chosen: "Settings") -> "tuple[int, list[Problem]]":
    """Return how many rules are good, and everything that is wrong."""
    from stopgap.app import bare_context, build_catalog
    from stopgap.config import load
    from stopgap.errors import ConfigError, Problem

    count, problems = 0, list[Problem]()
    catalog = build_catalog(bare_context())
    for path in paths or [chosen.rules]:
        try:
            loaded = load(path, catalog, vars=chosen.all_vars(), environ=os.environ)
        except ConfigError as error:
            problems += error.problems
        else:
            count += len(loaded.rules)
            problems += loaded.warnings
    return count, problems


def actions(
    name: Annotated[str | None, typer.Argument(help="Show this one, with an example.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the actions and probes that rules can name."""
    from stopgap.app import bare_context, build_catalog

    known = build_catalog(bare_context())
    kinds: dict[str, dict[str, Any]] = {"action": dict(known.actions), "probe": dict(known.probes)}
    if name is not None:
        _explain(name, kinds)
    elif as_json:
        show_json(
            [
                {"kind": kind, "name": n, "text": _first(k)}
                for kind, all_ in kinds.items()
                for n, k in all_.items()
            ]
        )
    else:
        for kind, all_ in kinds.items():
            for known_as, one in sorted(all_.items()):
                wrapped(f"{kind:<7} {known_as:<9}", _first(one))


def _explain(name: str, kinds: dict[str, dict[str, Any]]) -> None:
    hits = [(kind, all_[name]) for kind, all_ in kinds.items() if name in all_]
    if not hits:
        fail(f"no action or probe is called {clean(name)}: see `stopgap actions`", REFUSED)
    for kind, one in hits:
        typer.echo(f"{kind} {name}\n\n{inspect.getdoc(type(one)) or ''}\n")


def _first(kind: object) -> str:
    return (inspect.getdoc(type(kind)) or "").partition("\n\n")[0].replace("\n", " ")

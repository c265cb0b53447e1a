"""Rules on the command line: checking them, and what they can do."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stopgap.cli.client import URL, Url
from stopgap.cli.daemon import Vars, VarsFiles, settings
from stopgap.cli.problems import Format, show
from stopgap.cli.screen import REFUSED, WRONG_USAGE, fail

if TYPE_CHECKING:
    from stopgap.catalog import Catalog
    from stopgap.config import Loaded
    from stopgap.context import Context
    from stopgap.errors import Problem
    from stopgap.settings import Settings


def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH…", help="Rules; else --rules' default.")
    ] = None,
    vars_: VarsFiles = None,
    var: Vars = None,
    live: Annotated[
        bool, typer.Option("--live", help="Try it all, changing nothing: by the daemon, or PATHs here.")
    ] = False,
    url: Url = URL,
    form: Annotated[
        Format, typer.Option("--format", help="For eyes, for scripts, or as GitHub's workflow commands.")
    ] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: --format json.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 when there are warnings.")] = False,
) -> None:
    """Say everything that is wrong with the rules: file, line, column and cure; 2 for errors, 0 for warnings."""
    from stopgap.cli import live as trying

    form = Format.JSON if as_json else form
    as_json = form is Format.JSON
    if live and not paths:
        if vars_ or var:
            fail("--vars and --var go with PATHs: the running daemon has its own", WRONG_USAGE)
        trying.by_daemon(url, as_json=as_json)
        return
    from stopgap.stock import bare_context, live_context

    chosen = settings(vars=vars_, var=var)
    context = live_context(chosen) if live else bare_context()
    known = catalog(context, form)
    loaded, problems, count = _load(paths or [chosen.rules], chosen, known)
    good = not any(not problem.warning for problem in problems)
    if not (live and good and as_json):
        show(problems, count, form)
    if not good:
        raise typer.Exit(WRONG_USAGE)
    if live:
        trying.here(loaded, context, known, as_json=as_json)
    if strict and problems:
        raise typer.Exit(REFUSED)


def catalog(context: "Context", form: Format) -> "Catalog":
    """Build what rules can name; ends with 2 when an installed package is in the way."""
    from stopgap.errors import ConfigError
    from stopgap.stock import build_catalog

    try:
        return build_catalog(context)
    except ConfigError as error:
        show(error.problems, 0, form)
        raise typer.Exit(WRONG_USAGE) from None


def _load(
    paths: list[Path], chosen: "Settings", known: "Catalog"
) -> "tuple[list[Loaded], list[Problem], int]":
    """Return what is good, everything that is wrong, and how many rules there are, good or not."""
    from stopgap.cli.aside import is_aside, problems_of
    from stopgap.config import Loaded, load
    from stopgap.errors import ConfigError, Problem

    good, problems, count = list[Loaded](), list[Problem](), 0
    for path in paths:
        problems += problems_of(path)
        if is_aside(path):
            continue
        try:
            loaded = load(path, known, vars=chosen.all_vars(), environ=os.environ)
        except ConfigError as error:
            problems += error.problems
            count += error.rules
        else:
            good.append(loaded)
            count += len(loaded.rules)
            problems += loaded.warnings
    return good, problems, count

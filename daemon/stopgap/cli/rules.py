"""Rules on the command line: checking them, and what they can do."""

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stopgap.cli.client import URL, Url
from stopgap.cli.daemon import Vars, VarsFiles, settings
from stopgap.cli.problems import Format, show
from stopgap.cli.screen import REFUSED, WRONG_USAGE, clean, fail, show_json, wrapped

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
    from stopgap.app import bare_context, live_context

    chosen = settings(vars=vars_, var=var)
    context = live_context(chosen) if live else bare_context()
    catalog = _catalog(context, form)
    loaded, problems = _load(paths or [chosen.rules], chosen, catalog)
    count = sum(len(each.rules) for each in loaded)
    good = not any(not problem.warning for problem in problems)
    if not (live and good and as_json):
        show(problems, count, form)
    if not good:
        raise typer.Exit(WRONG_USAGE)
    if live:
        trying.here(loaded, context, catalog, as_json=as_json)
    if strict and problems:
        raise typer.Exit(REFUSED)


def _catalog(context: "Context", form: Format) -> "Catalog":
    """Build what rules can name; ends with 2 when an installed package is in the way."""
    from stopgap.app import build_catalog
    from stopgap.errors import ConfigError

    try:
        return build_catalog(context)
    except ConfigError as error:
        show(error.problems, 0, form)
        raise typer.Exit(WRONG_USAGE) from None


def _load(paths: list[Path], chosen: "Settings", catalog: "Catalog") -> "tuple[list[Loaded], list[Problem]]":
    """Return what is good, and everything that is wrong."""
    from stopgap.config import Loaded, load
    from stopgap.errors import ConfigError, Problem

    good, problems = list[Loaded](), list[Problem]()
    for path in paths:
        try:
            loaded = load(path, catalog, vars=chosen.all_vars(), environ=os.environ)
        except ConfigError as error:
            problems += error.problems
        else:
            good.append(loaded)
            problems += loaded.warnings
    return good, problems


def actions(
    name: Annotated[str | None, typer.Argument(help="Show this one, with an example.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the actions and probes that rules can name."""
    from stopgap.app import bare_context

    known = _catalog(bare_context(), Format.JSON if as_json else Format.TEXT)
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

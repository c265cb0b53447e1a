"""Live: `check --live`, which tries what the rules may need: by the running daemon, or by this process."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer

from stopgap.cli.client import Client
from stopgap.cli.screen import REFUSED, clean, columns, counted, cut, show_json, wrapped

if TYPE_CHECKING:
    from stopgap.catalog import Catalog
    from stopgap.config import Loaded
    from stopgap.context import Context
    from stopgap.rehearsal import Rehearsal

PATIENCE = 120.0  # seconds: a rehearsal takes a minute at most, and may wait for one that is called off


def by_daemon(url: str, *, as_json: bool) -> None:
    """Let the daemon try its rules, as the user that it runs as; ends with 1 when something is in the way."""
    _show(Client(url, timeout=PATIENCE).send("POST", "/api/v1/check"), as_json=as_json)


def here(loaded: "Sequence[Loaded]", context: "Context", catalog: "Catalog", *, as_json: bool) -> None:
    """Try loaded rules in this process; ends with 1 when something is in the way."""
    from stopgap import view
    from stopgap.identity import identity

    _show(view.rehearsal(asyncio.run(_rehearse(loaded, context, catalog)), identity()), as_json=as_json)


async def _rehearse(loaded: "Sequence[Loaded]", context: "Context", catalog: "Catalog") -> "Rehearsal":
    """Rehearse one path after the other: each has its own contacts."""
    from stopgap.clock import SystemClock
    from stopgap.rehearsal import Rehearsal, rehearse

    whole = Rehearsal(SystemClock().now(), 0, 0)
    try:
        for each in loaded:
            context.contacts.replace(each.contacts)
            whole += await rehearse(each.rulebook, catalog, SystemClock())
    finally:
        await context.http.close()
        context.contacts.close()
    return whole


def _show(told: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
    else:
        _list(told["obstacles"], told["obstacle_count"], "obstacles")
        _list(told["notes"], told["note_count"], "notes")
        counts = f"{counted(told['rules'], 'rule')}, {counted(told['tried'], 'thing')} tried as user {clean(told['user'])}: "
        found = f"{counted(told['obstacle_count'], 'obstacle')}, {counted(told['note_count'], 'note')}"
        typer.echo(f"{counts}{found}")
    if told["obstacle_count"]:
        raise typer.Exit(REFUSED)


def _list(ones: Sequence[Mapping[str, str]], count: int, what: str) -> None:
    """Print obstacles or notes under their rules."""
    if ones:
        typer.echo(f"{what}:")
    for rule, of_rule in groupby(ones, key=lambda one: one["rule"]):
        typer.echo(f"  {cut(clean(rule), columns() - 2)}")
        for one in of_rule:
            typer.echo(f"    {cut(clean(one['where']), columns() - 4)}")
            wrapped(" " * 5, one["text"])
    if count > len(ones):
        typer.echo(f"  … and {count - len(ones)} more {what}")
    if ones:
        typer.echo("")

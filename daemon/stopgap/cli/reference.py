"""Reference on the command line: what rules can name, as a list, one by one, or as a page."""

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stopgap.cli.screen import REFUSED, clean, columns, fail, show_json, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stopgap.reference import Entry, Parameter


def actions(
    name: Annotated[str | None, typer.Argument(help="Explain this one, with an example.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_page: Annotated[bool, typer.Option("--markdown", help="Print all of it as one page.")] = False,
) -> None:
    """List what rules can name: actions, probes, and the places where things live."""
    from stopgap.cli.problems import Format
    from stopgap.cli.rules import catalog
    from stopgap.reference import entries, markdown
    from stopgap.stock import bare_context

    known = entries(catalog(bare_context(), Format.JSON if as_json else Format.TEXT))
    chosen = [entry for entry in known if name in (None, entry.name)]
    if not chosen:
        fail(f"no action, probe or place is called {clean(name)}: see `stopgap actions`", REFUSED)
    if as_json:
        show_json([asdict(entry) for entry in chosen])
    elif as_page:
        typer.echo(markdown(chosen), nl=False)
    elif name is None:
        for entry in chosen:
            wrapped(f"{entry.kind:<7} {entry.name:<10}", entry.gist)
    else:
        for entry in chosen:
            _explain(entry)


def _explain(entry: "Entry") -> None:
    from stopgap.reference import beside

    facts = f"can {', '.join(entry.facts)}" if entry.kind == "place" else ", ".join(entry.facts)
    typer.echo(f"{entry.kind} {entry.name}" + (f"  ({facts})" if facts else ""))
    for paragraph in entry.prose:
        typer.echo("")
        typer.echo("\n".join(textwrap.wrap(clean(paragraph), columns())))
    if entry.example:
        typer.echo("")
        for line in entry.example.splitlines():
            typer.echo(f"    {line}")
    _list(entry.parameters)
    known = beside(entry.kind)
    if known:
        typer.echo(f"\nBeside `{entry.name}:` every {'step' if entry.kind == 'action' else 'probe'} takes:")
    _list(known)
    typer.echo("")


def _list(keys: "Iterable[Parameter]") -> None:
    for number, each in enumerate(keys):
        if not number:
            typer.echo("")
        default = (
            " Required." if each.default is None else f" Default: {each.default}." if each.default else ""
        )
        wrapped(f"  {each.name:<13}", each.text + default)

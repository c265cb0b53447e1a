"""Brake on the command line: stop all automatic changes, or those of a pack, a rule or a target."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from stopgap.cli.client import URL, AsJson, Client, Url, Why, person
from stopgap.cli.incidents import Data
from stopgap.cli.screen import WRONG_USAGE, clean, fail, show_json, table

app = typer.Typer(help="Stop automatic changes durably, and let them go on.", no_args_is_help=True)
PATH = "/api/v1/brake"

Pack = Annotated[str | None, typer.Option(help="Only this pack.")]
Rule = Annotated[str | None, typer.Option(help="Only this rule (pack/name).")]
Target = Annotated[str | None, typer.Option(help="Only this target.")]


@app.command()
def on(
    why: Why,
    pack: Pack = None,
    rule: Rule = None,
    target: Target = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="For how long, such as 2h; else until `off`.")
    ] = None,
    data: Data = None,
    url: Url = URL,
) -> None:
    """Stop automatic changes; what is held stays held."""
    from stopgap.cli import stopped

    scope, name = _scope(pack, rule, target)
    if data is not None:
        stopped.brake(data, scope, name, why, _duration(for_), by=person())
    else:
        body = {"scope": scope, "name": name, "by": person(), "why": why, "for": for_}
        Client(url).send("PUT", PATH, {key: value for key, value in body.items() if value is not None})
    typer.echo(f"brake on: {f'{scope} {name}'.strip()}, {f'for {for_}' if for_ else 'until released'}")


@app.command()
def off(
    why: Why = "",
    pack: Pack = None,
    rule: Rule = None,
    target: Target = None,
    data: Data = None,
    url: Url = URL,
) -> None:
    """Take a brake off; Stopgap decides anew from the present."""
    from stopgap.cli import stopped

    scope, name = _scope(pack, rule, target)
    if data is not None:
        stopped.release(data, scope, name, why, by=person())
    else:
        Client(url).send("DELETE", PATH, scope=scope, name=name, by=person(), why=why or None)
    typer.echo(f"brake off: {f'{scope} {name}'.strip()}")


@app.command()
def status(data: Data = None, url: Url = URL, as_json: AsJson = False) -> None:
    """Show which brakes are on."""
    from stopgap.cli import stopped

    brakes: list[dict[str, Any]] = stopped.brakes(data) if data else Client(url).get(PATH)["brakes"]
    if as_json:
        show_json(brakes)
    elif not brakes:
        typer.echo("no brake is on")
    else:
        cells = [(b["scope"], b["name"] or "-", b["until"] or "released", b["by"], b["why"]) for b in brakes]
        table(("SCOPE", "NAME", "UNTIL", "BY", "WHY"), cells)


def _scope(pack: str | None, rule: str | None, target: str | None) -> tuple[str, str]:
    named = [(scope, name) for scope, name in (("pack", pack), ("rule", rule), ("target", target)) if name]
    if len(named) > 1:
        fail("name one of --pack, --rule and --target", WRONG_USAGE)
    if rule and "/" not in rule:
        fail(f"a rule is named with its pack, such as PACK/{clean(rule)}", WRONG_USAGE)
    return named[0] if named else ("global", "")


def _duration(text: str | None) -> timedelta | None:
    from stopgap.duration import parse_duration

    try:
        return parse_duration(text) if text else None
    except ValueError as error:
        fail(str(error), WRONG_USAGE)

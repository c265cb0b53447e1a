"""Daemon on the command line: serving for real, and the demo."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from stopgap.cli.problems import refuse
from stopgap.cli.screen import WRONG_USAGE, clean, fail

Vars = Annotated[
    list[str] | None, typer.Option("--var", metavar="[PACK/]NAME=VALUE", help="Set one var of the rules.")
]
VarsFiles = Annotated[
    list[Path] | None, typer.Option("--vars", metavar="FILE", help="A YAML file with vars.")
]


def settings(*, serves: bool = False, **given: Any) -> Any:
    """Build the settings from the flags given, else from STOPGAP_… and the defaults; ends with 2 when they are wrong."""
    from stopgap.settings import RuleSettings, Settings

    chosen = {name: value for name, value in given.items() if value not in (None, [], ())}
    with explained():
        return Settings(**chosen) if serves else RuleSettings(**chosen)


@contextmanager
def explained() -> Iterator[None]:
    """End with 2 when settings are wrong, and say which."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        fail(clean("; ".join(map(_told, error.errors(include_input=False)))), WRONG_USAGE)
    except ValueError as error:  # the file of a secret
        fail(clean(error), WRONG_USAGE)


def _told(wrong: Any) -> str:
    """Say one thing that is wrong: where, if it is about one setting alone, and what."""
    where = ".".join(map(str, wrong["loc"]))
    return f"{where}: {wrong['msg'].removeprefix('Value error, ')}".removeprefix(": ")


def serve(
    rules: Annotated[Path | None, typer.Option(help="The directory of rule packs.")] = None,
    data: Annotated[Path | None, typer.Option(help="The daemon's own directory.")] = None,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = None,
    prometheus: Annotated[str | None, typer.Option(metavar="URL", help="Prometheus, for probes.")] = None,
    alertmanager: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Alertmanager; repeatable.")
    ] = None,
    external_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where people reach this daemon: links that approve.")
    ] = None,
    receiver: Annotated[str | None, typer.Option(help="Our receiver's name in Alertmanager.")] = None,
    poll_every: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How often to ask Alertmanagers, such as 30s.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="Upper bound: auto, approve or shadow.")] = None,
    probation: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Hold new rules in shadow for so long, such as 24h."),
    ] = None,
    heartbeat_every: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How often, such as 60s.")
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long closed incidents are kept: 7d or longer, 0 for ever."
        ),
    ] = None,
    peer_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where other daemons on the database reach this one.")
    ] = None,
    leader_ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How soon another daemon takes over, such as 5s.")
    ] = None,
    vars_: VarsFiles = None,
    var: Vars = None,
) -> None:
    """Run the daemon. Every flag is also STOPGAP_…, secrets are only that: `stopgap settings` lists all, with their defaults."""
    given = {"rules": rules, "data": data, "listen": listen, "prometheus": prometheus, "mode": mode}
    given |= {"probation": probation, "heartbeat_every": heartbeat_every, "retention": retention}
    given |= {"peer_url": peer_url, "leader_ttl": leader_ttl}
    given |= {"receiver": receiver, "poll_every": poll_every, "external_url": external_url}
    chosen = settings(serves=True, **given, alertmanager=alertmanager, vars=vars_, var=var)
    from stopgap.service import run

    read_by_eyes = chosen.log_format == "console" or (chosen.log_format == "auto" and sys.stderr.isatty())
    raise typer.Exit(run(chosen, refuse if read_by_eyes else None))


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="One round, then end: 0 only if all went back.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Put all files into this empty directory, and leave them."),
    ] = None,
) -> None:
    """Break a small hotel and watch it be mitigated and taken back."""
    from stopgap.demo import show

    raise typer.Exit(show.run(once=once, keep=keep))

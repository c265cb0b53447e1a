"""Migrate on the command line: bring the schema of a store to this version, before the daemons of this version start."""

from pathlib import Path
from typing import Annotated, Any

import typer

from stopgap.cli.client import AsJson
from stopgap.cli.daemon import explained
from stopgap.cli.screen import REFUSED, WRONG_USAGE, clean, fail, show_json


def migrate(
    data: Annotated[
        Path | None, typer.Option("--data", help="The directory of a stopped daemon; else STOPGAP_DATA.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if there is something to do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the schema of the store to this version.

    On PostgreSQL (STOPGAP_DATABASE_URL) beside running daemons, too. A daemon does the same when it starts.
    """
    from stopgap.errors import StoreError
    from stopgap.store.upgrade import pending, upgrade

    url, directory = _place(data)
    try:
        found = pending(url, directory) if check else upgrade(url, directory)
    except StoreError as error:
        fail(clean(error), WRONG_USAGE if check else REFUSED)
    told: dict[str, Any] = {"from": found.found, "to": found.wanted, "needed": found.needed}
    show_json(told | {"done": found.needed and not check}) if as_json else _say(told, check=check)
    if check and found.needed:
        raise typer.Exit(REFUSED)


def _place(data: Path | None) -> tuple[str | None, Path]:
    from stopgap.cli.stopped import claim
    from stopgap.settings import StoreSettings

    with explained():
        chosen = StoreSettings()
    if data is None and chosen.database_url is not None:
        return chosen.database_url.get_secret_value(), chosen.data
    directory = data or chosen.data
    claim(directory, "Leave --data out")
    return None, directory


def _say(told: dict[str, Any], *, check: bool) -> None:
    found = f"schema {told['from']}" if told["from"] else "no tables yet"
    if not told["needed"]:
        typer.echo(f"nothing to do: the database has schema {told['to']}")
    elif check:
        typer.echo(f"to do: the database has {found}, this version needs {told['to']}")
    else:
        typer.echo(f"migrated: the database had {found}, now it has schema {told['to']}")

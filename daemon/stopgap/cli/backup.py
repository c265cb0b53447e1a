"""Backup on the command line: a copy of the store in one file, while the daemon works on it."""

import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from stopgap.cli.client import AsJson
from stopgap.cli.daemon import explained
from stopgap.cli.screen import WRONG_USAGE, clean, counted, fail, show_json

_PLAIN = re.compile(r"[A-Za-z0-9.:_-]+")
_OPTIONS = {"host": "--host", "port": "--port", "username": "--username", "database": "--dbname"}


def backup(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Where the copy goes; it must not exist.", show_default=False),
    ],
    data: Annotated[
        Path | None, typer.Option("--data", help="The directory of the daemon; else STOPGAP_DATA.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the store into FILE: consistent, compact, checked. The daemon may run meanwhile."""
    from stopgap.errors import StoreError
    from stopgap.store.backup import back_up

    directory = _source(file, data)
    if file.exists() or file.is_symlink():
        fail(f"{clean(file)} exists: name another file, nothing is overwritten", WRONG_USAGE)
    if not file.parent.is_dir():
        fail(f"{clean(file.parent)} is no directory: make it first", WRONG_USAGE)
    try:
        made = back_up(directory, file)
    except StoreError as error:
        fail(clean(error))
    told: dict[str, Any] = {"file": str(file), "bytes": made.size}
    if as_json:
        show_json(told | {"incidents": made.incidents, "live": made.live})
    else:
        holds = f"{counted(made.incidents, 'incident')}, {made.live} of them live"
        typer.echo(f"backup: {clean(file)}, {made.size / 1e6:.1f} MB: {holds}; checked")


def _source(file: Path, data: Path | None) -> Path:
    """Return the directory to copy from; ends with 2 where there is none."""
    from stopgap.settings import StoreSettings
    from stopgap.store import DATABASE

    with explained():
        chosen = StoreSettings()
    if chosen.database_url is not None:
        command = _dump(chosen.database_url.get_secret_value(), file)
        fail(f"the store is on PostgreSQL; back it up with its own tool:\n{clean(command)}", WRONG_USAGE)
    directory = data or chosen.data
    if not (directory / DATABASE).is_file():
        fail(f"{clean(directory)} holds no {DATABASE}: name the daemon's directory with --data", WRONG_USAGE)
    return directory


def _dump(url: str, file: Path) -> str:
    """Write the command that dumps a database, without the password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        named = {}
    else:
        named = {option: getattr(address, field) for field, option in _OPTIONS.items()}
        if not _PLAIN.fullmatch(str(named["--host"])):
            named = {}  # a password that was not escaped may have come to stand there
    words = [word for option, value in named.items() if value for word in (option, str(value))]
    return shlex.join(["pg_dump", "--format", "custom", "--file", str(file), *words])

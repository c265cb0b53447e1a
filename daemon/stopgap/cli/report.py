"""Report on the command line: one incident as Markdown, on the screen or in a file."""

from pathlib import Path
from typing import Annotated

import typer

from stopgap.cli.client import URL, Client, Url, find
from stopgap.cli.incidents import PATH, Data, Identifier
from stopgap.cli.screen import WRONG_USAGE, clean, fail


def report(
    identifier: Identifier,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it into this file, which may exist.")
    ] = None,
    data: Data = None,
    url: Url = URL,
) -> None:
    """Write what happened, as Markdown for a post-mortem; of a live incident, so far."""
    from stopgap.cli import stopped

    if data is not None:
        text = stopped.report(data, identifier)
    else:
        client = Client(url)
        text = client.text(f"{PATH}/{find(client, identifier)}/report")
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"the report cannot be written: {clean(error)}", WRONG_USAGE)

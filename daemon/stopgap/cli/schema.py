"""Schema on the command line: what an editor needs to complete and check the files of a rules directory."""

from pathlib import Path
from typing import Annotated

import typer

from stopgap.cli.screen import WRONG_USAGE, clean, fail


def schema(
    kind: Annotated[
        str | None, typer.Argument(metavar="[rules|pack|site]", help="One kind of file; else all of them.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it into this file, which may exist.")
    ] = None,
) -> None:
    """Print the JSON Schema of rules, for editors; with the actions and probes that are installed here."""
    import orjson

    from stopgap.app import bare_context, build_catalog
    from stopgap.schema import Kind, schema_of, whole

    if kind is not None and kind not in set(Kind):
        fail(f"no kind of file is called {clean(kind)}: write one of {', '.join(Kind)}", WRONG_USAGE)
    catalog = build_catalog(bare_context())
    made = whole(catalog) if kind is None else schema_of(Kind(kind), catalog)
    text = orjson.dumps(made, option=orjson.OPT_INDENT_2).decode() + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"the schema cannot be written: {clean(error)}", WRONG_USAGE)

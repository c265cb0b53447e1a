"""Schema on the command line: what an editor needs to complete and check the files of a rules directory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stopgap.cli.screen import WRONG_USAGE, clean, fail

if TYPE_CHECKING:
    from stopgap.schema import Kind


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[rules|pack|site|test|drill]", help="One kind of file; else all of them."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it into this file, which may exist.")
    ] = None,
) -> None:
    """Print the JSON Schema of rules, for editors; with the actions and probes that are installed here."""
    import orjson

    from stopgap.schema import PACK, RULES, SITE, schema_of, whole
    from stopgap.stock import bare_context, build_catalog

    others = other_kinds()
    known = [RULES, PACK, SITE, *(one.name for one in others)]
    if kind is not None and kind not in known:
        fail(f"no kind of file is called {clean(kind)}: write one of {', '.join(known)}", WRONG_USAGE)
    catalog = build_catalog(bare_context())
    made = whole(catalog, others) if kind is None else schema_of(kind, catalog, others)
    text = orjson.dumps(made, option=orjson.OPT_INDENT_2).decode() + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"the schema cannot be written: {clean(error)}", WRONG_USAGE)


def other_kinds() -> "tuple[Kind, ...]":
    """Return the kinds of file that are about rules: they and the schema are strangers, and meet here."""
    from stopgap.drill.script import ScriptKeys
    from stopgap.schema import Kind
    from stopgap.suite.form import FileKeys

    return (Kind("test", FileKeys), Kind("drill", ScriptKeys))

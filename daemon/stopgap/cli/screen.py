"""Screen: how the command line shows things: 80 columns, no colour when NO_COLOR is set, nothing that steers a terminal."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import typer

REFUSED, WRONG_USAGE = 1, 2
COLUMNS = 80
NARROWEST = 4


def clean(text: object) -> str:
    """Escape whatever is not printable: label values come from strangers."""
    out = str(text)
    if out.isprintable():
        return out
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in out)


def fail(text: str, code: int = REFUSED) -> NoReturn:
    """Say what is wrong, on stderr, and end. On a terminal the first line is wrapped; what follows may be there to be copied."""
    said, *rest = f"stopgap: {text}".split("\n")
    if sys.stderr.isatty():
        said = textwrap.fill(said, columns(), break_long_words=False, break_on_hyphens=False)
    typer.echo("\n".join([said, *rest]), err=True)
    raise typer.Exit(code)


def show_json(told: Any) -> None:
    """Print JSON for scripts."""
    typer.echo(json.dumps(told, indent=2, ensure_ascii=True))


def columns() -> int:
    """Return how wide to print: 80, less on a narrow terminal."""
    return min(COLUMNS, shutil.get_terminal_size((COLUMNS, 24)).columns) if sys.stdout.isatty() else COLUMNS


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int = 1) -> None:
    """Print rows under heads; the first `whole` columns keep their width, the others share what is left."""
    texts = [[clean(cell) for cell in row] for row in rows]
    widths = _widths(heads, texts)
    over = _over(widths)
    while over > 0:
        widest = max(range(min(whole, len(widths) - 1), len(widths)), key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
        over -= 1
    for row in [list(heads), *texts]:
        cells = [cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())


def fits(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> bool:
    """Tell whether a table of these rows would be printed whole."""
    return _over(_widths(heads, [[clean(cell) for cell in row] for row in rows])) <= 0


def _widths(heads: Sequence[str], texts: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(heads, *texts, strict=True)]


def _over(widths: Sequence[int]) -> int:
    """Return by how many columns a table is too wide."""
    return sum(widths) + 2 * (len(widths) - 1) - columns()


def counted(count: int, what: str) -> str:
    """Say how many of something there are."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def cut(text: str, width: int) -> str:
    """Shorten a text to a width, visibly."""
    return text if len(text) <= width else text[: width - 1] + "…"


def wrapped(head: str, text: str) -> None:
    """Print a head and a text beside it, wrapped under itself."""
    lines = textwrap.wrap(clean(text), max(20, columns() - len(head) - 1)) or [""]
    typer.echo(f"{head} {lines[0]}".rstrip())
    for line in lines[1:]:
        typer.echo(f"{' ' * len(head)} {line}")

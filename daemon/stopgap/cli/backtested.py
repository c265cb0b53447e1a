"""Backtested: a backtest as a person reads it in a terminal: 80 columns, totals before details."""

import textwrap
from collections.abc import Sequence
from typing import Any

import typer

from stopgap.backtest import words
from stopgap.backtest.compare import differences
from stopgap.backtest.result import Result
from stopgap.backtest.shape import compared, shape as shape_of
from stopgap.cli.screen import clean, columns, table, wrapped

HEADS = ("inc", "rungs", "helped", "back", "refused", "person", "hold")
MOST_ROWS = 12  # of one table; all of them are in the JSON
MOST_DIFFERENCES = 60


def shape(results: Sequence[Result]) -> dict[str, Any]:
    """Return one backtest, or two and where they differ, as JSON."""
    if len(results) == 1:
        return shape_of(results[0])
    old, new = results
    return compared(old, new, differences(old, new))


def show(results: Sequence[Result]) -> None:
    """Print one backtest, or where two differ."""
    if len(results) == 1:
        _one(results[0])
    else:
        _two(*results)
    typer.echo("\nWhat this rests on")
    for note in dict.fromkeys(note for result in results for note in words.notes(result)):
        wrapped("  -", note)


def _one(result: Result) -> None:
    for line in words.intro(result):
        _paragraph(line)
    typer.echo("")
    ranked = words.ranking(result)
    _rows("rule", [(name, *cells) for name, cells in ranked], MOST_ROWS)
    for section in words.sections(result):
        if section.rows:
            typer.echo(f"\n{section.title}")
            _table(section.heads, section.rows, MOST_ROWS, section.whole)


def _two(old: Result, new: Result) -> None:
    for name, result in (("old", old), ("new", new)):
        wrapped(f"{name}:", words.intro(result)[0])
    for line in words.intro(new)[1:]:
        _paragraph(line)
    typer.echo("")
    rows = [(name, *words.cells(one.total)) for name, one in (("old", old), ("new", new))]
    _rows("rules", rows, MOST_ROWS)
    found = differences(old, new)
    if not found:
        typer.echo("\nNo difference: both would have done the same.")
        return
    typer.echo("\nDifferences")
    cells = [(_side(one.old), _side(one.new), one.of.replace("_", " "), one.rule) for one in found]
    _table(("old", "new", "of", "rule"), cells, MOST_DIFFERENCES, 3)


def _side(value: object) -> str:
    return "-" if value is None else str(value)


def _paragraph(text: str) -> None:
    typer.echo(textwrap.fill(clean(text), columns()))


def _rows(name: str, rows: Sequence[Sequence[str]], most: int) -> None:
    """Print rows whose name comes last: the numbers keep their width."""
    _table((*HEADS, name), [(*row[1:], row[0]) for row in rows], most, len(HEADS))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], most: int, whole: int) -> None:
    table([head.upper() for head in heads], rows[:most], whole=whole)
    if len(rows) > most:
        typer.echo(f"… and {len(rows) - most} more: --json has them all")

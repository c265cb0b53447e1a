"""Problems: how the command line says what is wrong with rules: for eyes, for scripts, and for GitHub's pages.

For eyes each has the line it points at, with a caret; a pipe gets the same without colour. JSON has the fields of `Problem` by
their names, and these stay. GitHub gets workflow commands, which it shows beside the line of a pull request.
"""

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TextIO

import typer

from stopgap.cli.screen import clean, columns, show_json
from stopgap.errors import Problem

GUTTER = 6  # columns for the number of a line
NARROWEST = 20  # columns of an excerpt
HIDDEN = frozenset({"secret-in-yaml"})  # codes whose line nobody should see in the output of a build


class Format(StrEnum):
    """In which form problems are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def show(problems: Iterable[Problem], rules: int, form: Format) -> None:
    """Print all problems, errors first, and how many there are."""
    found = sorted(dict.fromkeys(problems), key=lambda problem: problem.warning)
    if form is Format.JSON:
        show_json({"rules": rules, "problems": [asdict(problem) for problem in found]})
        return
    if form is Format.GITHUB:
        for problem in found:
            typer.echo(_command(problem))
    else:
        for line in written(found, colour=_coloured(sys.stdout)):
            typer.echo(line)
    errors = sum(not problem.warning for problem in found)
    typer.echo(
        f"{_count(rules, 'rule')}, {_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}"
    )


def refuse(problems: Sequence[Problem]) -> None:
    """Say on stderr why rules do not load."""
    for line in written(problems, colour=_coloured(sys.stderr)):
        typer.echo(line, err=True)
    typer.echo(f"stopgap: these rules do not load: {_count(len(problems), 'error')}", err=True)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# --- for eyes ---


def written(problems: Iterable[Problem], *, colour: bool) -> Iterator[str]:
    """Write each problem in lines, an empty one after it: place, kind, text and code; excerpt and caret; hint."""
    from stopgap.cli.excerpt import Files

    files = Files()
    for problem in problems:
        line = files.line(problem.path, problem.line)
        yield from _head(problem, placed=line is not None, colour=colour)
        if line is not None and problem.code not in HIDDEN:
            yield from _shown(problem, line, colour=colour)
        if problem.hint:
            yield from _wrap(f"hint: {clean(problem.hint)}", " " * GUTTER + "   ")
        yield ""


def _head(problem: Problem, *, placed: bool, colour: bool) -> Iterator[str]:
    where = f"{clean(problem.path)}:{problem.line}:{problem.column}:" if placed else f"{clean(problem.path)}:"
    kind = "warning:" if problem.warning else "error:"
    key = f"{clean(problem.key)}: " if problem.key and not placed else ""
    for line in _wrap(f"{where} {kind} {key}{clean(problem.text)} [{problem.code}]", ""):
        if colour:
            line = line.replace(where, typer.style(where, bold=True), 1)  # noqa: PLW2901 - the same line
            line = line.replace(f" {kind}", f" {_paint(kind, problem)}", 1)  # noqa: PLW2901
        yield line


def _shown(problem: Problem, line: str, *, colour: bool) -> Iterator[str]:
    from stopgap.cli.excerpt import excerpt

    text, at = excerpt(line, problem.column, max(NARROWEST, columns() - GUTTER - 3))
    yield f"{problem.line:>{GUTTER}} | {text}".rstrip()
    yield f"{'':{GUTTER}} | {' ' * at}{_paint('^', problem) if colour else '^'}"


def _paint(text: str, problem: Problem) -> str:
    return typer.style(text, fg="yellow" if problem.warning else "red", bold=True)


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        columns(),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- for GitHub ---


def _command(problem: Problem) -> str:
    """Return a workflow command, escaped as the runner unescapes it (actions/toolkit, `command.ts`)."""
    place = ""
    if os.path.isfile(problem.path):  # noqa: PTH113 - a name such as --var is no path
        place = f"file={_property(problem.path)},line={problem.line},col={problem.column},"
    text = f"{clean(problem.text)}\n{clean(problem.hint)}" if problem.hint else clean(problem.text)
    kind = "warning" if problem.warning else "error"
    return f"::{kind} {place}title={_property(problem.code)}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")

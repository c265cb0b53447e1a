"""Markdown: the few forms that a report is made of, in which a value from outside stays a value.

Label values are hostile, so whatever was not written by this package stands in a code span: there nothing is markup, a link or a
mention, in any dialect. Our own words need no escape, and hold no character that could be one.
"""

import re
from collections.abc import Sequence

LONGEST = 600  # characters of one value
LONGEST_BRIEF = 120  # the same, where it stands in a sentence
MOST = 60  # rows of a table, items of a list
WIDEST = 40  # columns of a table's source are padded up to this

_BACKTICKS = re.compile("`+")
_WORD = re.compile("[a-z][a-z_]{0,40}")


def code(value: object, longest: int = LONGEST) -> str:
    """Write a value so that it is shown as it is: on one line, bounded, and harmless (CommonMark 6.1)."""
    text = " ".join(str(value)[: 10 * longest].split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) > longest:
        text = text[:longest] + "…"
    if not text:
        return "(empty)"
    fence = "`" * (max((len(run) for run in _BACKTICKS.findall(text)), default=0) + 1)
    pad = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def brief(value: object) -> str:
    """Write a value likewise, short enough for a sentence."""
    return code(value, LONGEST_BRIEF)


def words(value: object) -> str:
    """Write one of our own words (`rung_failed`) as people do; what cannot be one is shown as a value."""
    return str(value).replace("_", " ") if _WORD.fullmatch(str(value)) else code(value)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], most: int = MOST) -> str:
    """Write a table that also reads well as text (GFM, tables); of more rows than `most` it says how many are left out."""
    texts = [[cell.replace("|", "\\|") or "-" for cell in row] for row in rows[:most]]
    widths = [min(max(map(len, column)), WIDEST) for column in zip(heads, *texts, strict=True)]
    widths[-1] = 0
    lines = [_row(heads, widths), _row(["-" * max(width, 3) for width in widths], widths)]
    told = "\n".join([*lines, *(_row(row, widths) for row in texts)])
    return f"{told}{_left_out(len(rows) - most)}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def items(lines: Sequence[str], mark: str = "-") -> str:
    """Write a list; `mark` is what each item begins with (`- [ ]`: GFM, task lists)."""
    return "\n".join(f"{mark} {line}" for line in lines[:MOST]) + _left_out(len(lines) - MOST)


def _left_out(count: int) -> str:
    return f"\n\n{count} more are left out here." if count > 0 else ""


def listed(words: Sequence[str], most: int = 5) -> str:
    """Join words in a sentence: `a, b and c`, or so many of them `and 3 more`."""
    shown = list(words[:most])
    if len(words) > most:
        shown.append(f"{len(words) - most} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))

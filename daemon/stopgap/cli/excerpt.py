"""Excerpt: the line that a problem points at, so that it fits and steers no terminal, and where in it the caret belongs."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from stopgap.config.clear_text import masked
from stopgap.config.node import lines_of
from stopgap.config.source import LARGEST

TAB = "→   "
_CUT = "…"
_PASSWORD = re.compile(r"(?<=://)([^\s/@:{}]*:)([^\s/@{}]+)(?=@)")


class Files:
    """Reads lines of files, each file once; whatever cannot be read has none."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def line(self, path: str, number: int) -> str | None:
        """Return a line without its end, None where the file does not have it."""
        if path not in self._lines:
            self._lines[path] = _read(Path(path))
        lines = self._lines[path]
        return lines[number - 1].rstrip("\r\n\x85\u2028\u2029") if 0 < number <= len(lines) else None


def _read(path: Path) -> list[str]:
    try:
        if not path.is_file():
            return []
        with path.open("rb") as stream:
            content = stream.read(LARGEST)
    except OSError:
        return []
    return lines_of(content.decode("utf-8-sig", errors="replace"))


def excerpt(line: str, column: int, width: int) -> tuple[str, int]:
    """Return what of a line fits into `width` columns, and in which of these (from 0) the 1-based `column` of the line is.

    Tabs and control characters are shown as signs, passwords of URLs as stars; what is cut is cut around the place.
    """
    hidden = masked(_PASSWORD.sub(lambda found: found[1] + "*" * len(found[2]), line))
    at = min(column - 1, len(line))
    first = max(0, at - width)  # nothing further away can be in sight
    cells = [_shown(character) for character in hidden[first : at + width]]
    before = sum(map(_columns, cells[: at - first]))
    left = 0
    if first or sum(map(_columns, cells)) + (at == len(line)) > width:
        while before > width * 2 // 3:
            before -= _columns(cells[left])
            left += 1
    head = _CUT if first + left else ""
    text = _fitting(cells[left:], width - len(head), more=at + width < len(line))
    return head + text, before + len(head)


def _fitting(cells: Sequence[str], width: int, *, more: bool) -> str:
    """Return as many cells as fit, and a sign where there are more."""
    out: list[str] = []
    for i, cell in enumerate(cells):
        last = i == len(cells) - 1 and not more
        if _columns(cell) > width - (not last):
            return "".join([*out, _CUT])
        out.append(cell)
        width -= _columns(cell)
    return "".join(out)


def _shown(character: str) -> str:
    if character == "\t":
        return TAB
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _columns(cell: str) -> int:
    """Return how many columns a terminal gives to a text: wide letters take two, marks on letters none."""
    if cell.isascii():
        return len(cell)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in cell
    )

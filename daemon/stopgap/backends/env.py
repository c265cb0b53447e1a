"""Env: a file of `KEY=value` lines, as systemd, Compose, dotenv libraries and a shell's `source` read it.

Where these readers disagree, a value is refused rather than written. Of a key that stands twice the last one counts, and is the one
that is changed. The value's quoting is kept if it can hold the new value.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from stopgap.backends.capability import Entry
from stopgap.backends.file import FileFlags
from stopgap.backends.locator import Locator
from stopgap.errors import PermanentError

_HEAD = re.compile(r"[ \t]*(export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_TAIL = re.compile(r"[ \t]*+(?:(?<=[ \t])#[^\r\n]*+)?(?=\r?\n|\r?\Z)")
_COMMENT = re.compile(r"(?<=[ \t])#")
_ESCAPED = re.compile(r"""\\(["\\$`])""")
_PLAIN = re.compile(r"[\w@%+=:,./-]*")


@dataclass(frozen=True, slots=True)
class _Line:
    """One setting in the text: where the whole line and the value stand."""

    key: str
    exported: bool
    start: int
    raw_start: int
    raw_end: int
    end: int  # after the line's end


class Env(FileFlags):
    """`env:///etc/app.env`."""

    schemes = ("env",)
    example = "env:///etc/app.env"

    def __init__(self, locator: Locator) -> None:
        locator.only("path")
        super().__init__(locator)

    def find(self, text: str, keys: Collection[str]) -> dict[str, Entry]:
        """Find settings; absent ones have no value."""
        found = {line.key: text[line.raw_start : line.raw_end] for line in _lines(text)}
        return {key: Entry(_value(found[key]), found[key]) if key in found else Entry(None) for key in keys}

    def edit(self, text: str, entries: Mapping[str, Entry]) -> str:
        """Change, append and remove settings."""
        for key, entry in entries.items():
            there = [line for line in _lines(text) if line.key == key]
            if entry.value is None:
                for line in reversed(there):
                    text = _without(text, line)
            elif there:
                last = there[-1]
                raw = _raw(key, entry, text[last.raw_start : last.raw_end])
                if not raw and text[last.raw_start - 1] in " \t":
                    raw = '""'  # nothing after a space would not tell where the old value stood
                text = text[: last.raw_start] + raw + text[last.raw_end :]
            else:
                text = _with(text, key, _raw(key, entry, ""))
        return text


def _lines(text: str) -> Iterator[_Line]:
    position = 0
    while position < len(text):
        end = text.find("\n", position) + 1 or len(text)
        if head := _HEAD.match(text, position, end):
            raw_start, raw_end, end = _extent(text, head.end(), end)
            yield _Line(head[2], head[1] is not None, position, raw_start, raw_end, end)
        position = end


def _extent(text: str, start: int, end: int) -> tuple[int, int, int]:
    """Return where a value starts and ends, and where its line ends: only a quoted value may run over several."""
    line = text[start:end].rstrip("\r\n")
    first = start + len(line) - len(line.lstrip(" \t"))
    if (quoted := _QUOTED.match(text, first)) and (tail := _TAIL.match(text, quoted.end())):
        return first, quoted.end(), text.find("\n", tail.end()) + 1 or len(text)
    if comment := _COMMENT.search(line):
        line = line[: comment.start()]
    if not line.strip(" \t"):
        return start, start, end
    return first, start + len(line.rstrip(" \t")), end


def _value(raw: str) -> str:
    if _QUOTED.fullmatch(raw):
        return raw[1:-1] if raw[0] == "'" else _ESCAPED.sub(r"\1", raw[1:-1])
    return raw


def _raw(key: str, entry: Entry, there: str) -> str:
    """Write a value as its remembered form says, else in the quoting that stands there, else in one that holds it."""
    value = entry.value or ""
    if entry.form is not None and _value(entry.form) == value:
        return entry.form
    if not value.isprintable():
        raise PermanentError(
            f"the value for {key} holds a line break or a control character, which no env file can hold"
        )
    single, double = "'" not in value, not re.search(r'["\\$`]', value)
    if there[:1] == '"' and double:
        return f'"{value}"'
    if there[:1] == "'" and single:
        return f"'{value}'"
    if _PLAIN.fullmatch(value) and there[:1] not in {"'", '"'}:
        return value
    if not (single or double):
        raise PermanentError(f"the value for {key} holds quotes that readers of env files read differently")
    return f'"{value}"' if double else f"'{value}'"


def _with(text: str, key: str, raw: str) -> str:
    """Append a setting, in the manner of the file: its line ends, its `export`, its missing last line end."""
    if not _KEY.fullmatch(key):
        raise PermanentError(f"{key[:100]!r} is not a name that an env file can hold")
    known = list(_lines(text))
    line = ("export " if known and known[-1].exported else "") + f"{key}={raw}"
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{text}{newline}{line}" if text and not text.endswith("\n") else f"{text}{line}{newline}"


def _without(text: str, line: _Line) -> str:
    """Remove a setting's line; of a last line without an end, the end of the line before."""
    rest = text[line.end :]
    kept = text[: line.start]
    if not rest and not text.endswith("\n"):
        kept = kept.removesuffix("\n").removesuffix("\r")
    return kept + rest

"""Lookback: how far back a PromQL query looks, as far as its text says it: ranges, subqueries and offsets."""

import re
from datetime import timedelta

from stopgap.duration import parse_duration

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    | (?P<text>"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)|`[^`]*(?:`|\Z))
    | \[\s*(?P<range>[0-9a-z]+)\s*(?P<sub>:[^\]]*)?\]
    | offset\s+(?P<offset>[0-9][0-9a-z]*)\b
    | (?P<labels>\{)
    | (?P<open>\() | (?P<close>\))
    | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<at>@)
    | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_LABELS = re.compile(
    r"""(?:[^}"'`]|"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)|`[^`]*(?:`|\Z))*\}?""", re.DOTALL
)
_NONE = timedelta()


def lookback(query: str) -> timedelta:
    """Return the longest time that anything in a query looks back, subqueries within one another added up. Never raises."""
    if "[" not in query and "offset" not in query:
        return _NONE
    reader = _Reader()
    at = 0
    while found := _TOKEN.match(query, at):
        at = found.end()
        if found.lastgroup == "labels":
            inner = _LABELS.match(query, at)
            at = inner.end() if inner is not None else at
        else:
            reader.take(found)
    return reader.longest


class _Reader:
    """Follows the tokens: the longest time so far on each level of parentheses, and that of the operand just read."""

    def __init__(self) -> None:
        self._levels = [_NONE]
        self._last = _NONE

    @property
    def longest(self) -> timedelta:
        """Return the longest time of all that was read."""
        return max(self._levels)

    def take(self, token: re.Match[str]) -> None:
        """Take the next token."""
        kind = token.lastgroup
        if kind == "open":
            self._levels.append(_NONE)
        elif kind == "close":
            self._last = self._levels.pop() if len(self._levels) > 1 else self._levels[0]
            self._reached(self._last)
        elif kind in {"range", "sub"}:
            self._reached(_time(token["range"]) + (self._last if token["sub"] else _NONE))
        elif kind == "offset":
            self._reached(self._last + _time(token["offset"]))
        elif kind not in {"skip", "at", "text"}:
            self._last = _NONE

    def _reached(self, time: timedelta) -> None:
        self._last = time
        self._levels[-1] = max(self._levels[-1], time)


def _time(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError:
        return _NONE

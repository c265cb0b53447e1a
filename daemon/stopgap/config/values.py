"""Values: which values a matcher leaves a label, where they can be listed."""

import re
from collections.abc import Iterator

from stopgap.matcher import Matcher, Op

_LITERAL = r"(?:[^\\.+*?()|\[\]{}^$]|\\[^A-Za-z0-9])*"
_LISTED = re.compile(rf"{_LITERAL}(?:\|{_LITERAL})*", re.DOTALL)
_PIECE = re.compile(r"\\(?P<escaped>.)|(?P<bar>\|)|(?P<plain>[^\\|]+)", re.DOTALL)
_GROUP = re.compile(r"\((?:\?:)?(.*)\)", re.DOTALL)
_LONGEST = 4096  # characters of a regex that is looked into
_ANYTHING = frozenset({".*", "(.*)", "(?s).*", "(?s:.*)", "^.*$"})
_SOMETHING = frozenset({".+", "(.+)", "(?s).+", "(?s:.+)", "^.+$"})


def values_of(matcher: Matcher) -> frozenset[str] | None:
    """List the only values that satisfy a matcher, values with line breaks aside; None where they cannot be listed."""
    value = matcher.value
    if matcher.op is Op.EQUAL:
        return frozenset({value})
    if matcher.op is Op.NOT_MATCHES and value in _ANYTHING:
        return frozenset()
    if matcher.op is Op.NOT_MATCHES and value in _SOMETHING:
        return frozenset({""})
    if matcher.op is not Op.MATCHES or len(value) > _LONGEST:
        return None
    grouped = _GROUP.fullmatch(value)
    inner = grouped[1] if grouped is not None else value
    return frozenset(_alternatives(inner)) if _LISTED.fullmatch(inner) else None


def _alternatives(regex: str) -> Iterator[str]:
    found = ""
    for piece in _PIECE.finditer(regex):
        if piece["bar"]:
            yield found
            found = ""
        else:
            found += piece["escaped"] or piece["plain"]
    yield found

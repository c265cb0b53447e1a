"""Duration: `30m`, `1h30m`, `500ms` in YAML and on the command line; `timedelta` inside."""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_WHOLE = re.compile(r"(?:\d+(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_LONGEST = timedelta(days=3650)


def parse_duration(text: object) -> timedelta:
    """Read a duration in Prometheus' notation; a bare `0` is zero.

    Raises ValueError that names the notation; anything longer than ten years is refused.
    """
    if isinstance(text, timedelta):
        return text
    if text in (0, "0") and not isinstance(text, bool):
        return timedelta()
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write a number with a unit, such as 30s, 10m or 1h30m")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text[:64]))
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text[:64]!r} is longer than ten years")
    return timedelta(seconds=seconds)


@lru_cache(4096)  # the few of the rules, at every look of a guard
def print_duration(duration: timedelta) -> str:
    """Write a duration so that `parse_duration` reads it back, to the millisecond."""
    rest = round(duration.total_seconds() * 1000)
    if rest == 0:
        return "0"
    out = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        out += f"{count}{unit}" if count else ""
    return out


def span(duration: timedelta) -> str:
    """Write a duration for people: in whole seconds, from ten minutes on in whole minutes."""
    seconds = max(round(duration.total_seconds()), 0)
    if seconds >= 600:  # noqa: PLR2004 - ten minutes
        seconds -= seconds % 60
    return print_duration(timedelta(seconds=seconds)) if seconds else "0s"


_WRITTEN = {
    "type": ["string", "integer"],
    "pattern": r"^(?:0|(?:[0-9]+(?:ms|[smhdw]))+)$",
    "minimum": 0,
    "maximum": 0,
    "patternErrorMessage": "a duration is a number with a unit, such as 30s, 10m or 1h30m",
}
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=Annotated[Any, WithJsonSchema(_WRITTEN)]),
    PlainSerializer(print_duration),
]
"""A pydantic field type for durations."""

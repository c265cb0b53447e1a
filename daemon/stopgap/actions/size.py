"""Size: `500MB`, `2GiB` in YAML; bytes inside."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_UNITS = {"": 1, "B": 1, **{f"{u}B": 1000**i for i, u in enumerate("KMGT", 1)}}
_UNITS |= {f"{u}iB": 1024**i for i, u in enumerate("KMGT", 1)} | {"kB": 1000, "kiB": 1024}
_SIZE = re.compile(r"(\d{1,15})(?:\.(\d{1,3}))? ?([kKMGT]i?B|B|)")
_STEP = 1000


def parse_size(value: object) -> int:
    """Read a size; a bare number is bytes. Raises ValueError that names the notation."""
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value))
    if match is None:
        raise ValueError(
            f"{str(value)[:50]!r} is not a size: write a number with a unit, such as 500MB or 2GiB"
        )
    whole, part, unit = match.groups()
    return int(float(f"{whole}.{part or 0}") * _UNITS[unit])


def print_size(size: float) -> str:
    """Write a size for people: three digits at most, and a unit."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while round(size) >= _STEP and unit != "TB":
        size, unit = size / _STEP, next(units)
    return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"  # noqa: PLR2004 - three digits


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^[0-9]{1,15}(\.[0-9]{1,3})? ?([kKMGT]i?B|B|)$",
            "patternErrorMessage": "a size is a number with a unit, such as 500MB or 2GiB",
        }
    ),
]
"""A pydantic field type for sizes in bytes."""

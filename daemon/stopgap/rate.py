"""Rate: so many in so long (`3/1h`): the form of a budget, of the circuit and of a storm's threshold."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from stopgap.duration import parse_duration, print_duration

_FORM = re.compile(r"\s*([0-9]{1,9})\s*/\s*([0-9a-z]{1,32})\s*")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` within any `window` (a sliding one, up to and including now)."""

    count: int
    window: timedelta

    def __str__(self) -> str:
        return f"{self.count}/{print_duration(self.window)}"


def parse_rate(text: object) -> Rate:
    """Read `COUNT/DURATION`. Raises ValueError that shows the form; a window of no length would limit nothing."""
    if isinstance(text, Rate):
        return text
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{str(text)[:64]!r} is no rate: write a count and a duration, such as 3/1h")
    window = parse_duration(found[2])
    if window <= timedelta():
        raise ValueError(f"{found[0].strip()!r} has a window of no length: write 3/1h or the like")
    return Rate(int(found[1]), window)


_WRITTEN = {
    "type": "string",
    "pattern": r"^\s*[0-9]{1,9}\s*/\s*(?:[0-9]+(?:ms|[smhdw]))+\s*$",
    "patternErrorMessage": "a rate is a count and a duration, such as 3/1h",
}
RateText = Annotated[Rate, BeforeValidator(parse_rate), PlainSerializer(str), WithJsonSchema(_WRITTEN)]
"""A pydantic field type for rates."""

"""Rows: what a query returned, and how it is kept as JSON so that each value comes back as it was."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from stopgap.action import Json

_LARGEST = 2**63  # JSON in the store holds integers up to here
MOST_BYTES = 16 * 1024 * 1024  # of one answer: whatever is more is nothing to keep


@dataclass(frozen=True, slots=True)
class Rows:
    """Column names, and one tuple per row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def kept(cls, json: Mapping[str, Any]) -> "Rows":
        """Read what `keep` wrote."""
        return cls(tuple(json["columns"]), tuple(tuple(map(_read, row)) for row in json["rows"]))

    def keep(self) -> Json:
        """Write as JSON. Raises ValueError for a value of a kind that would not come back as it was."""
        return {
            "columns": list(self.columns),
            "rows": [[_written(value) for value in row] for row in self.rows],
        }

    def dicts(self) -> Sequence[dict[str, Any]]:
        """Return each row by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def gathered(rows: Iterable[Sequence[Any]], limit: int) -> list[tuple[Any, ...]]:
    """Take rows one by one, one more than the limit at most. Raises ValueError before they fill the memory."""
    taken: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if size > MOST_BYTES:
            raise ValueError(f"the rows are larger than {MOST_BYTES} bytes: ask for less")
        taken.append(tuple(row))
        if len(taken) > limit:
            break
    return taken


def _written(value: object) -> Json:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    for kind, (form, write, _) in _FORMS.items():
        if type(value) is kind:
            return {form: write(value)}
    raise ValueError(f"a {type(value).__name__} cannot be kept as JSON and put back: cast it to text")


def _read(json: Json) -> Any:
    if not isinstance(json, dict):
        return json
    ((form, text),) = json.items()
    return _READERS[form](text)


_FORMS: Mapping[type, tuple[str, Any, Any]] = {
    int: ("int", str, int),
    float: ("float", repr, float),
    Decimal: ("decimal", str, Decimal),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode(), base64.b64decode),
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    timedelta: (
        "timedelta",
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
    UUID: ("uuid", str, UUID),
}
_READERS = {form: read for form, _, read in _FORMS.values()}

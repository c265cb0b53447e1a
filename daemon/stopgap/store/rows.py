"""Rows: how instants and JSON stand in columns, and back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Return an instant as whole microseconds since 1970, UTC."""
    return (at - EPOCH) // MICROSECOND


def maybe_micros(at: datetime | None) -> int | None:
    """Return an instant as a column that may be null."""
    return None if at is None else micros(at)


def instant(stored: int) -> datetime:
    """Return the instant that a column holds."""
    return EPOCH + timedelta(microseconds=stored)


def maybe_instant(stored: int | None) -> datetime | None:
    """Return the instant of a column that may be null."""
    return None if stored is None else instant(stored)


def encode(value: Any) -> str:
    """Return the JSON text of a value. Raises TypeError (orjson's) for what is not JSON: lone surrogates, sets, huge integers."""
    return orjson.dumps(value).decode()


def decode(stored: str) -> Any:
    """Return the value of a JSON text."""
    return orjson.loads(stored)

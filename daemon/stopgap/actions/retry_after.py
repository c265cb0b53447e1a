"""Retry-After: the earliest sensible moment that a server names, as seconds or as a date (RFC 9110 10.2.3)."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST = timedelta(hours=1)


def retry_after(text: str) -> timedelta | None:
    """Read the header; None when it is absent or makes no sense; at most an hour."""
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:6])), _LONGEST)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(timedelta(), min(aware - datetime.now(UTC), _LONGEST))

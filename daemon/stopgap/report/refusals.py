"""Refusals: why it did not act, from when to when."""

from datetime import datetime
from typing import NamedTuple

from stopgap.duration import span
from stopgap.incident import Event, EventKind as K
from stopgap.report.markdown import code, table
from stopgap.report.story import Story, instant


class Spell(NamedTuple):
    """One refusal and when it stopped being the reason; None while it holds."""

    event: Event
    over_at: datetime | None


def spells(story: Story) -> list[Spell]:
    """Return the refusals, each until something else was the reason, or none was."""
    found: list[Spell] = []
    for seen in story.seen:
        reason = found[-1].event.detail.get("reason") if found and found[-1].over_at is None else None
        if reason is not None and (seen.reason != reason or seen.event.kind in (K.REFUSED, K.CLOSED)):
            found[-1] = found[-1]._replace(over_at=seen.event.at)
        if seen.event.kind is K.REFUSED:
            found.append(Spell(seen.event, None))
    return found


def refusals(story: Story) -> str:
    """Write a table of the refusals."""
    rows = [_row(story, spell) for spell in spells(story)]
    return table(("Reason", "From", "To", "For", "In its words"), rows) if rows else ""


def _row(story: Story, spell: Spell) -> tuple[str, str, str, str, str]:
    event, over_at = spell
    detail = event.detail
    to = instant(over_at) if over_at is not None else "still" if story.live else "its end"
    lasted = span((over_at or story.until) - event.at) + (story.so_far if over_at is None else "")
    return code(detail.get("reason", "unknown")), instant(event.at), to, lasted, code(detail.get("text", ""))

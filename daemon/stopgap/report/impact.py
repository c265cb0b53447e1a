"""Impact: when it began, when it was mitigated and when it was over, with the time between."""

from datetime import datetime, timedelta
from typing import NamedTuple

from stopgap.duration import span
from stopgap.incident import Cause, EventKind as K, Role
from stopgap.report.markdown import items, table
from stopgap.report.story import Story, instant, read_instant


class Mark(NamedTuple):
    """One moment that counts; without an instant it did not come, or has not yet."""

    name: str
    at: datetime | None
    always: bool = False  # said even if it did not come


def impact(story: Story) -> str:
    """Write the moments in order, then how long what lasted."""
    marks = _marks(story)
    come = sorted(
        ((mark.at, mark.name) for mark in marks if mark.at is not None), key=lambda moment: moment[0]
    )
    rows, before = [], None
    for at, name in come:
        rows.append((name, instant(at), _after(story, at), span(at - before) if before else ""))
        before = at
    absent = "not yet" if story.live else "never"
    rows += [(mark.name, absent, "", "") for mark in marks if mark.at is None and mark.always]
    told = table(("Moment", "Time", "After opening", "Since the line above"), rows)
    lasted = items(_lasted(story))
    return f"{told}\n\n{lasted}" if lasted else told


def _after(story: Story, at: datetime) -> str:
    early = span(story.opened_at - at)
    return f"{early} before" if early != "0s" else story.since_opening(at)


def _marks(story: Story) -> tuple[Mark, ...]:
    state = story.state
    acting = not story.shadow
    return (
        Mark("Alert began firing", began_at(story)),
        Mark("Opened", story.opened_at),
        Mark("First act", first_act(story), always=acting),
        Mark("Mitigated", state.mitigated_at, always=acting),
        Mark("Handed over", _at(story, K.HANDED_OVER)),
        Mark("Alerts over", alerts_over(story)),
        Mark("Cause proven gone", proven_at(story), always=bool(state.lease_from or proven_at(story))),
        Mark("Taken back", taken_back_at(story)),
        Mark("Closed", state.closed_at, always=True),
    )


def _at(story: Story, kind: K) -> datetime | None:
    event = story.first(kind)
    return event.at if event is not None else None


def began_at(story: Story) -> datetime | None:
    """Return when the first of its alerts began to fire, as Prometheus said."""
    starts = (read_instant(alert.starts_at) for alert in story.state.alerts.values() if alert.starts_at)
    return min((at for at in starts if at is not None), default=None)


def first_act(story: Story) -> datetime | None:
    """Return when the first step began."""
    acts = (e.at for e in story.of(K.STEP_STARTED) if e.detail.get("role") in (Role.DO, Role.ACTIVATE))
    return next(acts, None)


def alerts_over(story: Story) -> datetime | None:
    """Return when the last of its alerts ended, None while one fires."""
    event = story.last(K.ALERT_RESOLVED)
    return event.at if event is not None and not story.state.firing else None


def proven_at(story: Story) -> datetime | None:
    """Return when the probes of the cause had proven it gone."""
    proofs = (e.at for e in story.of(K.REVERT_STARTED) if e.detail.get("cause") == Cause.RECOVERED)
    return max(proofs, default=None)


def taken_back_at(story: Story) -> datetime | None:
    """Return when the last of what was held had been taken back, None while something is held."""
    event = story.last(K.REVERTED)
    return event.at if event is not None and not story.state.held else None


def in_place(story: Story) -> timedelta:
    """Return for how long anything was in place, whatever overlapped."""
    total, covered = timedelta(), story.opened_at
    for _, began, over in sorted(story.in_place, key=lambda spell: spell[1]):
        end = over or story.until
        total += max(end - max(began, covered), timedelta())
        covered = max(covered, end)
    return total


def _lasted(story: Story) -> list[str]:
    told, state = [], story.state
    began = min(began_at(story) or story.opened_at, story.opened_at)
    if state.mitigated_at is not None:
        told.append(f"Unmitigated for {span(state.mitigated_at - began)}, from the alert to the mitigation.")
    elif not story.shadow:
        over = alerts_over(story)
        ends = ", until its alerts were over" if over is not None else story.so_far
        told.append(f"Unmitigated for {span((over or story.until) - began)}{ends}.")
    if story.in_place:
        stays = any(over is None for *_, over in story.in_place)
        ends = (story.so_far or " until it was closed, and it stays") if stays else ""
        told.append(f"Something was in place for {span(in_place(story))}{ends}.")
    told.append(f"Open for {span(story.until - story.opened_at)}{story.so_far}.")
    return told

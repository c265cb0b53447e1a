"""Histories for tests of backtests: alerts that fire and end, and how a source is read to its end."""

import asyncio
from datetime import UTC, datetime, timedelta

from stopgap.backtest.history import Period, Transition, alert_of, over

START = datetime(2026, 10, 5, 9, tzinfo=UTC)
DAY = Period(START, START + timedelta(days=1))


def at(text: str) -> datetime:
    """Return an instant of the day that histories begin on: `09:30`, or `+90` in seconds from the start."""
    if text.startswith("+"):
        return START + timedelta(seconds=float(text))
    hours, minutes = text.split(":")
    return START.replace(hour=int(hours), minute=int(minutes))


def alert(name="Down", **labels):
    return alert_of({"alertname": name, **labels}, {}, START)


def fires(when, of=None):
    return Transition(at(when), of or alert())


def ends(when, of=None):
    return Transition(at(when), over(of or alert(), at(when)))


def read(history, period=DAY):
    """Return what a source tells of a period, and how its progress went."""

    async def run():
        return [one async for one in history.transitions(period, shares.append)]

    shares: list[float] = []
    found = asyncio.run(run())
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    return found


def told(transitions):
    """Return transitions in short: minutes from the start, `+` or `-`, and what tells the alerts apart."""
    return [
        (
            (one.at - START).total_seconds() / 60,
            "+" if one.alert.firing else "-",
            one.alert.labels.get("instance", one.alert.labels["alertname"]),
        )
        for one in transitions
    ]

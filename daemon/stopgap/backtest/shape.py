"""Shape: a backtest as JSON (`stopgap backtest --json`). Durations are in seconds, instants RFC 3339 in UTC.

A comparison is `{"old": …, "new": …, "differences": […]}` with two of these.
"""

from datetime import datetime
from typing import Any

from stopgap.backtest.compare import Difference
from stopgap.backtest.result import COUNTS, TABLES, Hold, Result, Score
from stopgap.backtest.spending import Headroom


def shape(result: Result) -> dict[str, Any]:
    """Return a whole backtest."""
    alerts = result.alerts
    return {
        "rules_from": result.rules_from,
        "source": result.source,
        "since": instant(result.period.since),
        "until": instant(result.period.until),
        "alerts": {
            "transitions": alerts.transitions,
            "distinct": alerts.distinct,
            "already_firing": alerts.already,
            "unmatched": alerts.unmatched,
            "untaken": list(alerts.untaken),
        },
        "total": _score(result.total),
        "rules": {name: _score(score) for name, score in result.rules.items()},
        "overlaps": [
            {
                "kind": one.kind,
                "of": one.of,
                "rules": list(one.rules),
                "times": one.times,
                "first_at": instant(one.first_at),
            }
            for one in result.overlaps
        ],
        "storms": [
            {"since": instant(one.since), "until": instant(one.until), "targets": one.targets}
            for one in result.storms
        ],
        "assumed": list(result.assumed),
        "caveats": list(result.caveats),
        "left_out": dict(result.left_out),
    }


def compared(old: Result, new: Result, differences: tuple[Difference, ...]) -> dict[str, Any]:
    """Return two backtests on the same history, and where they differ."""
    listed = [{"rule": one.rule, "of": one.of, "old": one.old, "new": one.new} for one in differences]
    return {"old": shape(old), "new": shape(new), "differences": listed}


def instant(at: datetime | None) -> str | None:
    """Write an instant, to the second."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _score(score: Score) -> dict[str, Any]:
    return {
        **{name: getattr(score, name) for name in COUNTS},
        **{name: dict(sorted(getattr(score, name).items())) for name in TABLES},
        "held_seconds": score.held.total_seconds(),
        "longest_hold": _hold(score.longest_hold),
        "budget": _headroom(score.headroom),
    }


def _hold(hold: Hold | None) -> dict[str, Any] | None:
    if hold is None:
        return None
    return {
        "seconds": hold.lasted.total_seconds(),
        "incident": hold.incident,
        "target": hold.target,
        "since": instant(hold.since),
    }


def _headroom(least: Headroom | None) -> dict[str, Any] | None:
    if least is None:
        return None
    return {"least_left": least.left, "of": str(least.of), "at": instant(least.at)}

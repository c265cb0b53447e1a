"""Short hold: a stability period that is over before the probes of the cause have seen any stability."""

from collections.abc import Iterator
from datetime import timedelta

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.config.lookback import lookback
from stopgap.config.query import query_of
from stopgap.duration import print_duration
from stopgap.rule import ProbeSpec


def short_hold(subject: Subject) -> Iterator[Remark]:
    """Find the probe of `recovered` that needs most time, where `hold` gives it less."""
    hold = subject.rule.limits.hold
    if not hold or not subject.holds:
        return
    needs = [(*_need(probe), i) for i, probe in enumerate(subject.rule.recovered)]
    need, why, i = max(needs, default=(timedelta(), "", 0))
    if need > hold:
        text = f"hold ({print_duration(hold)}) is shorter than the {print_duration(need)} {why}"
        place = subject.said(("hold",), ("recovered", i))
        yield Remark(place, Odd.SHORT_HOLD, text, f"write hold: {print_duration(need)} or longer")


def _need(probe: ProbeSpec) -> tuple[timedelta, str]:
    """Return how long a probe must be asked until it tells of nothing but recovery, and why."""
    back = lookback(query_of(probe)) - probe.after  # what it looks back at is over by the first answer
    return max(
        (back, "that `recovered` looks back beyond its `after`"),
        (probe.every or timedelta(), "between two questions of `recovered`"),
        (probe.for_, "that `for` wants"),
    )

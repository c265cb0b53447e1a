"""Stale query: a PromQL probe that is asked before its answer can tell of the step (DESIGN 5.4).

An instant query cannot say how old its data are: asked too early it is healthy, or unhealthy, for what was before the step.
"""

from collections.abc import Iterator
from datetime import timedelta

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.config.lookback import lookback
from stopgap.config.query import PROMQL, query_of
from stopgap.duration import print_duration

_MARGIN = timedelta(minutes=1)  # more than most scrape intervals


def stale_query(subject: Subject) -> Iterator[Remark]:
    """Find the `verify` probes whose `after` is not longer than what their query looks back."""
    for at, rung in subject.rungs():
        for i, probe in enumerate(rung.verify):
            back = lookback(query_of(probe))
            if probe.probe != PROMQL or probe.after > back:
                continue
            after = print_duration(probe.after)
            text = f"it is asked {after} after the step, and looks back {print_duration(back)}: at what was before"
            if not back:
                text = "it is asked at once, before Prometheus has measured anything since the step"
            longer = print_duration(back + _MARGIN)
            hint = f"write after: {longer} or so (the range and a scrape interval), and a longer within"
            yield Remark((*at, "verify", i, "after"), Odd.STALE_QUERY, text, hint)

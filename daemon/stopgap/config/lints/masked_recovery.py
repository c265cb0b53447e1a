"""Masked recovery: the mitigation may end its own alert, and nothing else proves the cause gone (DESIGN 5.2).

What is held is taken back when `recovered` is healthy. Where that asks what the mitigation itself makes well (the rule's own
alert, or the very question with which a rung is verified), the mitigation is taken back while the cause is still there, the
alert fires again, and so on.
"""

from collections.abc import Iterator, Mapping

from stopgap.config.alerts import names_in
from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.recovery import ALERT
from stopgap.rule import ProbeSpec, RungSpec

_HINT = "add recovered: [{…}] with a probe of the cause"


def masked_recovery(subject: Subject) -> Iterator[Remark]:
    """Find the first step that would be taken back too early, or the probe that lets it be."""
    held = next(subject.held(), None)
    if held is None:
        return
    rungs = [rung for _, rung in subject.held()]
    place = held[0]
    if not subject.rule.recovered:
        text = (
            "without `recovered`, it is taken back when its own alert is over, even if that is its own doing"
        )
        yield Remark(place, Odd.MASKED_RECOVERY, text, _HINT)
    elif all(_masked(probe, rungs, subject) for probe in subject.rule.recovered):
        text = "this asks what the mitigation itself makes well: it says nothing of the cause"
        yield Remark(
            ("recovered", 0),
            Odd.MASKED_RECOVERY,
            text,
            "ask about the cause: whatever a rung here does not change",
        )


def _masked(probe: ProbeSpec, rungs: list[RungSpec], subject: Subject) -> bool:
    """Tell whether a probe asks what a held rung is verified by, or about the rule's own alert."""
    if any(_alike(probe, other) for rung in rungs for other in rung.verify):
        return True
    labels = probe.params.get("labels") if isinstance(probe.params, Mapping) else None
    name = labels.get("alertname") if isinstance(labels, Mapping) else labels
    return probe.probe == ALERT and name in (names_in(subject.rule.matchers) or ())


def _alike(one: ProbeSpec, other: ProbeSpec) -> bool:
    return one.probe == other.probe and one.params == other.params

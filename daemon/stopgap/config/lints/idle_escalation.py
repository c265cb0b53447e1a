"""Idle escalation: an entry of `escalate` that waits for what never happens to an incident of its rule."""

from collections.abc import Iterator

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.incident import EventKind as K

_OF_THE_DAEMON = frozenset(
    {K.RELOADED, K.RELOAD_FAILED, K.LOGIN_REFUSED, K.STORM_BEGAN, K.STORM_ENDED, K.BRAKED}
    | {K.CLOCK_JUMPED, K.CLOCK_FOLLOWED}
)
_OF_A_LEASE = frozenset({K.LEASE_ENDING, K.LEASE_EXTENDED, K.LEASE_EXPIRED})
_OF_A_RUNG = _OF_A_LEASE | {
    K.APPROVAL_REQUESTED,
    K.APPROVED,
    K.APPROVAL_DENIED,
    K.APPROVAL_EXPIRED,
    K.RUNG_STARTED,
    K.RUNG_SKIPPED,
    K.RUNG_HELD,
    K.RUNG_FAILED,
    K.STEP_STARTED,
    K.STEP_SUCCEEDED,
    K.STEP_FAILED,
    K.STEP_SKIPPED,
    K.STEP_UNKNOWN,
    K.STEP_REVERTED,
    K.MITIGATED,
    K.MITIGATION_LOST,
    K.REVERT_STARTED,
    K.REVERT_FAILED,
    K.DRIFTED,
    K.REVERTED,
}


def idle_escalation(subject: Subject) -> Iterator[Remark]:
    """Find the entries that can never be told."""
    for i, entry in enumerate(subject.rule.escalate):
        why = _never(subject, entry.when) if entry.when else ""
        if why:
            text = f"`{entry.when}` never happens to an incident of this rule: {why}"
            yield Remark(
                ("escalate", i, "when"), Odd.IDLE_ESCALATION, text, "remove it, or name another event"
            )


def _never(subject: Subject, when: str) -> str:
    """Say why an event cannot happen; nothing where it can."""
    rule = subject.rule
    if when in _OF_THE_DAEMON:
        return "it is about the whole daemon"
    if not rule.ladder and when in _OF_A_RUNG:
        return "it has no ladder"
    if when == K.MITIGATION_LOST and not any(rung.verify for rung in rule.ladder):
        return "nothing verifies what it does"
    if when in _OF_A_LEASE and not subject.holds:
        return "it holds nothing"
    return ""

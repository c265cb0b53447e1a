"""Audience: who hears of a moment of a timeline: whom the rule names, else, of what nobody may miss, `default`. Pure."""

from collections.abc import Mapping

from stopgap.incident import Event, EventKind as K, Incident, Phase
from stopgap.rule import Rule

DEFAULT = "default"
ALWAYS = frozenset(
    {
        K.APPROVAL_REQUESTED,
        K.HANDED_OVER,
        K.MITIGATION_LOST,
        K.LEASE_ENDING,
        K.LEASE_EXPIRED,
        K.REVERT_FAILED,
        K.DRIFTED,
    }
)
"""What the `default` contact hears of, unless the rule's own escalation takes it."""


def wanted(rule: Rule, kind: K) -> tuple[str, ...]:
    """Return whom the rule's own escalation tells of an event of this kind."""
    return tuple(dict.fromkeys(name for step in rule.escalate if step.when == kind for name in step.notify))


def audience(rule: Rule) -> Mapping[K, tuple[str, ...]]:
    """Return by event who hears of it: those that the rule tells, and `default` of the rest of what nobody may miss."""
    heard = {kind: wanted(rule, kind) or ((DEFAULT,) if kind in ALWAYS else ()) for kind in K}
    return {kind: names for kind, names in heard.items() if names}


def must_hear(event: Event, state: Incident) -> bool:
    """Tell whether a person must hear of an event even if no escalation asks for it."""
    detail = event.detail
    if event.kind is K.REFUSED:  # a brake in the middle of a rung leaves it half done
        return detail.get("reason") == "brake" and state.phase in (Phase.MITIGATING, Phase.REVERTING)
    if event.kind is K.RUNG_HELD:
        return detail.get("verdict") == "unknown" and state.phase is Phase.VERIFYING
    if event.kind is K.PROBE_UNKNOWN:  # held because nothing can prove recovery
        return not detail.get("probe")
    return event.kind in ALWAYS

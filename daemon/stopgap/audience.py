"""Audience: who hears of a moment of a timeline: whom the rule names, else, of what nobody may miss, `default`. Pure."""

from collections.abc import Mapping

from stopgap.duration import print_duration
from stopgap.guard import GUARDS, Reason
from stopgap.incident import Event, EventKind as K, Incident, Phase
from stopgap.rule import Escalation, Mode, Rule

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
        K.DRILL_OVERTAKEN,
        K.NOTIFY_FAILED,
    }
)
"""What the `default` contact hears of, unless the rule's own escalation takes it."""


def wanted(rule: Rule, kind: K) -> tuple[str, ...]:
    """Return whom the rule's own escalation tells of an event of this kind at once."""
    return rule.tells.get(kind, ())


def audience(rule: Rule) -> Mapping[str, tuple[str, ...]]:
    """Return, by event or clock in words, who hears of it: those that the rule tells, and `default` of what nobody may miss."""
    heard: dict[str, tuple[str, ...]] = {}
    for kind in K:
        heard[kind.value] = wanted(rule, kind) or ((DEFAULT,) if kind in ALWAYS else ())
    for step in rule.escalate:
        if step.after or step.every:
            words = clock_words(step)
            heard[words] = tuple(dict.fromkeys((*heard.get(words, ()), *step.notify)))
    return {words: names for words, names in heard.items() if names}


def clock_words(step: Escalation) -> str:
    """Say when a clock rings: `after 15m`, `5m after mitigation_lost`, `every 30m even if mitigated`."""
    even_if = f" even if {' or '.join(sorted(step.even_if))}" if step.even_if else ""
    if step.every:
        return f"every {print_duration(step.every)}{even_if}"
    after = print_duration(step.after) if step.after else ""
    return (f"after {after}" if step.when == K.OPENED else f"{after} after {step.when}") + even_if


def hearers(rule: Rule, event: Event, state: Incident) -> tuple[str, ...]:
    """Return who hears of an event at once; `state` is the one after it."""
    if event.kind is K.NOTIFIED:
        return ()
    names = wanted(rule, event.kind)
    if early_end(event, state):  # nobody will hear that it is mitigated, so they hear of this
        names = tuple(dict.fromkeys((*names, *wanted(rule, K.MITIGATED))))
    names = names or ((DEFAULT,) if must_hear(event, state) else ())
    if event.kind is K.DRILL_OVERTAKEN:  # whoever took it for a drill must hear how it stands
        names = tuple(dict.fromkeys((*names, *_would_have_heard(rule, state))))
    if event.kind is not K.NOTIFY_FAILED:
        return names
    if event.detail.get("when") == K.NOTIFY_FAILED:
        return ()  # or nobody would ever be done with failing
    return tuple(name for name in names if name != event.detail.get("contact"))


def early_end(event: Event, state: Incident) -> bool:
    """Tell whether the alerts are over before anything was known to help, while something is changed; `state` is the one after."""
    ends = event.kind is K.RESOLVED and state.mitigated_at is None
    return ends and bool(state.held) and state.mode != Mode.SHADOW


def _would_have_heard(rule: Rule, state: Incident) -> tuple[str, ...]:
    """Return whom the rule tells at once of what has become of an incident by now."""
    passed = {
        K.OPENED: True,
        K.MITIGATED: state.mitigated_at is not None,
        K.MITIGATION_LOST: state.lost,
        K.HANDED_OVER: state.handed_over,
    }
    return tuple(name for kind, is_so in passed.items() if is_so for name in wanted(rule, kind))


def _stalls(reason: str, state: Incident) -> bool:
    """Tell whether a refusal leaves something half done, or waits for a person in all but name."""
    if reason == Reason.BRAKE:
        return state.phase in (Phase.MITIGATING, Phase.REVERTING)
    waits = state.phase is Phase.WAITING and reason in GUARDS and reason != Reason.TARGET_BUSY
    return (waits and bool(state.rungs)) or reason == Reason.CIRCUIT_OPEN


def must_hear(event: Event, state: Incident) -> bool:
    """Tell whether a person must hear of an event even if no escalation asks for it."""
    detail = event.detail
    if event.kind is K.REFUSED:
        return _stalls(str(detail.get("reason", "")), state)
    if event.kind is K.RUNG_HELD:
        return detail.get("verdict") == "unknown" and state.phase is Phase.VERIFYING
    if event.kind is K.STEP_STARTED:
        return bool(detail.get("by_hand"))
    if event.kind is K.PROBE_UNKNOWN:  # held because nothing can prove recovery
        return not detail.get("probe")
    return event.kind in ALWAYS or early_end(event, state)

"""Who hears of what: whom the rule names, and `default` of what nobody may miss."""

import pytest
from tests.timelines import START, Timeline, incident, keeps, rule, rung

from stopgap.audience import audience, early_end, hearers, must_hear, wanted
from stopgap.incident import Event, EventKind as K, Phase
from stopgap.rule import Escalation


def test_a_rule_tells_each_of_its_contacts_once():
    told = (Escalation(K.MITIGATED, ("a", "b")), Escalation(K.MITIGATED, ("b", "c")))
    assert wanted(rule(escalate=told), K.MITIGATED) == ("a", "b", "c")
    assert wanted(rule(), K.MITIGATED) == ()


def test_a_guard_that_stops_a_ladder_half_way_up_is_told():
    timeline = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    refused = timeline.say(K.REFUSED, reason="budget_rule", text="3 of 3 used")
    assert must_hear(refused.events[-1], refused.state)
    busy = timeline.say(K.REFUSED, reason="target_busy")
    assert not must_hear(busy.events[-1], busy.state)


def test_default_hears_what_nobody_may_miss_unless_the_rule_tells_somebody():
    heard = audience(rule(escalate=(Escalation(K.HANDED_OVER, ("oncall",)), Escalation(K.OPENED, ("chat",)))))
    assert heard[K.HANDED_OVER] == ("oncall",)
    assert heard[K.OPENED] == ("chat",)
    assert heard[K.LEASE_EXPIRED] == ("default",)
    assert K.MITIGATED not in heard


@pytest.mark.parametrize(
    ("phase", "kind", "detail", "heard"),
    [
        (Phase.MITIGATING, K.REFUSED, {"reason": "brake"}, True),
        (Phase.WAITING, K.REFUSED, {"reason": "brake"}, False),
        (Phase.MITIGATING, K.REFUSED, {"reason": "target_busy"}, False),
        (Phase.WAITING, K.REFUSED, {"reason": "circuit_open"}, True),
        (Phase.WAITING, K.REFUSED, {"reason": "budget_rule"}, False),
        (Phase.VERIFYING, K.RUNG_HELD, {"verdict": "unknown"}, True),
        (Phase.VERIFYING, K.RUNG_HELD, {"verdict": "healthy"}, False),
        (Phase.RECOVERING, K.PROBE_UNKNOWN, {"role": "recovered"}, True),
        (Phase.RECOVERING, K.PROBE_UNKNOWN, {"probe": "recovered/0"}, False),
        (Phase.OPEN, K.HANDED_OVER, {}, True),
        (Phase.OPEN, K.OPENED, {}, False),
    ],
)
def test_some_moments_must_be_heard_only_where_they_leave_something_undone(phase, kind, detail, heard):
    timeline: Timeline = incident(phase)
    assert must_hear(Event(kind, START, detail), timeline.state) is heard


def test_who_hears_that_it_ends_early_is_told_of_either_else_default():
    timeline = incident(Phase.VERIFYING).over().does()
    event, state = timeline.events[-1], timeline.state
    assert early_end(event, state)
    assert must_hear(event, state)
    told = (Escalation(K.MITIGATED, ("a", "b")), Escalation(K.RESOLVED, ("b", "c")))
    assert hearers(rule(escalate=told), event, state) == ("b", "c", "a")
    assert hearers(rule(escalate=told[:1]), event, state) == ("a", "b")
    assert hearers(rule(), event, state) == ("default",)
    late = incident(Phase.RECOVERING)
    assert hearers(rule(escalate=told), late.events[-1], late.state) == ("b", "c")

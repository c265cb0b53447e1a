"""What comes next, in words: one line for each move that an incident can make."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.timelines import (
    BRAKE,
    START,
    Timeline,
    acting,
    handed_over_undecided,
    incident,
    probe,
    rule,
    rung,
    seconds,
    step,
    undecided,
)

from stopgap.alert import DRILL
from stopgap.explanation import Doing
from stopgap.guard import Reason, Refusal
from stopgap.incident import Cause, EventKind as K, Phase, Ref, Role
from stopgap.moves import Case, Circumstances, Record, Start
from stopgap.prospect import clock, prospect, refused
from stopgap.rule import Mode, OnFailure


def words(timeline: Timeline, **circumstances: Any) -> tuple[Doing, str]:
    """Say what decide has come next."""
    at = Circumstances(timeline.now, **circumstances)
    said = prospect(Case(timeline.state, timeline.rule, at), timeline.next(**circumstances))
    return said.do, said.text


def failing(kind: str = "unhealthy") -> Timeline:
    return incident(Phase.VERIFYING).later(60).answers("verify/0", kind)


def held() -> Timeline:
    return Timeline(rule(recovered=())).opens().mitigated()


RETRIES = Timeline(rule(rung(step(retries=1))))

SAID = [
    (Timeline().opens(), (Doing.START, "start rung 'a way out' now")),
    (Timeline().opens().over(), (Doing.CLOSE, "close it: self_resolved")),
    (incident(Phase.CLOSED), (Doing.NOTHING, "do nothing more: it is over")),
    (
        incident(Phase.MITIGATING),
        (Doing.ACT, "find out what became of step `switch` of rung 'a way out'"),
    ),
    (
        Timeline(rule(rung(step(), step(title="flip it")))).opens().begins().done(),
        (Doing.ACT, "run step `flip it` of rung 'a way out' now"),
    ),
    (
        Timeline(rule(rung(step(optional=True)))).opens().begins().step(K.STEP_FAILED),
        (Doing.ACT, "go on without a step that failed and is optional"),
    ),
    (Timeline().opens().begins().step(K.STEP_FAILED), (Doing.TAKE_BACK, "give the rung up")),
    (Timeline().opens().verifying(), (Doing.HOLD, "ask verify/0 now")),
    (
        Timeline(rule(rung(verify=(probe(after=seconds(30)),)))).opens().verifying(),
        (Doing.HOLD, "ask whether it helped at 09:00:30Z"),
    ),
    (failing(), (Doing.TAKE_BACK, "give the rung up")),
    (failing("unknown"), (Doing.HOLD, "leave the rung in place")),
    (failing().does(), (Doing.TAKE_BACK, "take back 'a way out' now")),
    (Timeline().opens().verifying().asked(), (Doing.HOLD, "hold it: it helped")),
    (incident(Phase.MITIGATED), (Doing.HOLD, "hold it while the alerts fire, and look again at 09:01:00Z")),
    (
        incident(Phase.MITIGATED).over(),
        (Doing.HOLD, "hold it, and ask whether the cause is gone: its alerts are over"),
    ),
    (incident(Phase.RECOVERING), (Doing.HOLD, "ask recovered/0 now")),
    (
        incident(Phase.RECOVERING).asked("unhealthy"),
        (Doing.HOLD, "hold it until the cause is gone for 5m, and look again at 09:01:01Z"),
    ),
    (held().recovering(), (Doing.HOLD, "hold it until a person takes it back")),
    (incident(Phase.REVERTING).undoes().undone(), (Doing.TAKE_BACK, "end the taking back")),
    (
        incident(Phase.REVERTING),
        (Doing.TAKE_BACK, "run the way back of step `switch` of rung 'a way out' now"),
    ),
    (incident(Phase.MITIGATED).later(hours=4), (Doing.ACT, "note: lease expired")),
    (
        handed_over_undecided(),
        (Doing.HOLD, "ask whether it helped at 09:13:00Z"),
    ),
    (
        held().recovering().does(),
        (Doing.HOLD, "hold it until a person takes it back: nothing can prove that the cause is gone"),
    ),
    (
        RETRIES.opens().begins().step(K.STEP_FAILED, retry_at="2026-11-21T09:00:10+00:00"),
        (Doing.WAIT, "try again at 09:00:10Z"),
    ),
    (
        Timeline().opens().begins().step(K.STEP_STARTED, by_hand=True),
        (
            Doing.WAIT,
            "wait for a person to do step `switch` of rung 'a way out' and to say `stopgap done`; it fails at 09:00:30Z",
        ),
    ),
    (
        acting(Ref(0, Role.DO, 0)).step(K.STEP_UNKNOWN, unclear=True).does(),
        (Doing.WAIT, "wait for a person: it cannot go on by itself (unknown_outcome)"),
    ),
]


@pytest.mark.parametrize(("timeline", "said"), SAID)
def test_every_move_is_said_in_words(timeline, said):
    assert words(timeline) == said


def test_what_a_brake_stops_waits_for_its_end():
    brake = replace(BRAKE, until=START + timedelta(days=1))
    timeline = Timeline().opens()
    assert words(timeline, brake=brake) == (
        Doing.WAIT,
        "wait: brake, asked again 2026-11-22 09:00:00Z (in 1d)",
    )
    timeline.does(brake=brake)
    assert words(timeline, brake=brake) == (
        Doing.WAIT,
        "wait: brake, asked again 2026-11-22 09:00:00Z (in 1d)",
    )
    assert words(incident(Phase.RECOVERING).asked().later(minutes=5).asked(), brake=BRAKE) == (
        Doing.WAIT,
        "wait: brake",
    )


def test_after_a_refusal_it_is_asked_again():
    timeline = incident(Phase.WAITING)
    at = timeline.now + timedelta(minutes=3)
    assert words(timeline, retry_at=at) == (Doing.WAIT, "wait: cooldown, asked again 09:03:00Z (in 3m)")


def test_whoever_is_handed_over_or_shadowed_does_nothing_more():
    timeline = Timeline().opens().say(K.HANDED_OVER, reason="ladder_exhausted")
    assert words(timeline) == (
        Doing.NOTHING,
        "do nothing more until its alerts are over (ladder_exhausted): a person has it, who can give it back with `stopgap retry`",
    )
    flawed = Timeline().opens(flaw="empty_target").say(K.HANDED_OVER, reason="empty_target")
    assert words(flawed) == (Doing.NOTHING, "do nothing more until its alerts are over (empty_target)")
    timeline = Timeline().opens().begins().done().say(K.REVERT_STARTED, cause=Cause.PERSON, rungs=[0])
    timeline.undoes().undone().does()
    assert words(timeline) == (Doing.NOTHING, "do nothing more until its alerts are over")


@pytest.mark.parametrize(
    ("bound", "drill", "cure"),
    [
        (Mode.AUTO, "", ": it opened in shadow, and acts once somebody says `stopgap adopt`"),
        (Mode.SHADOW, "", ""),
        (Mode.AUTO, "game day", ""),
    ],
)
def test_whoever_opened_in_shadow_and_could_act_by_now_says_by_which_order(bound, drill, cure):
    alerts = {"a": {"labels": {DRILL: drill} if drill else {}}}
    opened = Timeline().say(K.OPENED, rule="pack/rule", target="app", alerts=alerts, mode="shadow")
    timeline = opened.say(K.SHADOW_PLANNED, rung=0)
    said = f"do nothing more until its alerts are over (shadow){cure}"
    assert words(timeline, bound=bound) == (Doing.NOTHING, said)


def test_a_request_for_approval_waits_for_its_answer():
    until = (START + timedelta(minutes=15)).isoformat()
    timeline = Timeline().opens().say(K.APPROVAL_REQUESTED, rung=0, until=until, reason="mode_approve")
    assert words(timeline) == (Doing.WAIT, "wait for a person's yes until 09:15:00Z: no answer means no")


def test_a_refusal_is_waited_for_or_hands_over():
    waits = refused(Refusal(Reason.COOLDOWN, "acted 3m ago"), START + timedelta(minutes=7), START)
    assert (waits.do, waits.text) == (Doing.WAIT, "wait: cooldown, asked again 09:07:00Z (in 7m)")
    assert refused(Refusal(Reason.STORM, "it storms"), None, START).text == "wait: storm"
    given = refused(Refusal(Reason.PROTECTED_TARGET, "app is protected"), None, START)
    assert (given.do, given.why) == (Doing.HAND_OVER, "app is protected")


def test_an_instant_of_another_day_says_which():
    assert clock(START, START) == "09:00:00Z"
    assert clock(START + timedelta(days=1), START) == "2026-11-22 09:00:00Z"


def test_a_decision_that_has_no_words_of_its_own_is_named():
    timeline = Timeline().opens()
    case = Case(timeline.state, timeline.rule, Circumstances(START))
    assert prospect(case, Record(((K.OBSERVED, {}),))).text == "note: observed"
    assert prospect(case, Start(0, Mode.AUTO)).do is Doing.START


def test_a_rung_that_is_kept_after_its_failure_is_left_in_place():
    timeline = Timeline(rule(rung(on_failure=OnFailure.KEEP))).opens().begins().step(K.STEP_FAILED).does()
    assert words(timeline) == (Doing.HOLD, "leave the rung in place")
    assert words(undecided()) == (Doing.HOLD, "ask whether it helped at 09:01:59Z")

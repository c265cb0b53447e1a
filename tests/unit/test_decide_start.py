"""Whether a rung starts: modes, approvals, storms, rungs that are skipped, run once or go on, and the end of a brake."""

from datetime import timedelta

import pytest
from tests.timelines import BRAKE, START, Timeline, incident, keeps, kinds, only, rule, rung

from stopgap.guard import Reason
from stopgap.incident import Answer, Approval, EventKind as K, Outcome, Phase, Ref, Role, changed
from stopgap.moves import Act, Start, Wait
from stopgap.rule import Mode
from stopgap.storm import Storm

MINUTE = timedelta(minutes=1)


def test_the_mode_is_the_most_careful_of_rule_daemon_and_opening():
    assert Timeline(rule(mode=Mode.APPROVE)).opens().next() == Start(0, Mode.APPROVE)
    assert Timeline().opens().next(bound=Mode.APPROVE) == Start(0, Mode.APPROVE)
    assert Timeline(rule(mode=Mode.APPROVE)).opens(mode="shadow").next() == Start(0, Mode.SHADOW)


# --- approvals ---


def asking(**detail) -> Timeline:
    until = (START + timedelta(minutes=15)).isoformat()
    return Timeline().opens().say(K.APPROVAL_REQUESTED, **{"rung": 0, "until": until, **detail})


def test_a_request_for_approval_waits_for_its_answer_and_silence_means_no():
    timeline = asking(reason="approval_pending")
    assert timeline.state.phase is Phase.WAITING
    assert timeline.state.reason == Reason.APPROVAL_PENDING
    assert timeline.next() == Wait(START + timedelta(minutes=15))
    timeline.later(minutes=15)
    assert kinds(timeline.next()) == [K.APPROVAL_EXPIRED, K.HANDED_OVER]
    assert timeline.does().state.reason == Reason.APPROVAL_EXPIRED
    assert timeline.next() == Wait()


def test_an_approved_rung_asks_the_guards_and_a_denied_one_is_handed_over():
    until = (START + timedelta(minutes=15)).isoformat()
    approved = asking().say(K.APPROVED, by="ann", request=2, until=until)
    assert approved.next() == Start(0, Mode.AUTO)
    assert approved.state.approval == Approval(
        2, 0, START + timedelta(minutes=15), Answer.APPROVED, by="ann", why=""
    )
    denied = asking().say(K.APPROVAL_DENIED, by="ann", why="not at night")
    assert only(denied.next()) == (
        K.HANDED_OVER,
        {"reason": Reason.APPROVAL_DENIED, "text": "ann said no: not at night"},
    )


def test_an_approval_of_another_rung_says_nothing_of_this_one():
    assert asking(rung=1).next() == Start(0, Mode.AUTO)


def test_an_answer_without_a_request_changes_nothing():
    before = Timeline().opens()
    assert changed(before.state, seq=2) == before.say(K.APPROVED, by="ann").state


def test_a_waiting_request_ends_with_its_alerts_and_is_made_anew_when_they_return():
    assert only(asking().over().next())[1] == {"outcome": Outcome.SELF_RESOLVED}
    held = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    until = (START + timedelta(minutes=15)).isoformat()
    held.say(K.APPROVAL_REQUESTED, rung=1, until=until, reason="mode_approve").over().does()
    assert held.state.phase is Phase.RECOVERING
    assert held.state.reason == ""
    held.later(minutes=20).fires()
    assert held.state.phase is Phase.WAITING
    assert held.state.reason == ""
    assert held.next() == Start(1, Mode.AUTO)


def test_a_yes_that_was_given_before_the_alerts_ended_still_counts_when_they_return():
    held = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    until = (START + timedelta(minutes=15)).isoformat()
    held.say(K.APPROVAL_REQUESTED, rung=1, until=until).say(K.APPROVED, by="ann").over().does()
    assert held.state.phase is Phase.RECOVERING
    assert held.fires().state.approval.answer is Answer.APPROVED


def test_a_brake_does_not_keep_a_request_from_expiring_but_an_approved_rung_from_starting():
    timeline = asking().later(minutes=15)
    assert kinds(timeline.next(brake=BRAKE)) == [K.APPROVAL_EXPIRED, K.HANDED_OVER]
    approved = asking().say(K.APPROVED, by="ann")
    assert only(approved.next(brake=BRAKE))[1]["reason"] == Reason.BRAKE


# --- storms ---


def test_in_a_storm_no_rung_starts_and_that_is_said_once():
    storm = Storm(START - MINUTE, 212, START + timedelta(minutes=14))
    timeline = Timeline().opens()
    assert only(timeline.next(storm=storm)) == (
        K.REFUSED,
        {
            "reason": Reason.STORM,
            "text": "212 targets in 5m (more than 10 are a storm), since 1m, over in 14m at the earliest",
        },
    )
    assert timeline.does(storm=storm).next(storm=storm) == Wait(storm.until)
    assert timeline.next() == Start(0, Mode.AUTO)


def test_a_storm_does_not_stop_what_has_begun():
    storm = Storm(START, 212, START + timedelta(minutes=15))
    timeline = Timeline(rule(rung(steps=2))).opens().begins().done()
    assert timeline.next(storm=storm) == Act(Ref(0, Role.DO, 1), 1)
    assert isinstance(incident(Phase.REVERTING).next(storm=storm), Act)


# --- rungs that are skipped, that run once, that go on ---


def test_a_skipped_rung_leaves_the_next_one_to_be_tried():
    timeline = Timeline(rule(rung(), rung())).opens().say(K.REFUSED, reason="cooldown")
    timeline.say(K.RUNG_SKIPPED, rung=0, reason="precondition_failed")
    assert timeline.state.phase is Phase.OPEN
    assert timeline.state.reason == ""
    assert timeline.next() == Start(1, Mode.AUTO)


def test_a_rung_that_runs_once_is_skipped_in_a_chain_of_flaps():
    timeline = Timeline(rule(rung(once=True), rung())).opens(used=["a way out"], follows="INC-0")
    kind, detail = only(timeline.next())
    assert (kind, detail["rung"], detail["reason"]) == (K.RUNG_SKIPPED, 0, Reason.ONCE_USED)
    assert timeline.does().next() == Start(1, Mode.AUTO)


def test_a_rung_that_runs_once_is_remembered_when_it_has_run():
    timeline = Timeline(rule(rung(once=True))).opens().begins(name="a way out", once=True)
    assert timeline.state.used == {"a way out"}
    assert Timeline().opens().begins(name="a way out").state.used == frozenset()


@pytest.mark.parametrize("verdict", ["healthy", "unhealthy", "unknown"])
def test_a_rung_that_goes_on_climbs_whatever_its_verdict_and_stays(verdict):
    timeline = Timeline(rule(rung(go_on=True), rung())).opens().verifying().later(59).asked(verdict)
    if verdict != "healthy":
        timeline.later(1)
    assert only(timeline.next()) == (K.RUNG_HELD, {"rung": 0, "verdict": verdict, "go_on": True})
    assert timeline.does().state.phase is Phase.OPEN
    assert timeline.state.held == (0,)
    assert timeline.next() == Start(1, Mode.AUTO)


def test_a_rung_that_goes_on_without_probes_climbs_at_once():
    timeline = Timeline(rule(rung(go_on=True, verify=()), rung())).opens().verifying()
    assert only(timeline.next())[0] is K.RUNG_HELD


def test_a_rung_that_goes_on_fails_like_any_other_when_a_step_fails():
    timeline = Timeline(rule(rung(go_on=True), rung())).opens().begins().step(K.STEP_FAILED)
    assert only(timeline.next())[0] is K.RUNG_FAILED


# --- the end of a brake ---


def test_the_release_of_a_brake_is_a_line_of_whom_it_stopped():
    timeline = incident(Phase.REVERTING).does(brake=BRAKE)
    assert timeline.state.reason == Reason.BRAKE
    assert only(timeline.next())[0] is K.BRAKE_RELEASED
    assert timeline.does().state.reason == ""
    assert isinstance(timeline.next(), Act)

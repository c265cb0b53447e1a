"""What an incident does next until a rung has helped or has not: DESIGN 5.2 rows 1 to 4, and 5.4, as tables."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.timelines import (
    BRAKE,
    START,
    Timeline,
    acting,
    handed_over_undecided,
    incident,
    keeps,
    kinds,
    only,
    probe,
    rule,
    rung,
    seconds,
    step,
    undecided,
)

from stopgap.guard import Reason
from stopgap.incident import Cause, EventKind as K, Outcome, Phase, Ref, Role
from stopgap.moves import Act, Ask, Record, Settle, Start, TakeBack, Wait
from stopgap.rule import Limits, Mode
from stopgap.storm import Storm

DO, ACTIVATE = Ref(0, Role.DO, 0), Ref(0, Role.ACTIVATE, 0)
REVERT, REACTIVATE = Ref(0, Role.REVERT, 0), Ref(0, Role.REACTIVATE, 0)
MINUTE = timedelta(minutes=1)


# --- open, waiting (5.2 row 1) ---


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.WAITING])
def test_a_firing_alert_starts_the_first_rung(phase):
    assert incident(phase).next() == Start(0, Mode.AUTO)


def test_a_refused_request_is_asked_again_at_its_instant_and_not_before():
    timeline = incident(Phase.WAITING)
    assert timeline.next(retry_at=START + MINUTE) == Wait(START + MINUTE)
    assert timeline.later(60).next(retry_at=START + MINUTE) == Start(0, Mode.AUTO)


def test_when_a_brake_is_off_the_guards_are_asked_at_once_whatever_they_said_before_it():
    timeline = incident(Phase.WAITING).does(brake=BRAKE).does()
    assert timeline.words[-2:] == ["refused", "brake_released"]
    assert timeline.next(retry_at=START + MINUTE) == Start(0, Mode.AUTO)


def test_when_a_storm_is_over_the_guards_are_asked_at_once_whatever_they_said_before_it():
    storm = Storm(START, targets=12, until=START + MINUTE)
    timeline = incident(Phase.WAITING).does(storm=storm)
    assert timeline.next(storm=storm) == Wait(START + MINUTE)
    assert timeline.later(60).next(retry_at=START + 9 * MINUTE) == Start(0, Mode.AUTO)


def test_what_kept_the_next_rung_from_starting_keeps_nothing_from_being_taken_back():
    timeline = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    timeline.say(K.REFUSED, reason="outside_window").over().does().asked().later(minutes=5).asked()
    assert timeline.next(retry_at=START + timedelta(hours=9)) == TakeBack(Cause.RECOVERED, (0,))


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.WAITING])
def test_over_with_nothing_held_closes_as_self_resolved(phase):
    assert only(incident(phase).over().next()) == (K.CLOSED, {"outcome": Outcome.SELF_RESOLVED})


@pytest.mark.parametrize("waiting", [False, True])
def test_over_with_a_kept_rung_leads_to_recovering(waiting):
    timeline = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    if waiting:
        timeline.say(K.REFUSED, reason="cooldown")
    assert only(timeline.over().next()) == (K.RESOLVED, {})


def test_it_closes_only_when_its_last_alert_is_over():
    timeline = Timeline().opens("a", "b").over("a")
    assert timeline.next() == Start(0, Mode.AUTO)
    assert kinds(timeline.over("b").next()) == [K.CLOSED]


@pytest.mark.parametrize(
    ("own", "rules", "bound", "move"),
    [
        ("auto", Mode.AUTO, Mode.AUTO, Mode.AUTO),
        ("shadow", Mode.AUTO, Mode.AUTO, Mode.SHADOW),
        ("auto", Mode.SHADOW, Mode.AUTO, Mode.SHADOW),
        ("auto", Mode.AUTO, Mode.SHADOW, Mode.SHADOW),
        ("auto", Mode.APPROVE, Mode.SHADOW, Mode.SHADOW),
    ],
)
def test_the_most_careful_mode_counts(own, rules, bound, move):
    assert Timeline(rule(mode=rules)).opens(mode=own).next(bound=bound) == Start(0, move)


@pytest.mark.parametrize(
    ("timeline", "circumstances", "reason"),
    [
        (Timeline().opens(flaw="unsafe_label"), {}, "unsafe_label"),
        (Timeline().opens(), {"rule_removed": True}, Reason.RULE_REMOVED),
        (Timeline(rule(ladder=())).opens(), {}, "ladder_exhausted"),
        (Timeline().opens(rung=1), {}, "ladder_exhausted"),
    ],
)
def test_what_no_time_lifts_is_handed_over_once(timeline, circumstances, reason):
    kind, detail = only(timeline.next(**circumstances))
    assert (kind, detail["reason"], "stuck" in detail) == (K.HANDED_OVER, reason, False)
    assert timeline.does(**circumstances).next(**circumstances) == Wait()
    assert only(timeline.over().next())[1] == {"outcome": Outcome.HANDED_OVER}


def test_a_ladder_without_a_further_rung_says_why():
    assert only(Timeline().opens(rung=1).next())[1]["text"] == "the ladder has no further rung"
    failed = incident(Phase.VERIFYING).say(K.RUNG_FAILED).reverting(Cause.RUNG_FAILED).say(K.REVERTED)
    assert only(failed.next())[1]["text"] == "no rung of the ladder helped"


def test_shadow_plans_once_and_closes_as_shadow_when_its_alerts_are_over():
    timeline = Timeline().opens(mode="shadow")
    assert timeline.next() == Start(0, Mode.SHADOW)
    assert timeline.say(K.SHADOW_PLANNED, rung=0).next() == Wait()
    assert timeline.fires().joins().next() == Wait()
    assert only(timeline.over("a", "b").next())[1] == {"outcome": Outcome.SHADOW}


# --- mitigating (row 2) ---


def test_the_acts_of_a_rung_follow_one_another_steps_first():
    timeline = Timeline(rule(rung(steps=2, activate=1))).opens().begins()
    assert timeline.done().next() == Act(Ref(0, Role.DO, 1), 1)
    assert timeline.acts(place=1).done(place=1).next() == Act(ACTIVATE, 1)


def test_a_rung_is_finished_when_its_alerts_are_over_meanwhile_and_then_recovers():
    timeline = Timeline(rule(rung(steps=2), rung())).opens().begins().over().done()
    assert timeline.next() == Act(Ref(0, Role.DO, 1), 1)
    assert only(timeline.acts(place=1).done(place=1).next()) == (K.RESOLVED, {})


def test_a_rung_that_fails_when_its_alerts_are_over_is_taken_back_and_climbs_no_further():
    timeline = Timeline(rule(rung(), rung())).opens().begins().over().step(K.STEP_FAILED).does()
    assert timeline.next() == TakeBack(Cause.RUNG_FAILED, (0,))
    timeline.reverting(Cause.RUNG_FAILED).undoes().undone(changed=False).does()
    assert only(timeline.next()) == (K.CLOSED, {"outcome": Outcome.SELF_RESOLVED})


@pytest.mark.parametrize(
    ("spec", "failure", "expected"),
    [
        (step(retries=1), {"n": 1, "retry_at": START}, Act(DO, 2)),
        (step(retries=1), {"n": 1, "retry_at": START + MINUTE}, Wait(START + MINUTE)),
        (step(retries=1), {"n": 2, "retry_at": START}, K.RUNG_FAILED),
        (step(retries=1), {"n": 1}, K.RUNG_FAILED),
        (step(), {"n": 1, "retry_at": START}, K.RUNG_FAILED),
        (step(optional=True), {"n": 1}, K.STEP_SKIPPED),
        (step(optional=True, retries=1), {"n": 1, "retry_at": START}, Act(DO, 2)),
    ],
)
def test_a_failed_step_is_tried_again_skipped_or_fails_its_rung(spec, failure, expected):
    timeline = Timeline(rule(rung(spec))).opens().begins()
    if "retry_at" in failure:
        failure = {**failure, "retry_at": failure["retry_at"].isoformat()}
    move = timeline.step(K.STEP_FAILED, **failure).next()
    assert (only(move)[0] if isinstance(move, Record) else move) == expected


def test_a_skipped_step_lets_the_rung_go_on():
    spec = rung(step(optional=True), step())
    timeline = Timeline(rule(spec)).opens().begins().step(K.STEP_FAILED).does()
    assert timeline.next() == Act(Ref(0, Role.DO, 1), 1)


def test_a_rung_without_acts_waits_instead_of_failing():
    assert Timeline(rule(rung(steps=0))).opens().say(K.RUNG_STARTED).next() == Wait()


# --- unknown outcomes (5.4) ---

REFS = (DO, ACTIVATE, REVERT, REACTIVATE)


@pytest.mark.parametrize("ref", REFS, ids=str)
def test_an_act_without_result_is_settled_by_observation(ref):
    assert acting(ref).next() == Settle(ref)


@pytest.mark.parametrize("ref", REFS, ids=str)
def test_an_unknown_outcome_is_looked_at_at_once_and_again_after_five_seconds(ref):
    timeline = acting(ref).step(K.STEP_UNKNOWN, role=ref.role)
    assert timeline.next() == Settle(ref)
    timeline.step(K.STEP_UNKNOWN, role=ref.role, looks=1)
    assert timeline.next() == Wait(timeline.now + seconds(5))
    assert timeline.later(5).next() == Settle(ref)


@pytest.mark.parametrize("ref", REFS, ids=str)
def test_an_unclear_outcome_is_handed_over_and_left_to_a_person(ref):
    timeline = acting(ref).step(K.STEP_UNKNOWN, role=ref.role, unclear=True)
    kind, detail = only(timeline.next())
    assert (kind, detail["reason"], detail["stuck"]) == (K.HANDED_OVER, "unknown_outcome", True)
    move = timeline.does().next()
    assert isinstance(move, Wait)
    assert timeline.over().next() == move


@pytest.mark.parametrize(
    ("role", "reverts", "expected"),
    [
        ("do", False, K.STEP_SKIPPED),  # nobody needs it, and there is nothing of it to take back
        ("do", True, K.HANDED_OVER),
        ("activate", True, K.STEP_SKIPPED),
    ],
)
def test_an_optional_act_of_unclear_outcome_holds_nobody_up_unless_it_were_to_be_taken_back(
    role, reverts, expected
):
    optional = replace(rung(), do=(step(optional=True),), activate=(step(optional=True),))
    timeline = Timeline(rule(optional)).opens().begins(reverts=[reverts])
    if role == "activate":
        timeline.done().acts(role="activate")
    kind, detail = only(timeline.step(K.STEP_UNKNOWN, role=role, unclear=True).next())
    assert kind == expected
    assert timeline.does().state.handed_over is (expected == K.HANDED_OVER)
    assert detail.get("why", "optional") == "optional"


def test_nothing_is_left_to_a_person_when_nothing_is_held_and_its_alerts_are_over():
    timeline = Timeline().opens().begins(resources=[], reverts=[False])
    timeline.step(K.STEP_UNKNOWN, unclear=True).does()
    assert timeline.next() == Wait()
    assert only(timeline.over().next())[1] == {"outcome": Outcome.HANDED_OVER}


@pytest.mark.parametrize("role", ["do", "activate"])
def test_a_persons_revert_settles_an_act_whose_result_a_crash_has_hidden(role):
    timeline = Timeline(rule(rung(activate=1))).opens().begins()
    if role == "activate":
        timeline.done().acts(role="activate")
    timeline.person_reverts()
    assert timeline.next() == Settle(Ref(0, Role(role), 0))
    assert timeline.step(K.STEP_UNKNOWN, role=role, looks=1).next() == Act(REVERT, 1)


@pytest.mark.parametrize("came_of_it", [K.STEP_SUCCEEDED, K.STEP_FAILED, K.STEP_UNKNOWN])
def test_a_persons_revert_takes_back_what_was_under_way_whatever_came_of_it(came_of_it):
    assert incident(Phase.MITIGATING).person_reverts().step(came_of_it).next() == Act(REVERT, 1)


def test_a_persons_revert_takes_back_a_stuck_rung_of_unclear_outcome():
    timeline = acting(ACTIVATE).step(K.STEP_UNKNOWN, role="activate", unclear=True).does().person_reverts()
    assert timeline.next() == Act(REVERT, 1)
    assert timeline.undoes().undone(changed=False).next() == Act(REACTIVATE, 1)
    timeline.acts(role="reactivate").done(role="reactivate").does()
    assert (timeline.state.phase, timeline.next()) == (Phase.OPEN, Wait())
    assert only(timeline.over().next())[1] == {"outcome": Outcome.REVERTED}


# --- a failed rung ---


@pytest.mark.parametrize("phase", [Phase.MITIGATING, Phase.VERIFYING])
def test_a_failed_rung_is_taken_back(phase):
    timeline = incident(phase).say(K.RUNG_FAILED, rung=0)
    assert timeline.next() == TakeBack(Cause.RUNG_FAILED, (0,))


@pytest.mark.parametrize("phase", [Phase.MITIGATING, Phase.VERIFYING])
def test_a_refused_taking_back_of_a_failed_rung_is_asked_again_at_its_instant(phase):
    timeline = incident(phase).say(K.RUNG_FAILED, rung=0).say(K.REFUSED, reason="target_busy")
    again_at = timeline.now + seconds(30)
    assert timeline.next(retry_at=again_at).until == again_at
    assert timeline.later(30).next(retry_at=again_at) == TakeBack(Cause.RUNG_FAILED, (0,))


@pytest.mark.parametrize("phase", [Phase.MITIGATING, Phase.VERIFYING])
def test_a_failed_rung_may_stay_and_the_next_one_starts(phase):
    timeline = incident(phase, rule(keeps(), rung())).say(K.RUNG_FAILED, rung=0)
    assert only(timeline.next()) == (K.RUNG_HELD, {"rung": 0, "why": "kept after failure"})
    assert timeline.does().next() == Start(1, Mode.AUTO)


def test_after_a_failed_rung_the_next_one_starts_and_after_the_last_it_is_handed_over():
    timeline = Timeline(rule(rung(), rung())).opens()
    for number in (0, 1):
        assert timeline.next() == Start(number, Mode.AUTO)
        timeline.begins(number).step(K.STEP_FAILED, number).does()
        assert timeline.next() == TakeBack(Cause.RUNG_FAILED, (number,))
        timeline.reverting(Cause.RUNG_FAILED).undoes(number).undone(number).does()
    assert only(timeline.next())[1]["reason"] == "ladder_exhausted"


def test_a_rung_whose_first_step_could_not_be_observed_has_nothing_to_take_back():
    timeline = Timeline(rule(rung(), rung())).opens()
    timeline.say(K.RUNG_STARTED, do=1, reverts=[True], resources=["r0"]).step(K.STEP_FAILED, n=1).does()
    assert timeline.next() == TakeBack(Cause.RUNG_FAILED, (0,))
    assert kinds(timeline.reverting(Cause.RUNG_FAILED).next()) == [K.REVERTED]
    assert timeline.does().next() == Start(1, Mode.AUTO)


def test_alerts_over_while_a_failed_rung_is_taken_back_recover_what_was_kept_before():
    timeline = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    timeline.begins(1).step(K.STEP_FAILED, 1).does()
    timeline.say(K.REVERT_STARTED, cause="rung_failed", rungs=[1]).over()
    assert timeline.next() == Act(Ref(1, Role.REVERT, 0), 1)
    timeline.undoes(1).undone(1).does()
    assert only(timeline.next()) == (K.RESOLVED, {})


# --- verifying (row 4) ---


def test_alerts_over_while_verifying_lead_to_recovering_and_no_rung_climbs():
    timeline = incident(Phase.VERIFYING, rule(rung(), rung())).over()
    assert only(timeline.next()) == (K.RESOLVED, {})
    assert timeline.does().next() == Ask(("recovered/0",))


def test_a_probe_is_first_asked_after_its_delay_and_then_every_five_seconds():
    timeline = incident(Phase.VERIFYING, rule(rung(verify=(probe(after=seconds(10)),))))
    assert timeline.next() == Wait(START + seconds(10))
    assert timeline.later(10).next() == Ask(("verify/0",))
    assert timeline.asked("unhealthy").next() == Wait(START + seconds(15))


def test_all_probes_healthy_for_their_time_mitigate():
    both = (probe(), probe(for_=seconds(7)))
    timeline = incident(Phase.VERIFYING, rule(rung(verify=both))).asked()
    assert timeline.later(5).asked().next() == Wait(START + seconds(10))
    move = timeline.later(5).asked().next()
    assert kinds(move) == [K.RUNG_HELD, K.MITIGATED]
    assert move.events[1][1] == {"rung": 0, "verified": True}


def test_a_rung_without_probes_is_mitigated_and_says_that_nothing_proved_it():
    move = incident(Phase.VERIFYING, rule(rung(verify=()))).next()
    assert [detail.get("verified", detail.get("verdict")) for _, detail in move.events] == ["unknown", False]


def test_a_rung_with_nothing_to_take_back_is_not_held():
    timeline = Timeline().opens().verifying(resources=[], reverts=[False]).asked()
    assert kinds(timeline.next()) == [K.MITIGATED]
    timeline.does().recovering()
    assert only(timeline.next()) == (K.CLOSED, {"outcome": Outcome.RECOVERED})


def test_unhealthy_fails_the_rung_at_the_end_of_within_and_not_before():
    timeline = incident(Phase.VERIFYING).asked("unhealthy").later(58).asked("unhealthy")
    assert timeline.next() == Wait(START + seconds(60))
    kind, detail = only(timeline.later(2).next())
    assert (kind, detail["why"]) == (K.RUNG_FAILED, "unhealthy: verify/0")


@pytest.mark.parametrize(
    ("verdicts", "kind"),
    [
        (("healthy", "unhealthy"), K.RUNG_FAILED),
        (("unknown", "unhealthy"), K.RUNG_FAILED),
        (("healthy", "unknown"), K.RUNG_HELD),
        (("unknown", "unknown"), K.RUNG_HELD),
    ],
)
def test_the_worst_verdict_decides_at_the_end(verdicts, kind):
    timeline = incident(Phase.VERIFYING, rule(rung(verify=(probe(), probe())))).later(58)
    for place, verdict in enumerate(verdicts):
        timeline.answers(f"verify/{place}", verdict)
    assert only(timeline.later(2).next())[0] is kind


def test_unknown_at_the_end_is_held_told_once_asked_on_each_minute_and_handed_over():
    timeline = incident(Phase.VERIFYING).later(58).asked("unknown").later(2)
    assert only(timeline.next()) == (K.RUNG_HELD, {"rung": 0, "verdict": "unknown"})
    timeline.does()
    assert timeline.next() == Wait(START + seconds(118))
    give_up_at = START + seconds(60) + Limits().unknown_for
    while timeline.now < give_up_at:
        move = timeline.next()
        if isinstance(move, Ask):
            timeline.asked("unknown")
        else:
            timeline.now = move.until
    kind, detail = only(timeline.next())
    assert (kind, detail["reason"], "stuck" in detail) == (K.HANDED_OVER, "verdict_unknown", False)
    assert timeline.does().state.phase is Phase.VERIFYING
    assert isinstance(timeline.next(), Wait)


@pytest.mark.parametrize(
    ("timeline", "verdict", "then"),
    [
        (undecided, "healthy", [K.RUNG_HELD, K.MITIGATED]),
        (undecided, "unhealthy", [K.RUNG_FAILED]),
        (handed_over_undecided, "healthy", [K.RUNG_HELD, K.MITIGATED]),
        (handed_over_undecided, "unhealthy", None),
        (handed_over_undecided, "unknown", None),
    ],
)
def test_a_late_answer_counts_but_fails_no_rung_that_a_person_has(timeline, verdict, then):
    timeline = timeline().later(minutes=1).asked(verdict)
    move = timeline.next()
    assert (kinds(move) if isinstance(move, Record) else None) == then


def test_a_handed_over_rung_is_still_taken_back_after_recovery():
    timeline = handed_over_undecided().recovering().asked().later(minutes=5).asked()
    assert timeline.next() == TakeBack(Cause.RECOVERED, (0,))
    timeline.reverting().undoes().undone().does()
    assert only(timeline.next()) == (K.CLOSED, {"outcome": Outcome.HANDED_OVER})


def test_healthy_for_less_than_its_time_at_the_end_is_given_that_time():
    slow = rule(rung(verify=(probe(for_=seconds(30)),)))
    timeline = incident(Phase.VERIFYING, slow).later(50).asked().later(9).asked().later(1)
    assert timeline.next() == Wait(START + seconds(64))
    timeline.later(20).asked()
    assert kinds(timeline.next()) == [K.RUNG_HELD, K.MITIGATED]


def test_firing_again_starts_the_verification_anew():
    timeline = incident(Phase.VERIFYING).asked("unhealthy").recovering().later(minutes=9).fires()
    assert (timeline.state.phase, timeline.next()) == (Phase.VERIFYING, Ask(("verify/0",)))

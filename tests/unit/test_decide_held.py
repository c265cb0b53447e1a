"""What an incident does next with what it holds: DESIGN 5.2 rows 5 to 7, brake, leases and outcomes, as tables."""

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
)

from stopgap.decide import decide
from stopgap.guard import Reason
from stopgap.incident import Cause, EventKind as K, Outcome, Phase, Ref, Role
from stopgap.moves import Act, Ask, Circumstances, Settle, Start, TakeBack, Wait
from stopgap.rule import Limits, Mode, OnFailure
from stopgap.transitions import resume

REVERT, REACTIVATE = Ref(0, Role.REVERT, 0), Ref(0, Role.REACTIVATE, 0)
MINUTE = timedelta(minutes=1)


# --- mitigated (row 5) ---


def test_alerts_over_while_mitigated_lead_to_recovering():
    assert only(incident(Phase.MITIGATED).over().next()) == (K.RESOLVED, {})


def test_a_held_rung_is_asked_again_each_minute():
    timeline = incident(Phase.MITIGATED)
    assert timeline.next() == Wait(START + MINUTE)
    assert timeline.later(60).next() == Ask(("recheck/0",))
    assert timeline.asked().next() == Wait(START + 2 * MINUTE)


def test_a_mitigation_is_lost_after_three_unhealthy_answers_in_a_row_said_once_and_nothing_climbs():
    timeline = incident(Phase.MITIGATED, rule(rung(), rung()))
    for verdict in ("unhealthy", "unhealthy", "unknown", "unhealthy", "unhealthy"):
        timeline.later(60).asked(verdict)
        assert isinstance(timeline.next(), Wait)
    kind, detail = only(timeline.later(60).asked("unhealthy").next())
    assert (kind, detail["why"]) == (K.MITIGATION_LOST, "unhealthy 3 times in a row: recheck/0")
    assert isinstance(timeline.does().next(), Wait)
    assert isinstance(timeline.later(60).asked("unhealthy").next(), Wait)


def test_a_loss_is_said_once_while_another_probe_stays_healthy():
    timeline = incident(Phase.MITIGATED, rule(rung(verify=(probe(), probe()))))
    for _ in range(3):
        timeline.later(60).answers("recheck/0", "unhealthy").answers("recheck/1")
    timeline.does()
    for _ in range(5):
        timeline.later(60).answers("recheck/0", "unhealthy").answers("recheck/1")
        assert isinstance(timeline.next(), Wait)


def test_a_second_loss_after_health_is_said_again():
    timeline = incident(Phase.MITIGATED)
    for _ in range(2):
        for _ in range(3):
            timeline.later(60).asked("unhealthy")
        assert kinds(timeline.next()) == [K.MITIGATION_LOST]
        timeline.does().later(60).asked("healthy")


# --- recovering (row 6) ---


def test_recovery_is_proven_by_health_for_the_hold_and_a_fresh_answer_at_its_end():
    timeline = incident(Phase.RECOVERING).asked()
    began = timeline.now
    for minute in range(1, 5):
        assert timeline.next() == Wait(began + minute * MINUTE)
        timeline.later(60).asked()
    timeline.later(60)
    assert timeline.next() == Ask(("recovered/0",))
    assert timeline.asked().next() == TakeBack(Cause.RECOVERED, (0,))


def test_the_end_of_the_hold_is_asked_at_exactly_whatever_the_regular_interval():
    timeline = incident(Phase.RECOVERING, rule(recovered=(probe(every=timedelta(hours=1)),))).asked()
    assert timeline.next() == Wait(timeline.now + Limits().hold)
    assert timeline.later(minutes=5).asked().next() == TakeBack(Cause.RECOVERED, (0,))


def test_every_probe_of_the_cause_answers_anew_when_the_last_has_been_healthy_for_the_hold():
    hourly = probe(every=timedelta(hours=1))
    timeline = incident(Phase.RECOVERING, rule(recovered=(hourly, probe()))).answers("recovered/0")
    timeline.answers("recovered/1", "unhealthy").later(60).answers("recovered/1")
    for _ in range(5):
        timeline.later(60).answers("recovered/1")
    assert timeline.next() == Ask(("recovered/0",))
    assert timeline.asked().next() == TakeBack(Cause.RECOVERED, (0,))


@pytest.mark.parametrize("verdict", ["unhealthy", "unknown"])
def test_what_is_not_healthy_stays_held_is_asked_each_minute_and_starts_the_hold_anew(verdict):
    timeline = incident(Phase.RECOVERING).asked().later(minutes=4).asked(verdict)
    assert timeline.next() == Wait(timeline.now + MINUTE)
    timeline.later(60).asked()
    for _ in range(4):
        timeline.later(60).asked()
        assert isinstance(timeline.next(), Wait)
    assert timeline.later(60).asked().next() == TakeBack(Cause.RECOVERED, (0,))


def test_that_nobody_can_say_is_told_when_unknown_for_is_over_and_not_only_at_the_next_question():
    limits = Limits(unknown_for=seconds(90))
    timeline = incident(Phase.RECOVERING, rule(limits=limits)).later(0).asked("unknown")
    told_at = timeline.state.probes["recovered/0"].since + seconds(90)
    timeline.later(60).asked("unknown")
    assert timeline.next() == Wait(told_at)
    kind, detail = only(timeline.later(30).next())
    assert (kind, detail["why"]) == (
        K.PROBE_UNKNOWN,
        "nobody can say whether the cause is gone: held, and asked on",
    )
    assert timeline.does().next() == Wait(told_at + seconds(30))


def test_nothing_is_taken_back_on_a_probe_that_never_answered():
    timeline = incident(Phase.RECOVERING, rule(recovered=(probe(), probe(after=timedelta(hours=1)))))
    timeline.answers("recovered/0").later(minutes=10).answers("recovered/0")
    assert isinstance(timeline.next(), Wait)


def test_a_restart_starts_the_hold_anew():
    timeline = incident(Phase.RECOVERING).asked().later(minutes=5)
    resumed = resume(timeline.state, timeline.now)
    assert decide(resumed, timeline.rule, Circumstances(timeline.now)) == Ask(("recovered/0",))
    timeline.asked()
    assert timeline.next() == TakeBack(Cause.RECOVERED, (0,))
    resumed = resume(timeline.state, timeline.now + seconds(1))
    assert isinstance(decide(resumed, timeline.rule, Circumstances(timeline.now + seconds(1))), Wait)


def test_without_a_probe_of_the_cause_it_stays_held_and_says_so_once():
    timeline = incident(Phase.RECOVERING, rule(recovered=()))
    kind, detail = only(timeline.next())
    assert (kind, detail["role"], "probe" in detail) == (K.PROBE_UNKNOWN, "recovered", False)
    assert isinstance(timeline.does().next(), Wait)
    assert isinstance(timeline.later(days=1).does().next(), Wait)
    assert timeline.words[-2:] == ["probe_unknown", "lease_expired"]


def test_a_rung_that_is_kept_on_recovery_closes_as_kept_and_is_said():
    timeline = incident(Phase.RECOVERING, rule(rung(on_resolve=OnFailure.KEEP)))
    assert kinds(timeline.next()) == [K.KEPT, K.CLOSED]
    assert timeline.does().state.outcome is Outcome.KEPT


def test_only_what_is_not_kept_is_taken_back_and_then_it_closes_as_kept():
    ladder = rule(rung(on_resolve=OnFailure.KEEP, on_failure=OnFailure.KEEP), rung())
    timeline = Timeline(ladder).opens().begins().step(K.STEP_FAILED).does().does().mitigated(1).recovering()
    move = timeline.asked().later(minutes=5).asked().next()
    assert move == TakeBack(Cause.RECOVERED, (1,))
    timeline.say(K.REVERT_STARTED, cause="recovered", rungs=[1]).undoes(1).undone(1).does()
    assert kinds(timeline.next()) == [K.KEPT, K.CLOSED]


def test_a_refused_taking_back_is_asked_again_at_its_instant_and_its_probes_meanwhile():
    timeline = incident(Phase.RECOVERING).asked().later(minutes=5).asked()
    timeline.say(K.REFUSED, reason="target_busy")
    again_at = timeline.now + 2 * MINUTE
    assert timeline.next(retry_at=again_at) == Wait(timeline.now + MINUTE)
    assert timeline.later(60).next(retry_at=again_at) == Ask(("recovered/0",))


@pytest.mark.parametrize(("flaps", "minutes"), [(0, 5), (1, 10), (2, 20)])
def test_each_flap_doubles_the_hold(flaps, minutes):
    timeline = Timeline().opens(flaps=flaps, follows="INC-0").mitigated().recovering().asked()
    for _ in range(minutes - 1):
        timeline.later(60).asked()
        assert isinstance(timeline.next(), Wait)
    assert timeline.later(60).asked().next() == TakeBack(Cause.RECOVERED, (0,))


def test_the_third_flap_holds_until_a_person_reverts():
    timeline = Timeline().opens(flaps=3, follows="INC-0").mitigated().recovering()
    assert "held until a person reverts" in only(timeline.next())[1]["why"]
    assert isinstance(timeline.does().next(), Wait)
    assert timeline.person_reverts().next() == Act(REVERT, 1)


def test_a_flap_starts_at_the_rung_that_held():
    assert Timeline(rule(rung(), rung())).opens(rung=1, follows="INC-0").next() == Start(1, Mode.AUTO)


# --- reverting (row 7) ---


def test_reverting_is_last_in_first_out_and_makes_each_rung_effective_after_its_steps():
    ladder = rule(rung(steps=2, activate=1, on_failure=OnFailure.KEEP), rung(steps=1, activate=1))
    timeline = Timeline(ladder).opens().verifying().say(K.RUNG_FAILED, rung=0).does()
    timeline.mitigated(1).person_reverts()
    taken = []
    while isinstance(move := timeline.next(), Act):
        taken.append(str(move.ref))
        timeline.acts(*(move.ref.rung, move.ref.step, move.ref.role))
        kind = K.STEP_REVERTED if move.ref.role is Role.REVERT else K.STEP_SUCCEEDED
        timeline.step(kind, move.ref.rung, move.ref.step, move.ref.role)
    assert taken == ["1/0/revert", "1/0/reactivate", "0/1/revert", "0/0/revert", "0/0/reactivate"]
    assert kinds(move) == [K.REVERTED]


def test_a_step_without_revert_and_one_that_never_ran_are_left_out():
    timeline = Timeline(rule(rung(steps=3))).opens().begins(reverts=[True, False, True]).done()
    timeline.acts(place=1).step(K.STEP_FAILED, place=1).does().reverting(Cause.RUNG_FAILED)
    assert timeline.next() == Act(REVERT, 1)
    assert kinds(timeline.undoes().undone().next()) == [K.REVERTED]


@pytest.mark.parametrize(
    ("activated", "result", "reactivates"),
    [
        (True, (K.STEP_REVERTED, {"changed": True}), True),
        (True, (K.STEP_REVERTED, {"changed": False}), True),
        (False, (K.STEP_REVERTED, {"changed": False}), False),
        (True, (K.DRIFTED, {"detail": "somebody set it"}), False),
    ],
)
def test_a_revert_is_activated_when_anything_could_still_be_in_effect(activated, result, reactivates):
    timeline = Timeline(rule(rung(activate=1))).opens().begins().done()
    if activated:
        timeline.acts(role="activate").done(role="activate")
    kind, detail = result
    timeline.person_reverts().undoes().step(kind, role="revert", **detail)
    assert (timeline.next() == Act(REACTIVATE, 1)) is reactivates


def test_drift_leaves_that_resource_reverts_the_rest_and_says_so():
    timeline = Timeline(rule(rung(steps=2))).opens().verifying().person_reverts()
    timeline.undoes(place=1).step(K.DRIFTED, place=1, role="revert", detail="mode is odd")
    assert timeline.next() == Act(REVERT, 1)
    assert only(timeline.undoes().undone().next())[1]["drifted"] == ["mode is odd"]


def test_firing_again_while_reverting_after_recovery_is_finished_and_closes():
    timeline = incident(Phase.REVERTING).fires()
    assert timeline.next() == Act(REVERT, 1)
    assert only(timeline.undoes().undone().does().next()) == (K.CLOSED, {"outcome": Outcome.RECOVERED})


@pytest.mark.parametrize("role", ["revert", "reactivate"])
def test_a_failed_revert_stops_hands_over_and_waits_for_a_persons_second_revert(role):
    timeline = acting(REVERT if role == "revert" else REACTIVATE).step(K.REVERT_FAILED, role=role, n=1)
    kind, detail = only(timeline.next())
    assert (kind, detail["reason"], detail["stuck"]) == (K.HANDED_OVER, "revert_failed", True)
    assert isinstance(timeline.does().next(), Wait)
    assert isinstance(timeline.fires().next(), Wait)
    ref = Ref(0, Role(role), 0)
    assert timeline.person_reverts().next() == Act(ref, 2)
    timeline.acts(role=role, n=2).step(K.REVERT_FAILED, role=role, n=2)
    assert kinds(timeline.next()) == [K.HANDED_OVER]
    timeline.does().person_reverts().acts(role=role, n=3)
    timeline.step(K.STEP_REVERTED if role == "revert" else K.STEP_SUCCEEDED, role=role)
    if role == "revert":
        timeline.acts(role="reactivate").done(role="reactivate")
    assert kinds(timeline.next()) == [K.REVERTED]


def test_a_temporary_failure_of_a_revert_is_tried_again():
    timeline = incident(Phase.REVERTING, rule(rung(step(retries=2)))).undoes()
    again_at = timeline.now + seconds(2)
    timeline.step(K.REVERT_FAILED, role="revert", n=1, retry_at=again_at.isoformat())
    assert timeline.next() == Wait(again_at)
    assert timeline.later(2).next() == Act(REVERT, 2)


@pytest.mark.parametrize("phase", [Phase.MITIGATING, Phase.VERIFYING, Phase.MITIGATED])
def test_a_persons_revert_keeps_the_row_until_the_alerts_are_over(phase):
    timeline = incident(phase).person_reverts()
    if phase is Phase.MITIGATING:
        timeline.done()
    timeline.undoes().undone().does()
    assert timeline.next() == Wait()
    assert timeline.joins().fires().next() == Wait()
    assert only(timeline.over("a", "b").next()) == (K.CLOSED, {"outcome": Outcome.REVERTED})


def test_a_persons_revert_while_recovering_closes_when_done():
    timeline = incident(Phase.RECOVERING).person_reverts().undoes().undone().does()
    assert only(timeline.next()) == (K.CLOSED, {"outcome": Outcome.REVERTED})


@pytest.mark.parametrize(
    ("looks", "unclear", "found"), [(0, None, Settle(REACTIVATE)), (1, None, Wait), (2, True, K.HANDED_OVER)]
)
def test_a_persons_revert_takes_nothing_back_while_nobody_knows_what_became_of_the_last_act(
    looks, unclear, found
):
    timeline = Timeline(rule(rung(steps=2, activate=1))).opens().verifying().person_reverts()
    timeline.undoes(place=1).step(K.DRIFTED, place=1, role="revert", detail="mode is odd").undoes().undone()
    timeline.acts(role="reactivate").person_reverts()  # what drifted is to be taken back anew
    timeline.step(K.STEP_UNKNOWN, role="reactivate", n=1, looks=looks, unclear=unclear)
    move = timeline.next()
    assert isinstance(move, Wait) if found is Wait else move == found or kinds(move) == [found]


def test_a_persons_revert_takes_over_a_braked_one():
    timeline = incident(Phase.REVERTING).does(brake=BRAKE).person_reverts()
    assert timeline.next(brake=BRAKE) == Act(REVERT, 1)


def test_a_closed_incident_does_nothing():
    assert incident(Phase.CLOSED).fires().next() == Wait()
    stuck = Timeline().opens().say(K.HANDED_OVER, stuck=True).over().does()
    assert (stuck.state.phase, stuck.next()) == (Phase.CLOSED, Wait())


# --- brake ---


def braked_cases() -> dict[str, Timeline]:
    failed = incident(Phase.VERIFYING).say(K.RUNG_FAILED, rung=0)
    proven = incident(Phase.RECOVERING).asked().later(minutes=5).asked()
    return {
        "open": incident(Phase.OPEN),
        "waiting": incident(Phase.WAITING),
        "mitigating": Timeline(rule(rung(steps=2))).opens().begins().done(),
        "mitigating, unknown": incident(Phase.MITIGATING).step(K.STEP_UNKNOWN),
        "failed": failed,
        "recovered": proven,
        "reverting": incident(Phase.REVERTING),
        "reverting, unknown": incident(Phase.REVERTING).undoes(),
    }


@pytest.mark.parametrize("case", braked_cases())
def test_a_brake_stops_the_next_change_says_so_once_and_its_release_decides_anew(case):
    timeline = braked_cases()[case]
    free, phase = timeline.next(), timeline.state.phase
    assert isinstance(free, Start | Act | Settle | TakeBack)
    kind, detail = only(timeline.next(brake=BRAKE))
    assert (kind, detail) == (
        K.REFUSED,
        {"reason": Reason.BRAKE, "text": "global brake by ann: too much at once"},
    )
    assert isinstance(timeline.does(brake=BRAKE).next(brake=BRAKE), Wait)
    assert timeline.state.phase in (phase, Phase.WAITING)
    assert only(timeline.next())[0] is K.BRAKE_RELEASED
    assert timeline.does().next() == free


@pytest.mark.parametrize("phase", [Phase.VERIFYING, Phase.RECOVERING])
def test_probes_go_on_while_braked(phase):
    assert isinstance(incident(phase).next(brake=BRAKE), Ask)


def test_the_cause_is_asked_on_each_minute_while_the_brake_holds_the_taking_back():
    timeline = incident(Phase.RECOVERING).asked().later(minutes=5).asked().does(brake=BRAKE)
    assert timeline.next(brake=BRAKE) == Wait(timeline.now + MINUTE)
    assert timeline.later(60).next(brake=BRAKE) == Ask(("recovered/0",))
    timeline.does().asked("unhealthy")
    assert isinstance(timeline.next(), Wait)


def test_a_brake_with_an_end_is_waited_for():
    brake = type(BRAKE)(BRAKE.scope, "", "ann", "later", START, START + MINUTE)
    assert incident(Phase.OPEN).does(brake=brake).next(brake=brake) == Wait(START + MINUTE)


def test_a_braked_incident_closes_by_itself_when_its_alerts_are_over():
    assert kinds(incident(Phase.OPEN).does(brake=BRAKE).over().next(brake=BRAKE)) == [K.CLOSED]


@pytest.mark.parametrize("kind", [K.STEP_FAILED, K.STEP_UNKNOWN])
def test_what_changes_nothing_is_decided_while_braked(kind):
    timeline = incident(Phase.MITIGATING).step(kind, unclear=True)
    assert kinds(timeline.next(brake=BRAKE)) == [{K.STEP_FAILED: K.RUNG_FAILED}.get(kind, K.HANDED_OVER)]


@pytest.mark.parametrize("phase", [Phase.MITIGATED, Phase.RECOVERING])
def test_a_persons_revert_passes_the_brake(phase):
    assert incident(phase).person_reverts().next(brake=BRAKE) == Act(REVERT, 1)


# --- leases ---


def test_a_lease_is_told_at_three_quarters_at_its_end_and_then_hourly():
    timeline = incident(Phase.RECOVERING, rule(recovered=())).does()
    told = []
    while timeline.now <= START + timedelta(hours=7):
        move = timeline.next()
        if isinstance(move, Wait):
            timeline.now = move.until
        else:
            timeline.does()
            told.append((timeline.words[-1], (timeline.now - START) / timedelta(hours=1)))
    assert told == [
        ("lease_ending", 3),
        ("lease_expired", 4),
        ("lease_expired", 5),
        ("lease_expired", 6),
        ("lease_expired", 7),
    ]


def held_cases() -> dict[str, tuple[Timeline, dict]]:
    kept = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    approve = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    until = (START + timedelta(hours=9)).isoformat()
    kept.say(K.REFUSED, reason="target_busy")
    approve.say(K.APPROVAL_REQUESTED, rung=1, until=until, reason="approval_pending")
    failed = incident(Phase.VERIFYING).say(K.RUNG_FAILED, rung=0)
    stuck = acting(REVERT).step(K.REVERT_FAILED, role="revert", n=1).does()
    return {
        "waiting for another": (kept, {"retry_at": START + timedelta(hours=9)}),
        "waiting for an approval": (approve, {}),
        "half done and braked": (
            Timeline(rule(rung(steps=2))).opens().begins().done().does(brake=BRAKE),
            {"brake": BRAKE},
        ),
        "failed and braked": (failed.does(brake=BRAKE), {"brake": BRAKE}),
        "verifying": (handed_over_undecided(), {}),
        "mitigated": (incident(Phase.MITIGATED, rule(rung(verify=()))), {}),
        "recovering": (incident(Phase.RECOVERING), {}),
        "reverting and braked": (incident(Phase.REVERTING).does(brake=BRAKE), {"brake": BRAKE}),
        "stuck": (stuck, {}),
    }


@pytest.mark.parametrize("case", held_cases())
def test_whatever_holds_tells_of_its_lease_in_time(case):
    timeline, circumstances = held_cases()[case]
    timeline.now = START + timedelta(hours=3)
    assert kinds(timeline.next(**circumstances)) == [K.LEASE_ENDING]
    move = timeline.does(**circumstances).next(**circumstances)
    if isinstance(move, Wait):
        assert move.until is not None
        assert move.until <= START + timedelta(hours=4)
    timeline.now = START + timedelta(hours=4)
    assert kinds(timeline.next(**circumstances)) == [K.LEASE_EXPIRED]


def test_an_extended_lease_is_not_told_of_at_once():
    timeline = incident(Phase.MITIGATED, rule(rung(verify=()))).later(hours=5).does()
    until = timeline.now + timedelta(hours=2)
    timeline.say(K.LEASE_EXTENDED, until=until.isoformat(), by="ann")
    assert timeline.next() == Wait(timeline.now + timedelta(minutes=90))
    assert kinds(timeline.later(minutes=90).next()) == [K.LEASE_ENDING]
    assert timeline.does().next() == Wait(until)


def test_an_expired_lease_is_never_taken_back_by_itself():
    timeline = incident(Phase.RECOVERING).asked("unknown")
    for _ in range(48):
        timeline.later(hours=1)
        while not isinstance(move := timeline.next(), Wait):
            assert not isinstance(move, TakeBack)
            if isinstance(move, Ask):
                timeline.asked("unknown")
            else:
                timeline.does()
    assert timeline.words.count("lease_expired") == 45


# --- outcomes ---


def test_a_rung_that_stayed_on_recovery_of_its_alerts_alone_counts_as_recovered():
    timeline = incident(Phase.VERIFYING).recovering().asked().later(minutes=5).asked().reverting()
    timeline.undoes().undone().does()
    assert only(timeline.next()) == (K.CLOSED, {"outcome": Outcome.RECOVERED})


def test_a_failed_rung_that_stayed_and_was_taken_back_after_recovery_counts_as_recovered():
    timeline = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    timeline.recovering().asked().later(minutes=5).asked().reverting().undoes().undone().does()
    assert only(timeline.next()) == (K.CLOSED, {"outcome": Outcome.RECOVERED})


def test_a_restart_that_did_not_help_and_stayed_counts_as_self_resolved():
    timeline = Timeline(rule(keeps(), rung())).opens().begins(resources=[], reverts=[False])
    timeline.step(K.STEP_FAILED).does().does()
    assert only(timeline.over().next()) == (K.CLOSED, {"outcome": Outcome.SELF_RESOLVED})


def test_a_second_darkness_is_told_like_the_first():
    timeline = incident(Phase.RECOVERING).asked("unknown").later(minutes=10)
    assert only(timeline.next())[0] is K.PROBE_UNKNOWN
    timeline.does().answers("recovered/0", "unhealthy").later(minutes=30).answers("recovered/0", "unknown")
    assert not timeline.state.unproven
    assert only(timeline.later(minutes=10).next())[0] is K.PROBE_UNKNOWN


def test_that_a_brake_is_over_is_said_when_it_is_over_whatever_is_waited_for_by_then():
    brake = replace(BRAKE, until=START + timedelta(minutes=7))
    timeline = incident(Phase.RECOVERING).asked().later(minutes=5).asked().does(brake=brake)
    timeline.later(minutes=1).answers("recovered/0", "unhealthy").later(seconds=40)
    assert timeline.next(brake=brake) == Wait(START + timedelta(minutes=7))
    assert only(timeline.later(seconds=40).next()) == (K.BRAKE_RELEASED, {})

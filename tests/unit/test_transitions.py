"""The fold of a timeline: where each event leads, and what it says whatever the phase."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.timelines import START, Timeline, incident, keeps, rule, rung, seconds

from stopgap import episodes
from stopgap.facts import REDUCERS
from stopgap.incident import (
    Cause,
    Event,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    Ref,
    Role,
    StepStatus,
    common,
    holdings,
    lease_end,
)
from stopgap.transitions import ARCS, apply, fold, resume

HOLDING = (Phase.MITIGATING, Phase.VERIFYING, Phase.MITIGATED, Phase.RECOVERING)


# --- phases: the shortest way to each, and what moves on from it ---


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_be_reached(phase):
    assert incident(phase).state.phase is phase


@pytest.mark.parametrize(
    ("phase", "says", "leads_to"),
    [
        (Phase.OPEN, lambda t: t.joins(), Phase.OPEN),
        (Phase.OPEN, lambda t: t.say(K.REFUSED, reason="cooldown"), Phase.WAITING),
        (Phase.OPEN, lambda t: t.say(K.REFUSED, reason="shadow"), Phase.OPEN),
        (Phase.WAITING, lambda t: t.joins(), Phase.WAITING),
        (Phase.WAITING, lambda t: t.say(K.REFUSED, reason="target_busy"), Phase.WAITING),
        (Phase.WAITING, lambda t: t.begins(), Phase.MITIGATING),
        (Phase.MITIGATING, lambda t: t.over(), Phase.MITIGATING),
        (Phase.MITIGATING, lambda t: t.over().fires(), Phase.MITIGATING),
        (Phase.MITIGATING, lambda t: t.done(), Phase.VERIFYING),
        (Phase.MITIGATING, lambda t: t.step(K.STEP_SKIPPED), Phase.VERIFYING),
        (Phase.MITIGATING, lambda t: t.step(K.STEP_FAILED), Phase.MITIGATING),
        (Phase.VERIFYING, lambda t: t.over(), Phase.VERIFYING),
        (Phase.VERIFYING, lambda t: t.joins(), Phase.VERIFYING),
        (Phase.VERIFYING, lambda t: t.say(K.RUNG_HELD, rung=0, verdict="unknown"), Phase.VERIFYING),
        (Phase.VERIFYING, lambda t: t.say(K.MITIGATED), Phase.MITIGATED),
        (Phase.MITIGATED, lambda t: t.joins(), Phase.MITIGATED),
        (Phase.MITIGATED, lambda t: t.say(K.RESOLVED), Phase.RECOVERING),
        (Phase.RECOVERING, lambda t: t.fires(), Phase.MITIGATED),
        (Phase.RECOVERING, lambda t: t.joins(), Phase.MITIGATED),
        (Phase.REVERTING, lambda t: t.fires(), Phase.REVERTING),
        (Phase.REVERTING, lambda t: t.joins(), Phase.REVERTING),
        (Phase.REVERTING, lambda t: t.say(K.REVERTED), Phase.REVERTING),
        (Phase.CLOSED, lambda t: t.fires().joins().say(K.NOTIFIED), Phase.CLOSED),
    ],
)
def test_an_event_leads_to_its_phase(phase, says, leads_to):
    assert says(incident(phase)).state.phase is leads_to


@pytest.mark.parametrize("phase", [p for p in Phase if p is not Phase.CLOSED])
def test_any_live_phase_can_be_closed_by_a_person(phase):
    assert incident(phase).say(K.CLOSED, outcome="kept").state.outcome is Outcome.KEPT


@pytest.mark.parametrize("phase", HOLDING)
def test_a_persons_revert_leads_back_to_open_and_ends_applying(phase):
    state = incident(phase).person_reverts().say(K.REVERTED).state
    assert (state.phase, state.applying, state.held) == (Phase.OPEN, False, ())


def test_a_persons_revert_takes_over_one_that_is_under_way():
    timeline = incident(Phase.VERIFYING).say(K.RUNG_FAILED, rung=0).reverting(Cause.RUNG_FAILED)
    state = timeline.person_reverts().say(K.REVERTED).state
    assert (state.phase, state.cause, state.applying) == (Phase.OPEN, Cause.PERSON, False)


@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.WAITING, Phase.VERIFYING, Phase.MITIGATED])
def test_firing_again_while_recovering_leads_back_where_it_came_from(phase):
    timeline = Timeline(rule(keeps(), rung())).opens()
    if phase in (Phase.OPEN, Phase.WAITING):
        timeline.begins().step(K.STEP_FAILED).does().does()
    if phase is Phase.WAITING:
        timeline.say(K.REFUSED, reason="target_busy")
    if phase in (Phase.VERIFYING, Phase.MITIGATED):
        timeline.verifying()
    if phase is Phase.MITIGATED:
        timeline.asked().does()
    assert timeline.recovering().state.phase is Phase.RECOVERING
    assert timeline.fires().state.phase is phase


def test_recovering_needs_all_alerts_to_be_over_and_one_that_fires_to_end():
    timeline = Timeline().opens("a", "b").mitigated().over("a")
    assert timeline.state.firing
    assert not timeline.over("b").state.firing
    assert timeline.does().fires("b").state.phase is Phase.MITIGATED


def test_the_hold_starts_again_after_firing_again():
    timeline = incident(Phase.RECOVERING).asked()
    assert "recovered/0" in timeline.state.probes
    timeline.later().fires().recovering()
    assert "recovered/0" not in timeline.state.probes


def test_a_rung_is_complete_when_each_of_its_acts_is_done_or_skipped():
    timeline = Timeline(rule(rung(steps=2, activate=1))).opens().begins().done()
    timeline.acts(place=1).step(K.STEP_SKIPPED, place=1)
    assert timeline.state.phase is Phase.MITIGATING
    assert timeline.acts(role="activate").done(role="activate").state.phase is Phase.VERIFYING


def test_a_failed_rung_that_is_kept_leads_to_the_next():
    state = Timeline(rule(keeps(), rung())).opens().verifying().say(K.RUNG_FAILED).say(K.RUNG_HELD).state
    assert (state.phase, state.rung, state.held) == (Phase.OPEN, 1, (0,))


def test_a_failed_rung_that_was_taken_back_leads_to_the_next():
    timeline = incident(Phase.VERIFYING).say(K.RUNG_FAILED).reverting(Cause.RUNG_FAILED).say(K.REVERTED)
    assert (timeline.state.phase, timeline.state.rung, timeline.state.held) == (Phase.OPEN, 1, ())


# --- facts ---


def test_a_timeline_without_beginning_and_details_can_be_read():
    for phase in Phase:
        for kind in K:
            state = replace(Incident("INC-1"), phase=phase)
            assert isinstance(apply(state, Event(kind, START)), Incident)


def test_an_event_that_says_nothing_of_the_state_changes_only_its_seq():
    timeline = incident(Phase.MITIGATED)
    silent = [kind for kind in K if kind not in {*REDUCERS, *(arc.event for arc in ARCS)}]
    assert silent
    for kind in silent:
        assert apply(timeline.state, Event(kind, START, {}, 99)) == replace(timeline.state, seq=99)


def test_an_answer_without_a_line_does_not_advance_the_seq():
    timeline = incident(Phase.MITIGATED)
    assert timeline.repeats("recheck/0").seq == timeline.state.seq


def test_the_fold_of_nothing_is_an_open_incident():
    assert fold("INC-1", ()) == Incident("INC-1")


def test_an_alert_that_nobody_knows_is_neither_resolved_nor_fired_again():
    timeline = Timeline().opens()
    assert timeline.over("x").fires("y").state.alerts == Timeline().opens().state.alerts


def test_labels_are_those_common_to_the_alerts_that_fire_else_to_all():
    timeline = Timeline().opens("a", "b")
    assert timeline.state.labels == {"job": "api"}
    assert timeline.over("b").state.labels == {"job": "api", "alert": "a"}
    assert timeline.over("a").state.labels == {"job": "api"}
    assert timeline.state.annotations == {}
    assert common([]) == {}


def test_an_attempt_counts_anew_and_a_repetition_with_the_same_key_counts_tries():
    timeline = Timeline().opens().begins().acts()
    assert timeline.state.steps[Ref(0, Role.DO, 0)].tries == 2
    timeline.step(K.STEP_FAILED, n=1).acts(n=2)
    step = timeline.state.steps[Ref(0, Role.DO, 0)]
    assert (step.n, step.tries, step.status) == (2, 1, StepStatus.STARTED)


def test_a_step_that_could_not_even_be_observed_never_began():
    timeline = Timeline().opens().say(K.RUNG_STARTED, do=1).step(K.STEP_FAILED, n=1)
    assert timeline.state.steps[Ref(0, Role.DO, 0)].tries == 0


def test_a_step_that_began_lifts_the_brake_as_reason_and_no_other():
    timeline = Timeline(rule(rung(steps=2))).opens().begins().done()
    assert timeline.say(K.REFUSED, reason="brake").acts(place=1).state.reason == ""
    assert timeline.say(K.HANDED_OVER, reason="odd").acts(place=1).state.reason == "odd"


def test_a_refusal_does_not_outlive_the_phase_in_which_it_was_said():
    timeline = Timeline(rule(keeps(), rung())).opens().begins().step(K.STEP_FAILED).does().does()
    timeline.say(K.REFUSED, reason="brake")
    assert (timeline.state.phase, timeline.state.reason) == (Phase.WAITING, "brake")
    assert timeline.recovering().state.reason == ""


@pytest.mark.parametrize(
    ("verdicts", "streak", "same_since"),
    [
        (["healthy", "healthy", "healthy"], 3, 0),
        (["healthy", "unhealthy", "unhealthy"], 2, 1),
        (["unhealthy", "unknown", "unhealthy"], 1, 2),
    ],
)
def test_a_probe_remembers_since_when_it_says_so(verdicts, streak, same_since):
    timeline = incident(Phase.MITIGATED)
    start = timeline.now
    for verdict in verdicts:
        timeline.answers("recheck/0", verdict).later()
    known = timeline.state.probes["recheck/0"]
    assert (known.streak, known.since) == (streak, start + seconds(same_since))


def test_a_loss_is_over_only_when_every_recheck_is_healthy():
    timeline = incident(Phase.MITIGATED).answers("recheck/0", "unhealthy").say(K.MITIGATION_LOST)
    assert timeline.answers("recheck/1", "healthy").answers("verify/0").state.lost
    assert not timeline.answers("recheck/0", "healthy").state.lost


def test_a_restart_makes_what_was_healthy_prove_itself_anew():
    timeline = incident(Phase.RECOVERING).asked().later(minutes=4)
    resumed = resume(timeline.state, timeline.now).probes["recovered/0"]
    assert (resumed.since, resumed.streak) == (timeline.now, 1)


def test_the_lease_runs_from_the_first_rung_with_something_to_take_back():
    timeline = Timeline(rule(rung(), rung())).opens().begins(resources=[], reverts=[False]).done()
    assert lease_end(timeline.state, timedelta(hours=4)) is None
    timeline.say(K.RUNG_FAILED).reverting(Cause.RUNG_FAILED).say(K.REVERTED).later(minutes=1).begins(1)
    assert lease_end(timeline.state, timedelta(hours=4)) == START + timedelta(hours=4, minutes=1)


def test_an_extension_moves_the_end_and_lets_it_be_told_again():
    timeline = incident(Phase.MITIGATED).say(K.LEASE_EXPIRED)
    until = START + timedelta(hours=9)
    state = timeline.later(hours=5).say(K.LEASE_EXTENDED, until=until.isoformat()).state
    assert (lease_end(state, timedelta(hours=4)), state.lease_told, state.lease_from) == (
        until,
        "",
        timeline.now,
    )


def test_an_extension_without_a_lease_makes_none():
    state = Timeline().opens().say(K.LEASE_EXTENDED, until=START.isoformat()).state
    assert lease_end(state, timedelta(hours=4)) is None


def test_the_next_lease_knows_nothing_of_the_one_before():
    timeline = incident(Phase.VERIFYING).say(K.LEASE_ENDING).say(K.RUNG_FAILED)
    state = timeline.reverting(Cause.RUNG_FAILED).say(K.REVERTED).state
    assert (state.lease_from, state.lease_told, state.lease_told_at) == (None, "", None)


def test_the_lease_goes_on_while_a_kept_rung_is_held():
    timeline = Timeline(rule(keeps(), rung())).opens().verifying().say(K.RUNG_FAILED).say(K.RUNG_HELD)
    began = timeline.state.lease_from
    timeline.verifying(1).say(K.RUNG_FAILED, rung=1)
    timeline.say(K.REVERT_STARTED, cause="rung_failed", rungs=[1]).say(K.REVERTED)
    assert (timeline.state.lease_from, timeline.state.held) == (began, (0,))


@pytest.mark.parametrize(
    ("came_of_it", "n"),
    [((K.REVERT_FAILED, {"n": 1}), 2), ((K.STEP_UNKNOWN, {"unclear": True, "looks": 3}), 1)],
)
def test_a_persons_second_revert_tries_again_with_a_new_key_only_after_a_known_failure(came_of_it, n):
    kind, detail = came_of_it
    timeline = incident(Phase.REVERTING).undoes().step(kind, role="revert", **detail)
    timeline.say(K.HANDED_OVER, reason="revert_failed", stuck=True).person_reverts()
    step = timeline.state.steps[Ref(0, Role.REVERT, 0)]
    assert (step.status, step.n, step.looks, timeline.state.stuck) == (StepStatus.PENDING, n, 0, False)
    assert timeline.undoes(n=n).state.steps[Ref(0, Role.REVERT, 0)].tries == 1


@pytest.mark.parametrize(
    ("kind", "detail", "activated", "changed"),
    [
        (K.STEP_REVERTED, {"changed": True}, False, True),
        (K.STEP_REVERTED, {}, False, True),
        (K.STEP_REVERTED, {"changed": False}, False, False),
        (K.STEP_REVERTED, {"changed": False}, True, True),
        (K.DRIFTED, {"detail": "mode is odd"}, True, False),
        (K.DRIFTED, {"detail": "mode is odd", "changed": True}, False, True),
    ],
)
def test_a_revert_must_be_made_effective_when_something_went_back_or_was_activated(
    kind, detail, activated, changed
):
    timeline = Timeline(rule(rung(activate=1))).opens().begins().done()
    if activated:
        timeline.acts(role="activate")
    timeline.person_reverts().undoes().step(kind, role="revert", **detail)
    assert timeline.state.steps[Ref(0, Role.REVERT, 0)].changed is changed
    assert timeline.state.drifted == (("mode is odd",) if kind is K.DRIFTED else ())


def test_handing_over_ends_applying_and_stays_stuck_once_it_was():
    timeline = Timeline().opens().say(K.HANDED_OVER, reason="revert_failed", stuck=True)
    state = timeline.say(K.HANDED_OVER).state
    assert (state.handed_over, state.applying, state.stuck, state.reason) == (
        True,
        False,
        True,
        "revert_failed",
    )


def test_what_people_say_is_noted():
    state = incident(Phase.MITIGATED).say(K.ACKNOWLEDGED, by="ann").say(K.KEPT, by="ann").state
    assert (state.acknowledged_by, state.rungs[0].kept, state.applying) == ("ann", True, False)


def test_events_of_an_unknown_rung_change_no_rung():
    assert Timeline().opens().say(K.RUNG_FAILED, rung=7).state.rungs == {}


# --- holdings ---


@pytest.mark.parametrize(
    ("phase", "held"),
    [
        (Phase.OPEN, set()),
        (Phase.WAITING, set()),
        (Phase.MITIGATING, {"r0", "target:app"}),
        (Phase.VERIFYING, {"r0", "target:app"}),
        (Phase.MITIGATED, {"r0"}),
        (Phase.RECOVERING, {"r0"}),
        (Phase.REVERTING, {"r0", "target:app"}),
    ],
)
def test_an_incident_holds_its_target_while_it_acts_and_its_resources_until_they_are_back(phase, held):
    assert holdings(incident(phase).state) == held


def test_a_closed_incident_holds_nothing_and_has_no_lease():
    state = incident(Phase.MITIGATED).say(K.KEPT).say(K.CLOSED, outcome="kept").state
    assert holdings(state) == frozenset()
    assert lease_end(state, timedelta(hours=4)) is None


# --- the table itself ---


def test_no_row_of_the_table_is_hidden_by_one_above_it():
    seen = set()
    for arc in ARCS:
        assert (arc.source, arc.event) not in seen
        if arc.when.__name__ == "_otherwise":
            seen.add((arc.source, arc.event))


def test_nothing_leads_out_of_closed():
    assert all(arc.source is not Phase.CLOSED for arc in ARCS)


def test_equal_annotations_are_kept_once_and_only_so_many_are_known(monkeypatch):
    def annotations(text):
        detail = {"alerts": {"a": {"labels": {}, "annotations": {"summary": text}}}}
        return fold("INC-1", [Event(K.OPENED, START, detail, 1)]).alerts["a"].annotations

    monkeypatch.setattr(episodes, "FEW", 3)
    assert annotations("x") is annotations("x")
    assert annotations("x") == {"summary": "x"}
    for n in range(10):
        assert annotations(f"y{n}") == {"summary": f"y{n}"}
    assert len(episodes._known) <= 3

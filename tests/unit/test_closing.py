"""What the row of a closed incident says, and so what the next one of its place begins with."""

from tests.timelines import Timeline, incident, keeps, rule, rung

from stopgap.closing import closing_of
from stopgap.incident import Cause, Event, EventKind as K, Outcome, Phase


def closing(timeline: Timeline, outcome: Outcome = Outcome.RECOVERED):
    return closing_of(timeline.state, timeline.rule, Event(K.CLOSED, timeline.now, {"outcome": outcome}))


def test_what_was_taken_back_after_recovery_can_flap_at_the_rung_that_held():
    ladder = rule(keeps(), rung())
    failed = Timeline(ladder).opens().begins().step(K.STEP_FAILED).does().does()
    back = failed.mitigated(1).recovering().reverting().undoes(1).undone(1).undoes().undone().does()
    said = closing(back)
    assert (said.rung, said.reverted_at) == (1, back.now)


def test_what_a_person_closes_while_it_is_being_taken_back_is_not_back():
    half = incident(Phase.REVERTING).undoes()
    assert closing(half, Outcome.KEPT).reverted_at is None


def test_what_a_person_took_back_did_not_recover():
    back = incident(Phase.MITIGATED).reverting(Cause.PERSON).undoes().undone().does()
    assert closing(back, Outcome.REVERTED).reverted_at is None


def test_what_only_failed_did_not_hold_and_cannot_flap():
    failed = Timeline(rule(keeps())).opens().begins().step(K.STEP_FAILED).does().does()
    back = failed.recovering().reverting().undoes().undone().does()
    said = closing(back)
    assert (said.rung, said.reverted_at) == (0, None)

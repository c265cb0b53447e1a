"""What a person wants done once more: a rung after all was taken back, and a taking back that found something odd."""

import pytest
from tests.timelines import BRAKE, Timeline, kinds, only, rule, rung

from stopgap.guard import Reason
from stopgap.incident import EventKind as K, Ref, Role
from stopgap.moves import Act, Settle
from stopgap.rule import OnFailure, RungSpec


def retried(spec: RungSpec) -> Timeline:
    """Return a timeline with a rung that a person had taken back after a hand-over, and now has tried again."""
    timeline = Timeline(rule(spec)).opens().verifying().say(K.HANDED_OVER, reason="verdict_unknown")
    timeline.person_reverts()
    for place in reversed(range(len(spec.do))):
        timeline.undoes(place=place).undone(place=place)
    for place in range(len(spec.activate)):
        timeline.acts(place=place, role="reactivate").done(place=place, role="reactivate")
    return timeline.does().say(K.RETRIED, rung=0, by="ann").begins()


@pytest.mark.parametrize("known", [True, False])
def test_a_brake_stops_what_is_tried_again_although_a_person_ordered_all_back_before(known):
    timeline = retried(rung(steps=2))
    if known:
        timeline.done()
    assert timeline.next() == (Act(Ref(0, Role.DO, 1), 2) if known else Settle(Ref(0, Role.DO, 0)))
    assert only(timeline.next(brake=BRAKE))[1]["reason"] == Reason.BRAKE


def test_what_is_tried_again_and_stays_is_told_although_a_person_ordered_all_back_before():
    timeline = retried(rung(verify=(), on_resolve=OnFailure.KEEP)).done().does().recovering()
    assert kinds(timeline.next()) == [K.KEPT, K.CLOSED]


def odd(*, put_back: bool) -> Timeline:
    """Return a timeline in which a person has one odd resource taken back once more, after half of what makes that effective."""
    timeline = Timeline(rule(rung(steps=2, activate=2))).opens().begins().done()
    timeline.acts(place=1).step(K.STEP_FAILED, place=1).person_reverts()  # before anything was activated
    timeline.undoes(place=1).undone(place=1, changed=put_back)
    timeline.undoes().step(K.DRIFTED, role="revert", detail="mode is odd", changed=not put_back)
    timeline.acts(role="reactivate").done(role="reactivate")
    timeline.acts(place=1, role="reactivate").step(K.REVERT_FAILED, place=1, role="reactivate", n=1)
    timeline.does().person_reverts()
    assert timeline.next() == Act(Ref(0, Role.REVERT, 0), 2)
    return timeline.undoes(n=2)


def test_what_is_back_only_at_the_second_try_is_made_effective_from_the_first_step_on():
    timeline = odd(put_back=True).undone(changed=True)
    assert timeline.next() == Act(Ref(0, Role.REACTIVATE, 0), 2)
    timeline.acts(role="reactivate", n=2).done(role="reactivate")
    assert timeline.next() == Act(Ref(0, Role.REACTIVATE, 1), 2)


@pytest.mark.parametrize("put_back", [True, False])
def test_what_stays_odd_keeps_nothing_from_being_made_effective_that_the_first_try_put_back(put_back):
    timeline = odd(put_back=put_back).step(K.DRIFTED, role="revert", detail="mode is odd")
    assert timeline.next() == Act(Ref(0, Role.REACTIVATE, 1), 2)


def test_what_the_first_try_put_back_counts_no_more_when_the_rung_begins_anew():
    timeline = retried(rung(activate=1)).step(K.STEP_FAILED, n=2).person_reverts()
    timeline.acts(role="revert", n=2).step(K.DRIFTED, role="revert", detail="mode is odd")
    assert kinds(timeline.next()) == [K.REVERTED]

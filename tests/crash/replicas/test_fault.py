"""A seed draws the same faults again, of every kind, and other seeds draw others."""

from tests.crash.replicas.fault import FOR_THE_LEADER, KINDS, LEADER, draw
from tests.crash.replicas.strike import Strike

TTL = 2.0


def test_a_seed_draws_the_same_faults_again_and_a_shorter_campaign_is_the_beginning_of_a_longer_one():
    assert draw(7, 50, 3, TTL) == draw(7, 50, 3, TTL)
    assert draw(7, 20, 3, TTL) == draw(7, 50, 3, TTL)[:20]
    assert draw(7, 50, 3, TTL) != draw(8, 50, 3, TTL)


def test_every_kind_comes_and_can_be_brought_about_and_every_replica_is_struck():
    faults = draw(1, 1000, 3, TTL)
    assert {fault.kind for fault in faults} == set(KINDS)
    assert set(Strike((), None, None, None)._acts) == set(KINDS)
    assert {fault.victim for fault in faults} == {LEADER, 0, 1, 2}
    assert all(fault.victim == LEADER for fault in faults if fault.kind in FOR_THE_LEADER)


def test_who_is_stopped_at_an_intent_always_sleeps_past_its_lease():
    faults = draw(1, 1000, 3, TTL)
    assert all(fault.lasts > TTL for fault in faults if fault.kind in ("stop at an intent", "stop in an act"))
    assert str(faults[0]).startswith("1 ")

"""An act is under way only while nobody else can lead; what outlasts the lease is to be cut off."""

import pytest

from stopgap.errors import StoreError
from stopgap.store import tenure as tenures
from stopgap.store.tenure import FATAL, SAFETY, Tenure

TTL = 600.0  # so that no deadline of these tests is ever reached


class Later:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.shift = 0.0
        self._now = tenures.now

    def __call__(self) -> float:
        return self._now() + self.shift


@pytest.fixture
def clock(monkeypatch):
    later = Later()
    monkeypatch.setattr(tenures, "now", later)
    return later


@pytest.fixture
def tenure(clock):
    led = Tenure(TTL)
    led.epoch = 1
    renew(led)
    yield led
    led.close()


def renew(led: Tenure) -> None:
    led._asked = tenures.now()
    led.committed()


def test_nobody_acts_who_does_not_lead():
    bystander = Tenure(TTL)
    assert not bystander.leads
    with pytest.raises(StoreError, match="nothing is begun"), bystander.acting():
        raise AssertionError
    bystander.close()


def test_the_lease_counts_from_before_its_renewal_was_sent_and_not_to_its_last_instant(clock, tenure):
    clock.shift = TTL * SAFETY - 1
    assert tenure.leads
    with tenure.acting():
        assert not tenure.lapsed
    clock.shift = TTL * SAFETY + 1
    assert not tenure.leads
    with pytest.raises(StoreError, match="nothing is begun"), tenure.acting():
        raise AssertionError


def test_an_act_that_outlasts_the_lease_lapses_and_a_renewal_lets_it_go_on(clock, tenure):
    with tenure.acting():
        clock.shift = TTL * SAFETY + 1
        assert tenure.lapsed
        renew(tenure)
        assert not tenure.lapsed
        tenure.drop()
        assert tenure.lapsed
    assert not tenure.lapsed


def test_the_deadline_is_put_off_by_each_renewal_and_lifted_after_the_last_act(monkeypatch, clock, tenure):
    told: list[float] = []
    monkeypatch.setattr(tenure._deadline, "_set", told.append)
    renew(tenure)
    assert told == []
    with tenure.acting():
        with tenure.acting():
            clock.shift = 100
            renew(tenure)
        assert [round(at - tenures.now() - TTL * FATAL) for at in told] == [-100, -100, 0]
        told.clear()
    assert told == [0.0]

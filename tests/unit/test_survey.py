"""Survey: laying together what several Alertmanagers say, without any socket."""

from datetime import UTC, datetime, timedelta

import pytest

from stopgap.alert import Alert, fingerprint
from stopgap.alertmanager import Alertmanagers
from stopgap.clock import LoopClock
from stopgap.survey import Polled, State, merged, receiver_name

T0 = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ACTIVE, SUPPRESSED, UNPROCESSED = State.ACTIVE, State.SUPPRESSED, State.UNPROCESSED


def polled(name, state=ACTIVE, *, silenced=(), inhibited=(), minutes=0):
    labels = {"alertname": name}
    alert = Alert(labels, {}, T0, None, True, "", fingerprint(labels))
    return Polled(alert, state, tuple(silenced), tuple(inhibited), ("us",), T0 + timedelta(minutes=minutes))


def only(*polls):
    (one,) = merged(polls).values()
    return one


def test_what_any_of_them_lists_is_there():
    found = merged([[polled("A")], [], [polled("B")]])
    assert {one.alert.labels["alertname"] for one in found.values()} == {"A", "B"}
    assert all(key == one.alert.fingerprint for key, one in found.items())


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("one", "other", "state"),
    [
        (ACTIVE, SUPPRESSED, ACTIVE),
        (ACTIVE, UNPROCESSED, ACTIVE),
        (SUPPRESSED, UNPROCESSED, SUPPRESSED),
        (SUPPRESSED, SUPPRESSED, SUPPRESSED),
    ],
)
def test_an_alert_is_active_where_one_says_so_and_suppressed_only_where_none_does(one, other, state, order):
    older, newer = polled("A", one), polled("A", other, minutes=5)
    assert only(*[[older], [newer]][::order]).state is state


def test_an_active_alert_is_not_called_silenced():
    assert only([polled("A", SUPPRESSED, silenced=["s"], minutes=5)], [polled("A")]).silenced_by == ()


def test_of_two_that_suppress_it_all_reasons_are_named_once_and_the_latest_time():
    one = polled("A", SUPPRESSED, silenced=["s", "t"])
    found = only([one], [polled("A", SUPPRESSED, silenced=["t"], inhibited=["i"], minutes=5)])
    assert (set(found.silenced_by), len(found.silenced_by)) == ({"s", "t"}, 2)
    assert (found.inhibited_by, found.updated_at) == (("i",), T0 + timedelta(minutes=5))


@pytest.mark.parametrize(
    ("sent", "name"),
    [("us", "us"), (r"a \(b\)\.\\ \[x\]\^\$\|\{\}\*\+\?", r"a (b).\ [x]^$|{}*+?"), ("a-b", "a-b")],
)
def test_the_receiver_of_a_webhook_is_read_back_to_its_name(sent, name):
    assert receiver_name(sent) == name


async def test_none_configured_is_never_complete():
    def session():
        raise AssertionError("nothing is opened")

    none = Alertmanagers((), session, LoopClock(T0))
    survey = await none.survey("us")
    assert (bool(none), survey.complete, survey.settled, survey.heard, survey.alerts) == (
        False,
        False,
        False,
        {},
        {},
    )

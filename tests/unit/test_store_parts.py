"""The parts of the store that need no disk: names, flaps, columns, and the way of lines to their observers."""

import asyncio
import re
from datetime import UTC, timedelta

import pytest
from hypothesis import given, strategies as st
from tests.journal_examples import START, HandClock, sighting

from stopgap.incident import Event, EventKind as K
from stopgap.journal import Line
from stopgap.opening import Predecessor, flaps, followed, identifier
from stopgap.store import delivery
from stopgap.store.delivery import Delivery, Parcel
from stopgap.store.rows import decode, encode, instant, maybe_instant, maybe_micros, micros

ENDED = Predecessor(
    "INC-old", START - timedelta(hours=1), START - timedelta(minutes=15), helped="two", flaps=2
)


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_comes_back_to_the_microsecond(at):
    assert instant(micros(at)) == at


def test_no_instant_is_null_in_its_column():
    assert (maybe_micros(None), maybe_instant(None)) == (None, None)
    assert maybe_instant(maybe_micros(START)) == START


@pytest.mark.parametrize("value", ["\ud800", {1}, 2**64, {"a": object()}, {1: "a"}])
def test_what_is_no_json_is_a_type_error(value):
    with pytest.raises(TypeError):
        encode(value)


def test_hostile_text_comes_back_as_it_was():
    assert decode(encode("\u0000\u202e</script>\n")) == "\u0000\u202e</script>\n"


def test_identifiers_say_when_and_differ():
    names = {identifier(START) for _ in range(200)}
    assert len(names) > 195
    assert all(re.fullmatch(r"INC-20260301-120000-[0-9a-hjkmnp-tv-z]{6}", name) for name in names)


def test_a_new_incident_follows_one_taken_back_within_the_flap_window():
    assert followed(sighting(HandClock()), ENDED) is ENDED
    assert followed(sighting(HandClock(START + timedelta(microseconds=1))), ENDED) is None
    assert followed(sighting(HandClock()), None) is None


@pytest.mark.parametrize(("hours", "count"), [(0, 3), (4.99, 3), (5, 1)])
def test_flaps_are_counted_for_six_hours_after_the_last_one_opened(hours, count):
    assert flaps(sighting(HandClock(START + timedelta(hours=hours))), ENDED) == count
    assert flaps(sighting(HandClock()), None) == 0


def line(seq: int) -> Line:
    return Line("INC-x", Event(K.NOTIFIED, START, seq=seq))


async def test_large_parcels_are_handed_out_in_slices_and_in_order(monkeypatch):
    monkeypatch.setattr(delivery, "SLICE", 0.0)
    loop = asyncio.get_running_loop()
    post, seen, breaths = Delivery(loop), [], 0
    post.observers.append(lambda each: seen.append(each.event.seq))
    futures = [loop.create_future() for _ in range(2)]
    post.send(Parcel([line(i) for i in range(50)], [(futures[0], "one")]))
    post.send(Parcel([line(i) for i in range(50, 60)], [(futures[1], ValueError("two"))]))
    while not futures[0].done():
        breaths += 1
        await asyncio.sleep(0)
    assert seen[:50] == list(range(50))
    assert breaths > 20
    with pytest.raises(ValueError, match="two"):
        await futures[1]
    await post.emptied()
    assert seen == list(range(60))


async def test_an_observer_may_make_work_for_the_next_delivery():
    loop = asyncio.get_running_loop()
    post, seen = Delivery(loop), []

    def echo(each):
        seen.append(each.event.seq)
        if each.event.seq == 1:
            post._arrive(Parcel([line(2)], []))

    post.observers.append(echo)
    answer = loop.create_future()
    post._arrive(Parcel([line(1), line(3)], [(answer, None)]))
    await post.emptied()
    assert seen == [1, 3, 2]
    assert answer.done()


async def test_answers_for_a_loop_that_is_gone_are_dropped():
    gone = asyncio.new_event_loop()
    post = Delivery(gone)
    gone.close()
    post.send(Parcel([line(1)], []))

"""Delivery: what a kill leaves untold is told after the start, a dead contact gives way, and nothing grows without bound."""

import asyncio
from datetime import timedelta

import pytest
import structlog
from tests.telling import DEFAULT, Company, People, told
from tests.virtual import virtually
from tests.world import START, alert, rule

from stopgap import dispatch, tell
from stopgap.errors import PermanentError, StoreError, TemporaryError
from stopgap.incident import Event, EventKind as K
from stopgap.journal import Append
from stopgap.rule import Escalation
from stopgap.simulate.journal import MemoryJournal

OPENED = Escalation(when=K.OPENED, notify=("oncall",))


def lines(world, kind=K.NOTIFIED):
    """Return the details of the lines of this kind, of all timelines."""
    return [
        dict(event.detail)
        for timeline in world.journal.timelines.values()
        for event in timeline
        if event.kind is kind
    ]


@virtually
async def test_a_delivery_is_a_line_that_says_of_which_event_and_to_whom():
    world = await told(People("oncall", DEFAULT), ladder=(), escalate=(OPENED,))
    await world.fire()
    await world.settle()
    assert sorted(lines(world), key=str) == [
        {"contact": DEFAULT, "when": "handed_over", "of": 2},
        {"contact": "oncall", "when": "opened", "of": 1},
    ]
    await world.stop()


@virtually
async def test_what_nobody_was_told_when_the_process_was_killed_is_told_after_the_start_and_once():
    people = People(DEFAULT, "oncall")
    people.takes = 5
    world = await told(people, ladder=(), escalate=(OPENED,))
    await world.fire()
    await world.passes(seconds=1)
    assert people.attempts == 2
    await world.crash()
    assert not people.told
    people.takes = 0
    await world.passes(seconds=5)
    assert sorted(people.who) == [DEFAULT, "oncall"]
    await world.crash()
    await world.passes(hours=1)
    assert len(people.told) == 2
    await world.stop()


@virtually
async def test_the_message_after_a_crash_shows_the_incident_as_it_was_at_the_event():
    people = People("oncall")
    people.dead["oncall"] = TemporaryError("away")
    world = await told(people, escalate=(OPENED,))
    await world.fire()
    await world.passes(seconds=30)
    assert world.incident.phase == "mitigated"
    people.dead.clear()
    await world.crash()
    await world.settle()
    ((_, title, body),) = people.told
    assert title == "[P1] test/mock on app: opened"
    assert f"phase open, incident {world.incident.id}" in body
    await world.stop()


@virtually
async def test_an_incident_that_closed_less_than_an_hour_ago_is_told_of_after_the_start_and_no_older_one():
    closed = Escalation(when=K.CLOSED, notify=("oncall",))
    people = People("oncall")
    world = await told(people, ladder=(), escalate=(OPENED, closed))
    await world.fire()
    await world.settle()
    people.dead["oncall"] = TemporaryError("away")
    await world.resolve()
    await world.passes(minutes=2)
    people.dead.clear()
    await world.crash()
    await world.settle()
    assert people.what == [("oncall", "opened"), ("oncall", "closed")]

    await world.fire(alert("Down", number="2"))
    await world.settle()
    people.dead["oncall"] = TemporaryError("away")
    await world.resolve(alert("Down", number="2"))
    await world.settle()
    await world.teller.kill()
    people.dead.clear()
    await world.passes(minutes=61)
    await world.crash()
    await world.settle()
    assert people.what[2:] == [("oncall", "opened")]
    await world.stop()


@virtually
async def test_the_rule_of_a_closed_incident_is_built_again_from_its_document_or_the_incident_is_left_alone():
    closed = Escalation(when=K.CLOSED, notify=("oncall",))
    people = People("oncall")
    world = await told(people, ladder=(), escalate=(OPENED, closed))
    await world.fire()
    await world.settle()
    people.dead["oncall"] = TemporaryError("away")
    await world.resolve()
    await world.settle()
    people.dead.clear()
    (old,) = world.rules
    world.rules = (rule("other"),)
    with structlog.testing.capture_logs() as said:
        await world.crash()
        await world.settle()
    assert [line["version"] for line in said if line["event"] == "rule_version_lost"] == [old.version]
    assert people.what == [("oncall", "opened")]
    world.journal.documents[old.version] = "old"
    world.documents["old"] = old
    await world.crash()
    await world.settle()
    assert people.what == [("oncall", "opened"), ("oncall", "closed")]
    await world.stop()


@virtually
async def test_a_storm_that_began_while_nobody_could_be_told_is_told_after_the_start_if_it_is_not_old():
    people = People(DEFAULT)
    people.dead[DEFAULT] = TemporaryError("away")
    world = await told(people)
    await world.journal.control(Event(K.STORM_BEGAN, START, {"targets": 12}))
    await world.settle()
    await world.teller.kill()
    await world.journal.control(Event(K.STORM_ENDED, START, {"text": "calm"}))
    people.dead.clear()
    await world.crash()
    await world.settle()
    assert [title for _, title, _ in people.told] == ["storm: 12 targets, new mitigations wait"]
    assert lines(world) == [{"contact": DEFAULT, "when": "storm_began", "of": 1}]
    await world.stop()


@virtually
async def test_a_store_that_cannot_be_read_at_the_start_is_asked_again_and_nothing_is_lost():
    people = People(DEFAULT, "oncall")
    world = await told(people, ladder=(), escalate=(OPENED,))
    await world.teller.kill()
    await world.fire()
    await world.settle()
    world.teller = world._teller()
    world.journal.failing = "locked"
    world.teller.start()
    await world.passes(seconds=3)
    world.journal.failing = ""
    await world.resolve()
    await world.passes(seconds=3)
    assert sorted(people.who) == [DEFAULT, "oncall"]
    await world.stop()


@virtually
async def test_a_stop_sends_what_is_due_but_does_not_wait_for_ever():
    people = People(DEFAULT)
    people.takes = 2
    world = await told(people, ladder=())
    await world.fire()
    await world.settle()
    await world.stop()
    assert len(people.told) == 1


@virtually
async def test_what_a_stop_cannot_send_in_time_is_counted_and_left_to_the_next_start():
    people = People(DEFAULT, "oncall")
    people.takes = 60
    world = await told(people, ladder=(), escalate=(OPENED,))
    await world.fire()
    await world.settle()
    began = asyncio.get_running_loop().time()
    with structlog.testing.capture_logs() as said:
        await world.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(tell.LAST_WORDS)
    assert [line["count"] for line in said if line["event"] == "messages_left"] == [2]
    assert not people.told
    people.takes = 0
    await world.crash()
    await world.settle()
    assert sorted(people.who) == [DEFAULT, "oncall"]
    await world.stop()


# --- trouble ---


@virtually
async def test_a_contact_that_is_away_for_a_while_is_tried_again_and_delays_nobody_else():
    people = People(DEFAULT, "oncall")
    people.dead["oncall"] = TemporaryError("away")
    world = await told(people, ladder=(), escalate=(OPENED,))
    await world.fire()
    await world.settle()
    assert people.who == [DEFAULT]
    await world.passes(minutes=10)
    assert people.attempts > 10
    people.dead.clear()
    await world.passes(minutes=2)
    assert people.who == [DEFAULT, "oncall"]
    assert lines(world, K.NOTIFY_FAILED) == []
    await world.stop()


@virtually
async def test_a_contact_that_is_away_for_a_quarter_of_an_hour_is_given_up_and_the_default_contact_hears_that():
    people = People(DEFAULT, "oncall")
    people.dead["oncall"] = TemporaryError("contact 'oncall' was not told: no answer")
    world = await told(people, escalate=(OPENED,))
    await world.fire()
    await world.passes(minutes=17)
    assert lines(world, K.NOTIFY_FAILED) == [
        {"contact": "oncall", "when": "opened", "of": 1, "why": "contact 'oncall' was not told: no answer"}
    ]
    ((name, title, body),) = people.told
    assert (name, title) == (DEFAULT, "[P1] test/mock on app: oncall could not be told (opened)")
    assert body.splitlines()[1] == "contact 'oncall' was not told: no answer"
    tried = people.attempts
    await world.passes(hours=2)
    assert people.attempts == tried, "given up is given up"
    await world.stop()


@virtually
async def test_a_contact_that_does_not_exist_is_not_tried_again():
    people = People(DEFAULT, "oncall")
    people.dead["oncall"] = PermanentError("no contact is called 'oncall'")
    world = await told(people, escalate=(OPENED,))
    await world.fire()
    await world.settle()
    assert people.attempts == 2
    assert people.who == [DEFAULT]
    await world.stop()


@virtually
async def test_when_the_default_contact_cannot_be_told_either_nobody_goes_round_in_circles():
    people = People(DEFAULT, "oncall")
    people.dead = dict.fromkeys((DEFAULT, "oncall"), PermanentError("no address"))
    world = await told(people, escalate=(OPENED,))
    await world.fire()
    await world.passes(hours=1)
    assert [line["contact"] for line in lines(world, K.NOTIFY_FAILED)] == ["oncall", DEFAULT]
    await world.stop()


@virtually
async def test_a_fault_of_our_own_is_a_failed_message_and_keeps_nobody_from_hearing_the_next():
    people = People(DEFAULT)
    people.faults += [LookupError("ours")] * 3
    world = await told(people, ladder=())
    for _ in range(4):
        await world.fire()
        await world.settle()
        await world.resolve()
        await world.settle()
    assert len(people.told) == 1
    assert [line["why"] for line in lines(world, K.NOTIFY_FAILED)] == [
        "a fault of Stopgap itself: LookupError"
    ] * 3
    await world.stop()


@virtually
async def test_a_message_that_cannot_be_journaled_was_sent_all_the_same_and_is_not_repeated_by_this_process():
    people = People(DEFAULT)
    people.takes = 0.1
    world = await told(people, ladder=())
    await world.fire()
    await asyncio.sleep(0.05)
    world.journal.failing = "disk full"
    await world.settle()
    world.journal.failing = ""
    await world.passes(hours=1)
    assert len(people.told) == 1
    await world.crash()
    await world.settle()
    assert len(people.told) == 2, "at least once"
    await world.stop()


@virtually
async def test_a_fault_while_what_was_missed_is_read_keeps_nobody_from_hearing_of_it_later(monkeypatch):
    people = People(DEFAULT)
    world = await told(people, ladder=())
    await world.fire()
    read, broken = MemoryJournal.closed, [True]

    async def torn(self, **given):
        if broken:
            broken.pop()
            raise RuntimeError("a fault of ours")
        return await read(self, **given)

    monkeypatch.setattr(MemoryJournal, "closed", torn)
    await world.crash()
    await world.passes(minutes=1)
    assert [what for _, what in people.what] == ["handed over"]
    await world.stop()


@virtually
async def test_messages_to_one_contact_of_an_incident_keep_their_order():
    people = People("oncall")
    kinds = (K.OPENED, K.RUNG_STARTED, K.STEP_STARTED, K.MITIGATED)
    world = await told(people, escalate=tuple(Escalation(when=kind, notify=("oncall",)) for kind in kinds))
    people.faults += [TemporaryError("away")] * 2
    await world.fire()
    await world.passes(minutes=5)
    words = ["opened", "rung started", "step started", "step started", "mitigated"]
    assert people.what == [("oncall", word) for word in words]
    await world.stop()


@virtually
async def test_messages_never_delay_a_mitigation():
    people = People("oncall", DEFAULT)
    people.takes = 600
    world = await told(people, escalate=(OPENED,))
    await world.fire()
    await world.settle()
    assert world.incident.phase == "mitigated"
    await world.stop()


# --- bounds ---


def a_lot(people, count):
    """Start a company whose every alert is an incident of its own."""
    from stopgap.rule import Limits
    from stopgap.storm import StormLimit
    from stopgap.template import Template

    target = Template.parse("{{ labels.instance }}")
    limits = Limits(storm=StormLimit(targets=100_000))
    rules = (rule(target=target, ladder=(), escalate=(OPENED,), limits=limits),)
    return Company(rules, people=people), [alert("Down", instance=f"i{n}") for n in range(count)]


@virtually
async def test_more_messages_than_may_be_under_way_wait_on_their_timelines_and_all_arrive(monkeypatch):
    monkeypatch.setattr(dispatch, "IN_FLIGHT", 4)
    monkeypatch.setattr(dispatch, "OF_ONE_CONTACT", 3)
    monkeypatch.setattr(tell, "REMEMBERED", 2)
    people = People("oncall", DEFAULT)
    people.takes = 0.1
    world, alerts = a_lot(people, 30)
    await world.start()
    await world.fire(*alerts)
    await world.passes(seconds=1)
    assert len(world.teller._dispatch) <= 4
    assert len(world.teller._fresh) <= 2
    assert len(people.told) < 60
    await world.passes(seconds=20)
    assert sorted(people.who) == [DEFAULT] * 30 + ["oncall"] * 30
    assert not world.teller._waiting
    await world.stop()


@virtually
async def test_a_dead_contact_keeps_no_room_from_the_others(monkeypatch):
    monkeypatch.setattr(dispatch, "IN_FLIGHT", 10)
    monkeypatch.setattr(dispatch, "OF_ONE_CONTACT", 5)
    people = People("oncall", DEFAULT)
    people.dead["oncall"] = TemporaryError("away")
    world, alerts = a_lot(people, 30)
    await world.start()
    await world.fire(*alerts)
    await world.passes(seconds=30)
    assert people.who == [DEFAULT] * 30
    await world.stop()


@virtually
async def test_there_is_one_attempt_at_a_time_for_a_contact_and_few_for_all():
    names = [f"c{n}" for n in range(10)]
    people = People(*names)
    people.takes = 1
    world = await told(people, escalate=(Escalation(when=K.OPENED, notify=tuple(names)),))
    await world.fire()
    await world.passes(seconds=10)
    assert sorted(people.who) == names
    assert people.most_at_once == dispatch.AT_ONCE
    await world.stop()

    people = People("oncall", DEFAULT)
    people.takes = 1
    world, alerts = a_lot(people, 5)
    await world.start()
    await world.fire(*alerts)
    await world.passes(seconds=20)
    assert people.most_at_once == 2
    await world.stop()


@virtually
async def test_nothing_is_kept_of_an_incident_that_is_over_and_told():
    world, alerts = a_lot(People("oncall", DEFAULT), 20)
    await world.start()
    await world.fire(*alerts)
    await world.settle()
    assert len(world.teller._cases) == 21  # and the control history
    await world.resolve(*alerts)
    await world.passes(seconds=5)
    assert len(world.teller._cases) == 1
    await world.stop()


@virtually
async def test_what_is_not_wanted_any_more_when_its_turn_comes_is_not_sent():
    people = People("lead")
    people.dead["lead"] = TemporaryError("away")
    late = Escalation(when=K.OPENED, notify=("lead",), after=timedelta(minutes=5))
    world = await told(people, ladder=(), escalate=(late,))
    await world.fire()
    await world.passes(minutes=6)
    assert people.attempts > 2
    await world.orders.acknowledge(world.incident.id, "ann")
    people.dead.clear()
    await world.passes(hours=1)
    assert not people.told
    assert not lines(world, K.NOTIFY_FAILED)
    await world.stop()


@virtually
async def test_an_event_of_an_incident_that_was_never_seen_to_open_is_nobodys_business():
    world = await told(People(DEFAULT), ladder=())
    world.engine._versions.clear()
    await world.fire()
    await world.settle()
    await world.journal.append(Append(world.incident.id, (Event(K.LEASE_ENDING, START),)))
    await world.settle()
    assert not world.people.told
    await world.stop()


@virtually
async def test_a_timeline_that_surprises_us_keeps_nobody_from_hearing_of_the_others(monkeypatch):
    people = People(DEFAULT)
    people.dead[DEFAULT] = TemporaryError("away")
    world, alerts = a_lot(people, 3)
    await world.start()
    await world.fire(*alerts)
    await world.settle()
    people.dead.clear()
    first = next(iter(world.engine.incidents))
    docket_of, due = tell.docket_of, tell.due

    def surprised(events, name, rule):
        if name == first:
            raise LookupError("ours")
        return docket_of(events, name, rule)

    monkeypatch.setattr(tell, "docket_of", surprised)
    await world.crash()
    await world.settle()
    assert people.who.count(DEFAULT) == 2
    monkeypatch.setattr(tell, "docket_of", docket_of)

    surprises = [LookupError("ours")]

    def hesitant(*given):
        if surprises:
            raise surprises.pop()
        return due(*given)

    monkeypatch.setattr(tell, "due", hesitant)
    await world.crash()
    await world.settle()
    assert not surprises
    await world.crash()
    await world.settle()
    assert people.who.count(DEFAULT) == 3
    await world.stop()


@virtually
async def test_a_timeline_that_cannot_be_read_just_now_delays_its_message(monkeypatch):
    monkeypatch.setattr(tell, "REMEMBERED", 0)
    people = People(DEFAULT)
    world = await told(people, ladder=())
    await world.settle()
    timeline = world.journal.timeline
    busy = [True]

    async def reading(incident):
        if busy:
            busy.pop()
            raise StoreError("busy")
        return await timeline(incident)

    monkeypatch.setattr(world.journal, "timeline", reading)
    await world.fire()
    await world.passes(seconds=5)
    assert (people.who, busy) == ([DEFAULT], [])
    await world.stop()


@virtually
async def test_a_lot_to_tell_is_gone_through_with_breaths_between_and_closed_ones_page_by_page(monkeypatch):
    monkeypatch.setattr(tell, "BREATH", -1)
    monkeypatch.setattr(tell, "PAGE", 2)
    people = People("oncall", DEFAULT)
    world, alerts = a_lot(people, 5)
    await world.start()
    await world.fire(*alerts)
    await world.resolve(*alerts)
    await world.teller.kill()
    assert not people.told
    await world.crash()
    await world.passes(seconds=5)
    assert people.who == ["oncall", DEFAULT] * 5

    monkeypatch.setattr(tell, "MOST_CLOSED", 2)
    read = []
    timeline = world.journal.timeline

    async def reading(incident):
        read.append(incident)
        return await timeline(incident)

    monkeypatch.setattr(world.journal, "timeline", reading)
    await world.crash()
    await world.settle()
    assert len([name for name in read if name != "control"]) == 2
    await world.stop()


async def test_a_teller_that_never_began_can_end():
    world = Company((rule(),))
    world.teller = world._teller()
    await world.stop()


def test_without_a_way_to_build_rules_none_is_built():
    with pytest.raises(ValueError, match="not built here"):
        tell.no_rule(None)

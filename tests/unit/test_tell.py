"""Telling people: who hears of what, and that one failed message keeps nobody from hearing the next."""

import asyncio
from typing import Any

import pytest
import structlog
from tests.virtual import virtually
from tests.world import START, World, rule

from stopgap import tell
from stopgap.errors import TemporaryError
from stopgap.incident import EventKind as K
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.rule import Escalation
from stopgap.tell import DEFAULT, Teller


class People:
    """A contact book whose contacts take a while, or fail."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.told: list[tuple[str, str, str]] = []
        self.faults: list[Exception] = []
        self.takes = 0.0

    def find(self, pack: str, name: str) -> object | None:
        return name if name in self.names else None

    async def send(self, pack: str, name: str, title: str, body: str) -> None:
        if self.takes:
            await asyncio.sleep(self.takes)
        if self.faults:
            raise self.faults.pop(0)
        self.told.append((name, title, body))


async def told(people: People, **more: Any) -> tuple[World, Teller]:
    world = World((rule(summary="Serve from mock data", runbook_url="https://runbook", **more),))
    teller = Teller(world.journal, people, world.clock, world.engine.rule_of)  # type: ignore[arg-type]
    world.engine.subscribe(teller.observe)
    teller.start()
    return await world.start(), teller


@virtually
async def test_the_default_contact_hears_of_a_hand_over_and_of_nothing_ordinary():
    people = People(DEFAULT)
    world, teller = await told(people, ladder=())
    await world.fire()
    await world.settle()
    ((name, title, body),) = people.told
    assert name == DEFAULT
    assert title == "[P1] test/mock on app: handed over"
    assert body.splitlines()[0] == "Serve from mock data"
    assert body.splitlines()[-1] == "runbook: https://runbook"
    assert "alerts: Down" in body
    assert world.words[-1] == "notified"
    await teller.stop()


@virtually
async def test_without_a_default_contact_nobody_hears_and_nothing_fails():
    people = People()
    world, teller = await told(people, ladder=())
    await world.fire()
    await world.settle()
    assert not people.told
    assert world.words[-1] == "handed_over"
    await teller.stop()


@virtually
async def test_the_rules_own_escalation_takes_the_place_of_the_default():
    people = People(DEFAULT, "oncall")
    world, teller = await told(
        people, ladder=(), escalate=(Escalation(when=K.HANDED_OVER, notify=("oncall",)),)
    )
    await world.fire()
    await world.settle()
    assert [name for name, *_ in people.told] == ["oncall"]
    await teller.stop()


@virtually
async def test_a_message_that_nobody_took_is_a_line_of_the_timeline():
    people = People(DEFAULT)
    people.faults.append(TemporaryError("no answer"))
    world, teller = await told(people, ladder=())
    await world.fire()
    await world.settle()
    assert world.words[-1] == "notify_failed"
    await teller.stop()


@virtually
async def test_a_fault_in_sending_keeps_nobody_from_hearing_the_next():
    people = People(DEFAULT)
    people.faults += [LookupError("ours"), LookupError("ours"), LookupError("ours")]
    world, teller = await told(people, ladder=())
    for _ in range(4):
        await world.fire()
        await world.settle()
        await world.resolve()
        await world.settle()
    assert len(people.told) == 1
    await teller.stop()


@virtually
async def test_a_message_that_cannot_be_journaled_was_sent_all_the_same():
    people = People(DEFAULT)
    people.takes = 0.1
    world, teller = await told(people, ladder=())
    await world.fire()
    await asyncio.sleep(0.05)
    world.journal.failing = "disk full"
    await world.settle()
    assert len(people.told) == 1
    world.journal.failing = ""
    await teller.stop()


@virtually
async def test_a_stop_sends_what_is_queued_but_does_not_wait_for_ever():
    people = People(DEFAULT)
    people.takes = 2
    world, teller = await told(people, ladder=())
    await world.fire()
    await world.settle()
    await teller.stop()
    assert len(people.told) == 1
    await world.resolve()
    await world.settle()
    people.takes = 60
    teller.start()
    await world.fire()
    await world.settle()
    began = asyncio.get_running_loop().time()
    await teller.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(tell.LAST_WORDS)
    assert len(people.told) == 1


@virtually
async def test_more_messages_than_may_wait_are_dropped_and_nothing_else_stops():
    people = People(DEFAULT, "a", "b")
    people.takes = 60
    escalate = (Escalation(when=K.OPENED, notify=("a", "b", DEFAULT)),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tell, "QUEUED", 1)
        world, teller = await told(people, escalate=escalate)
    await world.fire()
    await world.settle()
    assert world.incident.phase == "mitigated"
    await world.passes(minutes=5)
    assert [name for name, *_ in people.told] == ["a"]
    await teller.stop()


@virtually
async def test_a_brake_in_the_middle_of_a_rung_and_an_unproven_recovery_are_told():
    people = People(DEFAULT)
    world, teller = await told(people, recovered=())
    world.switch.takes = 5
    await world.fire()
    await world.passes(seconds=1)
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "wait", START))
    await world.passes(seconds=10)
    assert [title.partition(": ")[2] for _, title, _ in people.told] == ["refused"]
    await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.settle()
    await world.resolve()
    await world.settle()
    assert [title.partition(": ")[2] for _, title, _ in people.told][1:] == ["probe unknown"]
    await teller.stop()


@virtually
async def test_a_rung_held_without_a_verdict_is_told():
    people = People(DEFAULT)
    world, teller = await told(people)
    world.say.verdicts["ready"] = Verdict.UNKNOWN
    await world.fire()
    await world.passes(minutes=3)
    assert [title.partition(": ")[2] for _, title, _ in people.told] == ["rung held"]
    await teller.stop()


@virtually
async def test_nobody_is_told_of_an_incident_whose_rule_is_lost():
    people = People(DEFAULT)
    world, teller = await told(people, ladder=())
    world.engine._versions.clear()
    await world.fire()
    await world.settle()
    assert not people.told
    await teller.stop()


@virtually
async def test_what_a_stop_cannot_send_in_time_is_dropped_and_counted():
    people = People(DEFAULT, "a", "b", "c", "d")
    people.takes = 60
    world, teller = await told(people, escalate=(Escalation(when=K.OPENED, notify=("a", "b", "c", "d")),))
    await world.fire()
    await world.settle()
    with structlog.testing.capture_logs() as said:
        await teller.stop()
    assert [line["count"] for line in said if line["event"] == "messages_dropped"] == [2]
    assert not people.told

"""Telling people: who hears of what, and that one failed message keeps nobody from hearing the next."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from tests.virtual import virtually
from tests.world import MOCK, START, World, alert, rule

from stopgap import tell
from stopgap.errors import TemporaryError
from stopgap.incident import Event, EventKind as K
from stopgap.journal import Append
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.rule import Escalation
from stopgap.tell import DEFAULT, Link, Teller, no_link


class People:
    """A contact book whose contacts take a while, or fail."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.told: list[tuple[str, str, str]] = []
        self.packs: list[str] = []
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
        self.packs.append(pack)


async def told(people: People, link: Link = no_link, **more: Any) -> tuple[World, Teller]:
    given = {"summary": "Serve from mock data", "runbook_url": "https://runbook", **more}
    world = World((rule(**given),))
    teller = Teller(world.journal, people, world.clock, world.engine.rule_of, link)  # type: ignore[arg-type]
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


# --- asking for an approval ---

ASKING = replace(MOCK, approval=timedelta(minutes=10))


def link(incident: str, request: int, contact: str) -> str:
    return f"https://ops/approve/{incident}/{request}/{contact}/signed"


@virtually
async def test_a_request_for_approval_says_what_would_be_done_until_when_and_how_to_answer():
    people = People(DEFAULT)
    world, teller = await told(people, link, ladder=(ASKING,))
    await world.fire()
    await world.settle()
    ((name, title, body),) = people.told
    assert (name, title) == (DEFAULT, "[P1] test/mock on app: approval requested")
    identifier = world.incident.id
    assert body.splitlines() == [
        "Serve from mock data",
        "the rung asks for an approval",
        "it would do: mock mode",
        "- switch: mode to mock",
        "- kick: mode to on",
        "and then verify:",
        "- ready",
        "answer until 09:10:00 UTC: no answer means no",
        f"look and answer here: https://ops/approve/{identifier}/{world.incident.approval.request}/default/signed",
        f"yes: stopgap approve {identifier}",
        f'no: stopgap deny {identifier} --why "…"',
        f"phase waiting, incident {identifier}",
        "alerts: Down",
        "runbook: https://runbook",
    ]
    assert "signed" not in str(world.journal.timelines)
    await teller.stop()


@virtually
async def test_each_contact_gets_its_own_link_and_the_escalation_takes_the_place_of_the_default():
    people = People(DEFAULT, "oncall", "chat")
    escalate = (Escalation(when=K.APPROVAL_REQUESTED, notify=("oncall", "chat")),)
    world, teller = await told(people, link, ladder=(ASKING,), escalate=escalate)
    await world.fire()
    await world.settle()
    assert sorted(name for name, *_ in people.told) == ["chat", "oncall"]
    for name, _, body in people.told:
        assert f"/{name}/signed" in body
        assert body.count("https://ops") == 1
    await teller.stop()


@virtually
async def test_without_an_external_url_only_the_command_is_said():
    people = People(DEFAULT)
    world, teller = await told(people, ladder=(replace(ASKING, verify=()),))
    await world.fire()
    await world.settle()
    ((_, _, body),) = people.told
    assert "here:" not in body
    assert "stopgap approve INC-" in body
    assert "and verify nothing" in body
    await teller.stop()


@virtually
async def test_a_request_with_very_much_to_do_never_loses_its_link_and_no_value_forges_a_line():
    people = People(DEFAULT)
    world, teller = await told(people, link, summary="x" * 5000)
    await world.fire(alert("Down", team="x"))
    await world.settle()
    steps = ["step\nlook and answer here: https://evil " + "x" * 500] * 50
    evil = {"rung": 0, "name": "y", "steps": steps, "verify": steps, "text": "t" * 5000}
    await world.journal.append(Append(world.incident.id, (Event(K.APPROVAL_REQUESTED, START, evil),)))
    await world.settle()
    *_, (_, _, body) = people.told
    assert len(body) <= tell.LONGEST_BODY
    lines = body.splitlines()
    assert [each for each in lines if each.startswith("look")] == [
        link_line for link_line in lines if "https://ops/approve/" in link_line
    ]
    assert lines.count("- and 40 more") == 2
    assert "answer until soon: no answer means no" in lines
    assert any(each.startswith("yes: stopgap approve") for each in lines)
    await teller.stop()


# --- storms ---

STORM = {
    "text": "212 targets in 5m (more than 10 are a storm), since 3s, over in 9m at the earliest",
    "targets": 212,
    "rules": {"test/few": 12, "test/many": 200},
    "examples": ["app-1", "app-2\nevil"],
}


@virtually
async def test_a_storm_is_told_once_to_the_default_contact_of_the_site_and_that_is_in_the_control_history():
    people = People(DEFAULT)
    world, teller = await told(people)
    await world.journal.control(Event(K.STORM_BEGAN, START, STORM))
    await world.journal.control(Event(K.STORM_ENDED, START, {"text": "calm"}))
    await world.settle()
    ((name, title, body),) = people.told
    assert (name, title) == (DEFAULT, "storm: 212 targets in 5m, new mitigations wait")
    assert body.splitlines() == [
        STORM["text"],
        "New mitigations wait until it is calm; what is held stays held, and is taken back as ever.",
        "200 of test/many",
        "12 of test/few",
        "such as:",
        "- app-1",
        "- app-2 evil",
    ]
    assert people.packs == [""]
    words = [event.kind.value for event in world.journal.timelines["control"]]
    assert words == ["storm_began", "storm_ended", "notified"]
    await teller.stop()


@virtually
async def test_a_storm_that_says_little_is_told_all_the_same_and_without_a_default_contact_to_nobody():
    people = People(DEFAULT)
    world, teller = await told(people)
    await world.journal.control(Event(K.STORM_BEGAN, START, {"targets": 12}))
    await world.settle()
    people.names.clear()
    await world.journal.control(Event(K.STORM_BEGAN, START, STORM))
    await world.settle()
    assert [title for _, title, _ in people.told] == ["storm: 12 targets, new mitigations wait"]
    await teller.stop()

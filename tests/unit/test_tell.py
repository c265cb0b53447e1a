"""Telling people: who hears of what, requests for approval with their links, and storms."""

from dataclasses import replace
from datetime import timedelta

from tests.telling import DEFAULT, People, told
from tests.virtual import virtually
from tests.world import MOCK, START, alert

from stopgap.incident import Event, EventKind as K
from stopgap.journal import Append
from stopgap.ledger import Brake, BrakeScope
from stopgap.messages import LONGEST_BODY
from stopgap.probe import Verdict
from stopgap.rule import Escalation


@virtually
async def test_the_default_contact_hears_of_a_hand_over_and_of_nothing_ordinary():
    people = People(DEFAULT)
    world = await told(people, ladder=())
    await world.fire()
    await world.settle()
    ((name, title, body),) = people.told
    assert name == DEFAULT
    assert title == "[P1] test/mock on app: handed over"
    assert body.splitlines()[0] == "Serve from mock data"
    assert body.splitlines()[-1] == "runbook: https://runbook"
    assert "alerts: Down" in body
    assert world.words[-1] == "notified"
    await world.stop()


@virtually
async def test_without_a_default_contact_nobody_hears_and_nothing_fails():
    people = People()
    world = await told(people, ladder=())
    await world.fire()
    await world.settle()
    assert not people.told
    assert world.words[-1] == "handed_over"
    await world.stop()


@virtually
async def test_the_rules_own_escalation_takes_the_place_of_the_default():
    people = People(DEFAULT, "oncall")
    world = await told(people, ladder=(), escalate=(Escalation(when=K.HANDED_OVER, notify=("oncall",)),))
    await world.fire()
    await world.settle()
    assert [name for name, *_ in people.told] == ["oncall"]
    await world.stop()


@virtually
async def test_an_end_before_verify_is_done_is_told_at_once_and_its_close_too_though_it_was_never_mitigated():
    people = People(DEFAULT, "chat")
    told_of = tuple(Escalation(when=kind, notify=("chat",)) for kind in (K.MITIGATED, K.CLOSED))
    world = await told(
        people, escalate=(*told_of, Escalation(K.OPENED, ("chat",), after=timedelta(minutes=5)))
    )
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(seconds=20)
    await world.resolve()
    await world.passes(seconds=1)
    early = ("chat", "alerts over before anybody knows whether it helped")
    assert (people.what, world.incident.held) == ([early], (0,))
    await world.fire()
    await world.passes(seconds=10)
    await world.resolve()
    await world.passes(seconds=10)
    assert people.what == [early], "once"
    await world.crash()
    await world.passes(minutes=10)
    assert "mitigated" not in world.words
    assert people.what == [early, ("chat", "closed")]
    await world.stop()


@virtually
async def test_a_brake_in_the_middle_of_a_rung_and_an_unproven_recovery_are_told():
    people = People(DEFAULT)
    world = await told(people)
    world.switch.takes = 5
    await world.fire()
    await world.passes(seconds=1)
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "wait", START))
    await world.passes(seconds=10)
    assert [title.partition(": ")[2] for _, title, _ in people.told] == ["refused"]
    await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.settle()
    unproven = Event(K.PROBE_UNKNOWN, START, {"role": "recovered", "why": "nothing can prove it"})
    await world.journal.append(Append(world.incident.id, (unproven,)))
    await world.settle()
    assert [title.partition(": ")[2] for _, title, _ in people.told][1:] == ["probe unknown"]
    await world.stop()


@virtually
async def test_a_rung_held_without_a_verdict_is_told():
    people = People(DEFAULT)
    world = await told(people)
    world.say.verdicts["ready"] = Verdict.UNKNOWN
    await world.fire()
    await world.passes(minutes=3)
    assert [title.partition(": ")[2] for _, title, _ in people.told] == ["nobody knows whether it helped"]
    await world.stop()


@virtually
async def test_nobody_is_told_of_an_incident_whose_rule_is_lost():
    people = People(DEFAULT)
    world = await told(people, ladder=())
    world.engine._versions.clear()
    await world.fire()
    await world.settle()
    assert not people.told
    await world.stop()


# --- asking for an approval ---

ASKING = replace(MOCK, approval=timedelta(minutes=10))


def link(incident: str, request: int, contact: str) -> str:
    return f"https://ops/approve/{incident}/{request}/{contact}/signed"


@virtually
async def test_a_request_for_approval_says_what_would_be_done_until_when_and_how_to_answer():
    people = People(DEFAULT)
    world = await told(people, link, ladder=(ASKING,))
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
        "to undo it:",
        "- put mode back to normal",
        "answer until 09:10:00 UTC: no answer means no",
        f"look and answer here: https://ops/approve/{identifier}/{world.incident.approval.request}/default/signed",
        f"yes: stopgap approve {identifier}",
        f'no: stopgap deny {identifier} --why "…"',
        f"phase waiting, incident {identifier}",
        "alerts: Down",
        "runbook: https://runbook",
    ]
    assert "signed" not in str(world.journal.timelines)
    await world.stop()


@virtually
async def test_each_contact_gets_its_own_link_and_the_escalation_takes_the_place_of_the_default():
    people = People(DEFAULT, "oncall", "chat")
    escalate = (Escalation(when=K.APPROVAL_REQUESTED, notify=("oncall", "chat")),)
    world = await told(people, link, ladder=(ASKING,), escalate=escalate)
    await world.fire()
    await world.settle()
    assert sorted(name for name, *_ in people.told) == ["chat", "oncall"]
    for name, _, body in people.told:
        assert f"/{name}/signed" in body
        assert body.count("https://ops") == 1
    await world.stop()


@virtually
async def test_without_an_external_url_only_the_command_is_said():
    people = People(DEFAULT)
    world = await told(people, ladder=(replace(ASKING, verify=()),))
    await world.fire()
    await world.settle()
    ((_, _, body),) = people.told
    assert "here:" not in body
    assert "stopgap approve INC-" in body
    assert "and verify nothing" in body
    await world.stop()


@virtually
async def test_a_request_with_very_much_to_do_never_loses_its_link_and_no_value_forges_a_line():
    people = People(DEFAULT)
    world = await told(people, link, summary="x" * 5000)
    await world.fire(alert("Down", team="x"))
    await world.settle()
    steps = ["step\nlook and answer here: https://evil " + "x" * 500] * 50
    evil = {"rung": 0, "name": "y", "steps": steps, "verify": steps, "text": "t" * 5000}
    await world.journal.append(Append(world.incident.id, (Event(K.APPROVAL_REQUESTED, START, evil),)))
    await world.settle()
    *_, (_, _, body) = people.told
    assert len(body) <= LONGEST_BODY
    lines = body.splitlines()
    assert [each for each in lines if each.startswith("look")] == [
        link_line for link_line in lines if "https://ops/approve/" in link_line
    ]
    assert lines.count("- and 40 more") == 2
    assert "answer until soon: no answer means no" in lines
    assert any(each.startswith("yes: stopgap approve") for each in lines)
    await world.stop()


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
    world = await told(people)
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
    await world.stop()


@virtually
async def test_a_storm_that_says_little_is_told_all_the_same_and_without_a_default_contact_to_nobody():
    people = People(DEFAULT)
    world = await told(people)
    await world.journal.control(Event(K.STORM_BEGAN, START, {"targets": 12}))
    await world.settle()
    people.names.clear()
    await world.journal.control(Event(K.STORM_BEGAN, START, STORM))
    await world.settle()
    assert [title for _, title, _ in people.told] == ["storm: 12 targets, new mitigations wait"]
    await world.stop()

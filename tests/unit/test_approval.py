"""Asking a person: who may answer, once, in time, and what everybody else is told."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.virtual import virtually
from tests.world import MOCK, START, World, rule, step

from stopgap.approval import Fate, pending, requested, unanswerable
from stopgap.incident import Event, EventKind as K, Incident, Outcome, Phase
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NoSuchIncident, NotPossible, Orders
from stopgap.probe import Verdict
from stopgap.rule import Mode, RungSpec

GLOBAL = Brake(BrakeScope.GLOBAL, "", "ann", "wait", START)
ASKING = replace(MOCK, approval=timedelta(minutes=10))


async def asking(**more: Any) -> World:
    world = await World((rule(**{"ladder": (ASKING,), **more}),)).start()
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.WAITING
    assert pending(world.incident) is not None
    return world


def last(world: World, kind: K) -> Event:
    ((_, timeline),) = ((n, t) for n, t in world.journal.timelines.items() if n != "control")
    return [e for e in timeline if e.kind is kind][-1]


# --- answering ---


@virtually
async def test_a_yes_starts_the_rung_and_says_who_said_it_and_how_long_it_holds():
    world = await asking()
    request = last(world, K.APPROVAL_REQUESTED).seq
    await world.passes(minutes=3)
    await world.orders.approve(world.incident.id, "ann", "go", request)
    said = last(world, K.APPROVED)
    assert {**said.detail} | {"until": ...} == {"request": request, "by": "ann", "why": "go", "until": ...}
    assert datetime.fromisoformat(said.detail["until"]) == said.at + timedelta(minutes=10)
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_yes_to_what_the_mode_asks_holds_for_the_rules_own_time():
    world = await asking(ladder=(MOCK,), mode=Mode.APPROVE)
    await world.orders.approve(world.incident.id, "ann")
    said = last(world, K.APPROVED)
    assert datetime.fromisoformat(said.detail["until"]) == said.at + timedelta(minutes=15)
    assert "why" not in said.detail


@virtually
async def test_a_no_hands_the_incident_over():
    world = await asking()
    await world.orders.deny(world.incident.id, "ann", "not now")
    await world.settle()
    assert {**last(world, K.APPROVAL_DENIED).detail} == {
        "request": last(world, K.APPROVAL_REQUESTED).seq,
        "by": "ann",
        "why": "not now",
    }
    assert (world.incident.handed_over, world.incident.reason) == (True, "approval_denied")
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_of_two_answers_at_once_exactly_one_counts_and_the_other_hears_of_it():
    world = await asking()
    identifier = world.incident.id
    said = await asyncio.gather(
        world.orders.approve(identifier, "ann"),
        world.orders.deny(identifier, "bo", "no!"),
        world.orders.approve(identifier, "cy"),
        return_exceptions=True,
    )
    assert said[0] is None
    assert [str(each) for each in said[1:]] == ["it was answered already: ann said yes"] * 2
    await world.settle()
    assert world.words.count("approved") == 1
    assert "approval_denied" not in world.words
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_who_comes_later_is_told_who_answered():
    world = await asking()
    await world.orders.approve(world.incident.id, "ann", "go")
    await world.settle()
    with pytest.raises(NotPossible, match=r"^it was answered already: ann said yes: go$"):
        await world.orders.deny(world.incident.id, "bo", "no")
    other = await asking()
    await other.orders.deny(other.incident.id, "ann", "risky")
    with pytest.raises(NotPossible, match=r"^it was answered already: ann said no: risky$"):
        await other.orders.approve(other.incident.id, "bo")


@virtually
async def test_only_the_request_that_was_looked_at_is_answered():
    world = await asking()
    first = last(world, K.APPROVAL_REQUESTED).seq
    await world.engine.brake(GLOBAL)
    await world.orders.approve(world.incident.id, "ann", request=first)
    await world.settle()
    world.switch.values["mode"] = "odd"
    await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.settle()
    second = last(world, K.APPROVAL_REQUESTED).seq
    assert second > first
    for request in (first, 99):
        with pytest.raises(NotPossible, match="look at it again"):
            await world.orders.approve(world.incident.id, "bo", request=request)
        with pytest.raises(NotPossible, match="look at it again"):
            await world.orders.deny(world.incident.id, "bo", "no", request=request)
    assert world.switch.values["mode"] == "odd"
    await world.orders.approve(world.incident.id, "bo", request=second)
    await world.settle()
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_an_answer_that_comes_too_late_is_none():
    world = await asking()

    class Ahead:
        def now(self) -> datetime:
            return START + timedelta(minutes=11)

    with pytest.raises(NotPossible, match="counts as no"):  # even before the engine has noticed
        await Orders(world.engine, Ahead()).approve(world.incident.id, "ann")
    await world.passes(minutes=11)
    assert world.incident.reason == "approval_expired"
    with pytest.raises(NotPossible, match="counts as no"):
        await world.orders.approve(world.incident.id, "ann")


@virtually
async def test_where_nothing_asks_there_is_nothing_to_answer():
    world = await World().start()
    await world.fire()
    await world.settle()
    with pytest.raises(NotPossible, match=r"^nothing waits for an approval$"):
        await world.orders.approve(world.incident.id, "ann")


@virtually
async def test_while_the_alerts_are_over_nothing_waits_and_when_they_are_back_it_does():
    first = RungSpec("first", do=(step("on", name="other"),), go_on=True)
    world = await asking(ladder=(first, ASKING))
    await world.resolve()
    world.say.verdicts["cause"] = "unhealthy"
    await world.settle()
    assert world.incident.phase is Phase.RECOVERING
    with pytest.raises(NotPossible, match="its alerts are over"):
        await world.orders.approve(world.incident.id, "ann")
    await world.fire()
    await world.settle()
    await world.orders.approve(world.incident.id, "ann")
    await world.settle()
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_a_rule_that_is_lost_cannot_be_approved_but_denied():
    world = await asking()
    world.engine._versions.clear()
    with pytest.raises(NotPossible, match="not known any more"):
        await world.orders.approve(world.incident.id, "ann")
    await world.orders.deny(world.incident.id, "ann", "no")
    assert world.words[-1] == "approval_denied"


@virtually
async def test_an_order_for_a_closed_incident_says_so_and_one_for_none_at_all_too():
    world = await asking()
    identifier = world.incident.id
    await world.resolve()
    await world.settle()
    with pytest.raises(NotPossible, match=r"^it is closed: self_resolved$"):
        await world.orders.approve(identifier, "ann")
    with pytest.raises(NotPossible, match=r"^it is closed: self_resolved$"):
        await world.orders.acknowledge(identifier, "ann")
    await world.journal.control(Event(K.RELOADED, START))
    for nothing in ("INC-0", "control"):
        with pytest.raises(NoSuchIncident):
            await world.orders.deny(nothing, "ann", "no")


# --- what became of a request ---

ALERT = {"labels": {"alertname": "Down"}, "annotations": {}, "starts_at": ""}
UNTIL = START + timedelta(minutes=10)
ASKED = {
    "rung": 0,
    "name": "mock",
    "until": UNTIL.isoformat(),
    "text": "it asks",
    "steps": ["a"],
    "verify": ["b"],
}


def line(*events: tuple[K, dict[str, Any]]) -> tuple[Event, ...]:
    said = ((K.OPENED, {"alerts": {"f": ALERT}}), (K.APPROVAL_REQUESTED, ASKED), *events)
    return tuple(Event(kind, START, detail, seq) for seq, (kind, detail) in enumerate(said, 1))


YES = (K.APPROVED, {"request": 2, "by": "ann", "why": "go"})
NO = (K.APPROVAL_DENIED, {"request": 2, "by": "ann"})
AGAIN = (K.APPROVAL_REQUESTED, ASKED)
STALE = (K.REFUSED, {"reason": "stale_plan"})
STARTED = (K.RUNG_STARTED, {"rung": 0, "do": 1, "reverts": [False]})


@pytest.mark.parametrize(
    ("later", "fate", "words"),
    [
        ((), Fate.PENDING, "it waits"),
        ((YES,), Fate.APPROVED, "ann said yes: go"),
        ((YES, STARTED), Fate.APPROVED, "ann said yes: go"),
        ((YES, STARTED, AGAIN), Fate.APPROVED, "ann said yes: go"),
        ((YES, STALE, AGAIN), Fate.REPLACED, "asked anew"),
        ((AGAIN,), Fate.REPLACED, "asked anew"),
        ((NO,), Fate.DENIED, "ann said no"),
        (((K.APPROVAL_EXPIRED, {}), (K.HANDED_OVER, {})), Fate.EXPIRED, "counts as no"),
        (((K.HANDED_OVER, {}),), Fate.LAPSED, "nothing waits"),
        (((K.RUNG_SKIPPED, {"rung": 0}), AGAIN), Fate.LAPSED, "nothing waits"),
        (((K.CLOSED, {"outcome": Outcome.SELF_RESOLVED}),), Fate.LAPSED, "nothing waits"),
        (((K.ALERT_RESOLVED, {"fingerprint": "f"}),), Fate.LAPSED, "nothing waits"),
    ],
)
def test_a_timeline_tells_what_became_of_a_request(later, fate, words):
    told = requested(line(*later), 2, START)
    assert told is not None
    assert (told.fate, told.number, told.steps, told.verify, told.text) == (
        fate,
        2,
        ("a",),
        ("b",),
        "it asks",
    )
    assert words in told.verdict
    assert unanswerable(line(*later), 2, START) == told.verdict


def test_a_request_without_an_answer_is_over_at_its_instant():
    assert requested(line(), 2, UNTIL - timedelta(microseconds=1)).fate is Fate.PENDING
    assert requested(line(), 2, UNTIL).fate is Fate.EXPIRED
    without = (Event(K.APPROVAL_REQUESTED, START, {}, 1),)
    assert requested(without, 1, START).fate is Fate.EXPIRED


def test_what_is_no_request_is_none():
    assert requested(line(), 1, START) is None
    assert requested(line(), 3, START) is None
    assert unanswerable(line(), 3, START) == "no request has the number 3: look at it again"
    assert unanswerable((), None, START) == "nothing waits for an approval"


def test_nothing_waits_in_an_incident_that_was_never_asked_about():
    assert pending(Incident("INC-1")) is None


@virtually
async def test_a_request_whose_alerts_ended_and_came_back_while_something_is_held_is_made_anew():
    page = RungSpec("page", do=(step(name="page"),), go_on=True)
    world = await asking(ladder=(page, ASKING))
    first = pending(world.incident)
    await world.resolve()
    world.say.verdicts["cause"] = Verdict.UNHEALTHY
    await world.passes(minutes=11)
    timeline = world.journal.timelines[world.incident.id]
    assert requested(timeline, first.request, world.clock.now()).fate is Fate.LAPSED
    await world.fire()
    await world.settle()
    second = pending(world.incident)
    assert second.request > first.request
    assert second.until > world.clock.now()
    await world.orders.approve(world.incident.id, "ann")
    await world.settle()
    assert world.incident.held == (0, 1)

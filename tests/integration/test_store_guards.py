"""What every Journal tells the guards: the store and the in-memory journal fill the same ledger, and let nobody overdraw it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.journal_examples import (
    HandClock,
    acting,
    closing,
    event,
    listen,
    open_one,
    opened_journal,
    sighting,
)

from stopgap.guard import Extent, Reason, Refusal, Request
from stopgap.incident import EventKind as K, Outcome
from stopgap.journal import Append, Journal
from stopgap.ledger import Failure, Ledger
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Circuit, Limits
from stopgap.simulate import journal as simulated
from stopgap.store import reading

HOUR = timedelta(hours=1)
FREE = Limits(
    cooldown=timedelta(),
    budget=Rate(99, HOUR),
    budget_global=Rate(99, HOUR),
    circuit=Circuit(Rate(99, HOUR)),
)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture(params=["store", "memory", "postgres"])
async def journal(request, tmp_path, clock):
    shared = request.getfixturevalue("postgres").database() if request.param == "postgres" else None
    async with opened_journal(request.param, tmp_path, clock, shared) as journal:
        yield journal


def start(incident: str = "INC-asking", **changes) -> Request:
    given = {"rule": "pack/rule", "target": "api", "starts": True, "first": True, "limits": FREE, **changes}
    return Request(incident, **given)


async def act(journal: Journal, clock: HandClock, incident: str, *take: str, **changes) -> None:
    answer = await journal.append(acting(clock, incident, *take, **{"limits": FREE, **changes}))
    assert isinstance(answer, tuple), answer


async def fail(journal: Journal, clock: HandClock, **changes) -> Failure:
    """Let an incident act, and close it without its having held."""
    name = await open_one(journal, clock, **changes)
    await act(journal, clock, name, **changes)
    acted_at = clock.now()
    clock.move(minutes=1)
    await journal.append(closing(clock, name, Outcome.HANDED_OVER))
    return Failure(name, acted_at)


# --- permits ---


async def test_starts_before_the_window_are_not_even_read(journal: Journal, clock):
    one = await open_one(journal, clock)
    for _ in range(3):
        await act(journal, clock, one)
        clock.move(minutes=30)
    brief = replace(FREE, budget=Rate(9, HOUR), budget_global=Rate(9, HOUR / 2 + HOUR))
    ledger = await journal.ledger(start(one, limits=brief))
    now = clock.now()
    assert ledger.permits == (now - HOUR / 2,)
    assert ledger.permits_global == (now - HOUR / 2, now - HOUR)


async def test_each_start_of_a_rung_counts_newest_first_and_no_more_than_the_budget(journal: Journal, clock):
    one, two = await open_one(journal, clock), await open_one(journal, clock, "b", rule="p/other", target="b")
    for _ in range(4):
        clock.move(minutes=1)
        await act(journal, clock, one)
    await act(journal, clock, two, rule="p/other", target="b")
    few = replace(FREE, budget=Rate(2, HOUR), budget_global=Rate(3, HOUR))
    ledger = await journal.ledger(start(one, limits=few))
    now = clock.now()
    assert ledger.permits == (now, now - timedelta(minutes=1))
    assert ledger.permits_global == (now, now, now - timedelta(minutes=1))


async def test_starts_that_left_the_window_of_their_budget_are_not_told(journal: Journal, clock):
    one = await open_one(journal, clock)
    for shadow in (False, True):
        await act(journal, clock, one, shadow=shadow)
    started_at = clock.now()
    wide = replace(FREE, budget_global=Rate(99, 2 * HOUR))
    for left, wait in (((started_at,), 59), ((), 1)):
        clock.move(minutes=wait)
        for shadow in (False, True):
            ledger = await journal.ledger(start(limits=wide, shadow=shadow))
            assert (ledger.permits, ledger.permits_global) == (left, (started_at,))


async def test_an_act_that_starts_no_rung_takes_no_permit_and_is_told_of_no_past(journal: Journal, clock):
    await fail(journal, clock)
    name = await open_one(journal, clock)
    await act(journal, clock, name, starts=False)
    assert len((await journal.ledger(start())).permits) == 1
    assert (await journal.ledger(start())).acted_at == clock.now() - timedelta(minutes=1)
    asked = start(starts=False, yield_to=("pack/rule",))
    assert await journal.ledger(asked) == Ledger(holders={"target:api": name})


async def test_a_budget_of_nothing_refuses_and_breaks_nothing(journal: Journal, clock):
    await fail(journal, clock)
    two = await open_one(journal, clock)
    for limits in (replace(FREE, budget=Rate(0, HOUR)), replace(FREE, budget_global=Rate(0, HOUR))):
        refusal = await journal.append(acting(clock, two, limits=limits))
        assert isinstance(refusal, Refusal)
        assert refusal.reason in {Reason.BUDGET_RULE, Reason.BUDGET_GLOBAL}
    nothing = replace(FREE, budget=Rate(0, HOUR), budget_global=Rate(0, HOUR))
    ledger = await journal.ledger(start(limits=nothing))
    assert (ledger.permits, ledger.permits_global) == ((), ())


async def test_a_shadow_takes_a_permit_among_shadows_and_holds_nothing(journal: Journal, clock):
    one, two = await open_one(journal, clock), await open_one(journal, clock, "b", rule="pack/other")
    await act(journal, clock, one, "env:x")
    clock.move(minutes=1)
    await act(journal, clock, two, "env:x", "env:y", rule="pack/other", shadow=True)
    asked = start(rule="pack/other", take=("env:x", "env:y"))
    seen, real = await journal.ledger(replace(asked, shadow=True)), await journal.ledger(asked)
    assert seen == Ledger(acted_at=clock.now(), permits=(clock.now(),), permits_global=(clock.now(),))
    assert real == Ledger(
        holders={"target:api": one, "env:x": one}, permits_global=(clock.now() - timedelta(minutes=1),)
    )
    await journal.append(closing(clock, one))
    await journal.append(closing(clock, two))
    after = await journal.ledger(start(rule="pack/other"))
    assert (after.holders, after.acted_at, after.failures) == ({}, None, ())


async def test_a_shadow_cools_down_from_the_shadows_of_other_incidents(journal: Journal, clock):
    one = await open_one(journal, clock)
    await act(journal, clock, one, shadow=True)
    acted_at = clock.now()
    assert (await journal.ledger(start(one, shadow=True))).acted_at is None
    assert (await journal.ledger(start(shadow=True))).acted_at == acted_at
    assert (await journal.ledger(start(shadow=True, follows="INC-before"))).acted_at is None
    assert (await journal.ledger(start(shadow=True, target="db"))).acted_at is None
    assert (await journal.ledger(start(shadow=True, rule="pack/other"))).acted_at is None
    assert (await journal.ledger(start())).acted_at is None


async def test_the_cooldown_counts_incidents_that_acted_and_did_not_hold(journal: Journal, clock):
    one = await open_one(journal, clock)
    await journal.append(acting(clock, one))
    acted_at = clock.now()
    own = acting(clock, one).request
    assert (await journal.ledger(own)).acted_at is None
    clock.move(minutes=1)
    await journal.append(closing(clock, one, Outcome.HANDED_OVER))
    two = await open_one(journal, clock)
    asked = acting(clock, two)
    assert (await journal.ledger(asked.request)).acted_at == acted_at
    refusal = await journal.append(asked)
    assert isinstance(refusal, Refusal)
    assert refusal.until == acted_at + timedelta(minutes=10)
    clock.move(minutes=10)
    assert isinstance(await journal.append(asked), tuple)
    await journal.append(closing(clock, two, reverted_at=clock.now()))
    assert (await journal.ledger(start())).acted_at == acted_at


async def test_the_cooldown_is_asked_of_a_first_rung_that_is_no_flap(journal: Journal, clock):
    failed = await fail(journal, clock)
    assert (await journal.ledger(start())).acted_at == failed.at
    for asked in (start(first=False), start(follows="INC-before")):
        assert (await journal.ledger(asked)).acted_at is None


# --- failures ---


async def test_failures_are_the_closed_incidents_that_acted_and_did_not_hold(journal: Journal, clock):
    failed = [await fail(journal, clock) for _ in range(2)]
    for end in (
        {"mitigated_at": clock.now(), "outcome": Outcome.KEPT},
        {"outcome": Outcome.RECOVERED},
    ):
        name = await open_one(journal, clock)
        await act(journal, clock, name)
        await journal.append(closing(clock, name, **end))
    idle = await open_one(journal, clock)
    await journal.append(closing(clock, idle, Outcome.HANDED_OVER))
    live = await open_one(journal, clock)
    await act(journal, clock, live)
    assert (await journal.ledger(start())).failures == (failed[1], failed[0])
    assert (await journal.ledger(start(failed[1].incident))).failures == (failed[0],)
    for asked in (
        start(first=False),
        start(acknowledged=True),
        start(shadow=True),
        start(target="db"),
        start(rule="pack/other"),
    ):
        assert (await journal.ledger(asked)).failures == ()
    assert (await journal.ledger(start(follows="INC-before"))).failures == (failed[1], failed[0])


async def test_of_very_many_failures_the_last_fifty_are_told(journal: Journal, clock):
    failed = [await fail(journal, clock) for _ in range(52)]
    limits = replace(FREE, circuit=Circuit(Rate(2, HOUR)))
    assert (await journal.ledger(start(limits=limits))).failures == tuple(reversed(failed[2:]))


async def test_as_many_failures_are_told_as_a_circuit_counts(journal: Journal, clock):
    failed = [await fail(journal, clock) for _ in range(52)]
    limits = replace(FREE, circuit=Circuit(Rate(51, HOUR)))
    assert (await journal.ledger(start(limits=limits))).failures == tuple(reversed(failed[1:]))


async def test_the_circuit_opens_inside_the_batch(journal: Journal, clock):
    limits = replace(FREE, circuit=Circuit(Rate(2, HOUR)))
    failed = [await fail(journal, clock) for _ in range(2)]
    three = await open_one(journal, clock)
    refusal = await journal.append(acting(clock, three, limits=limits))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.CIRCUIT_OPEN
    assert failed[-1].incident in refusal.text
    await act(journal, clock, three, limits=limits, acknowledged=True)


# --- blast radius, and who goes first ---


async def test_the_blast_radius_counts_other_targets_that_are_held_or_acted_upon(journal: Journal, clock):
    names = [
        await open_one(journal, clock, str(i), rule=rule, target=target)
        for i, (rule, target) in enumerate(
            [("p/a", "t1"), ("p/b", "t1"), ("p/a", "t2"), ("p/a", "t3"), ("p/c", "t4"), ("p/a", "own")]
        )
    ]
    await act(journal, clock, names[0], "env:1", "env:2", rule="p/a", target="t1")
    freed = Append(names[0], (event(clock, K.MITIGATED),), release=("target:t1",))
    await journal.append(freed)
    await act(journal, clock, names[1], "env:3", rule="p/b", target="t1")
    await act(journal, clock, names[2], rule="p/a", target="t2")
    await act(journal, clock, names[4], rule="p/c", target="t4")
    await act(journal, clock, names[5], rule="p/a", target="own")
    limits = replace(FREE, blast_radius=BlastRadius(3, 2))
    population = ("p/a", "p/b")
    asked = start(names[5], rule="p/a", target="own", limits=limits, population=population, extent=Extent(3))
    assert (await journal.ledger(asked)).affected == 2
    refusal = await journal.append(Append(names[5], (event(clock, K.PERMITTED),), request=asked))
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.BLAST_RADIUS
    assert (await journal.ledger(replace(asked, population=("p/b",)))).affected == 1
    for other in (
        replace(asked, population=()),
        replace(asked, limits=FREE),
        replace(asked, starts=False),
    ):
        assert (await journal.ledger(other)).affected == 0
    await journal.append(closing(clock, names[2]))
    assert (await journal.ledger(asked)).affected == 1


async def test_the_oldest_live_incident_of_a_rule_that_goes_first_is_named(journal: Journal, clock):
    shadow = await open_one(journal, clock, "0", rule="p/a", mode="shadow")
    elsewhere = await open_one(journal, clock, "1", rule="p/a", target="db")
    old = await open_one(journal, clock, "2", rule="p/c")
    young = await open_one(journal, clock, "3", rule="p/b")
    asked = start(yield_to=("p/a", "p/b", "p/c"))
    assert (await journal.ledger(asked)).first == old
    assert (await journal.ledger(replace(asked, incident=old))).first == young
    assert (await journal.ledger(replace(asked, yield_to=("p/a", "p/z")))).first == ""
    assert (await journal.ledger(replace(asked, target="db"))).first == elsewhere
    assert (await journal.ledger(replace(asked, yield_to=()))).first == ""
    mine = await open_one(journal, clock, "4", rule="p/last")
    refusal = await journal.append(acting(clock, mine, rule="p/last", yield_to=("p/c",)))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, old in refusal.text) == (Reason.YIELDED, True)
    await journal.append(closing(clock, old))
    assert (await journal.ledger(asked)).first == young
    assert shadow in await journal.live()


# --- at once ---


async def test_fifty_that_ask_at_once_never_overdraw_nor_share_a_target_or_a_resource(
    journal: Journal, clock
):
    scarce, ample = Rate(2, HOUR), Rate(9, HOUR)
    places = [(f"pack/rule{i % 5}", f"target{i // 2}", f"env:{i // 3}") for i in range(50)]
    await journal.receive([sighting(clock, on, rule=rule, target=on) for rule, on, _ in places])

    async def ask(incident: str, rule: str, target: str, resource: str):
        budget = scarce if rule in {"pack/rule0", "pack/rule1"} else ample
        limits = replace(FREE, budget=budget, budget_global=Rate(12, HOUR))
        return await journal.append(
            acting(clock, incident, resource, rule=rule, target=target, limits=limits)
        )

    live = await journal.live()
    answers = await asyncio.gather(*(ask(name, *place) for name, place in zip(live, places, strict=True)))
    granted = [
        place for place, answer in zip(places, answers, strict=True) if not isinstance(answer, Refusal)
    ]
    assert len(granted) == 12
    for rule, budget in {place[0]: scarce if place[0][-1] in "01" else ample for place in places}.items():
        assert [place[0] for place in granted].count(rule) <= budget.count
    assert len({target for _, target, _ in granted}) == 12
    assert len({resource for *_, resource in granted}) == 12
    assert {answer.reason for answer in answers if isinstance(answer, Refusal)} == {
        Reason.BUDGET_RULE,
        Reason.BUDGET_GLOBAL,
        Reason.TARGET_BUSY,
        Reason.RESOURCE_HELD,
    }
    everything = tuple(resource for *_, resource in places)
    ledger = await journal.ledger(start(take=everything))
    assert len(ledger.permits_global) == 12
    assert set(ledger.holders) == {resource for *_, resource in granted}


# --- rungs that ran once ---


async def test_what_must_run_once_is_known_to_the_next_in_a_chain_of_flaps(journal: Journal, clock):
    lines = listen(journal)
    one = await open_one(journal, clock)
    again = (sighting(clock),)
    end = closing(clock, one, used=("wipe", "drain"), reverted_at=clock.now(), refiring=again)
    await journal.append(end)
    (two,) = await journal.live()
    assert (await journal.timeline(two))[0].detail["used"] == ["drain", "wipe"]
    assert lines[-1].event == (await journal.timeline(two))[0]
    await journal.append(closing(clock, two, reverted_at=clock.now()))
    three = await open_one(journal, clock)
    assert "used" not in (await journal.timeline(three))[0].detail
    await journal.append(closing(clock, three, used=("wipe",)))
    four = await open_one(journal, clock)
    assert "used" not in (await journal.timeline(four))[0].detail


# --- openings, and rules that are new ---


async def test_openings_are_told_oldest_first_live_or_closed_since_a_moment(
    journal: Journal, clock, monkeypatch
):
    seen = []
    for i in range(5):
        name = await open_one(journal, clock, str(i), target=f"t{i % 4}", rule=f"p/r{i}")
        seen.append((f"t{i % 4}", clock.now()))
        if i == 2:
            await journal.append(closing(clock, name))
        clock.move(minutes=-10 if i == 3 else 3)
    seen.sort(key=lambda each: each[1])
    assert await journal.openings(seen[0][1]) == tuple(seen)
    assert await journal.openings(seen[1][1]) == tuple(seen[1:])
    assert await journal.openings(clock.now() + HOUR) == ()
    for module in (reading, simulated):
        monkeypatch.setattr(module, "OPENINGS", 2)
    assert await journal.openings(seen[0][1]) == tuple(seen[-2:])


async def test_a_rule_is_new_once(journal: Journal, clock):
    first_at = clock.now()
    assert await journal.meet(["p/a", "p/b", "p/a"], first_at) == {"p/a": first_at, "p/b": first_at}
    clock.move(hours=1)
    assert await journal.meet({"p/a", "p/c"}, clock.now()) == {"p/a": first_at, "p/c": clock.now()}
    assert await journal.meet([], clock.now()) == {}
    many = [f"p/{i}" for i in range(1200)]
    await journal.meet(many, clock.now())
    assert await journal.meet([*many, "p/b"], clock.move(hours=1)) == {
        **dict.fromkeys(many, first_at + HOUR),
        "p/b": first_at,
    }

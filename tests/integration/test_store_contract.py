"""What every Journal promises: the store and the in-memory journal of the tests answer alike."""

import asyncio
import re
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

from stopgap.guard import Reason, Refusal, Request
from stopgap.incident import Event, EventKind as K, Outcome, StepStatus
from stopgap.journal import CONTROL, Append, Conflict, Journal
from stopgap.ledger import Brake, BrakeScope


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture(params=["store", "memory", "postgres"])
async def journal(request, tmp_path, clock):
    shared = request.getfixturevalue("postgres").database() if request.param == "postgres" else None
    async with opened_journal(request.param, tmp_path, clock, shared) as journal:
        yield journal


def kinds(events) -> list[str]:
    return [e.kind.value for e in events]


# --- receiving ---


async def test_what_is_decided_before_it_opens_is_committed_right_after_the_opening_and_only_then(
    journal: Journal, clock
):
    lines = listen(journal)
    then = (event(clock, K.HANDED_OVER, reason="r", rungs=(1,)), event(clock, K.NOTE_ADDED, text="t"))
    await journal.receive([sighting(clock, "a", then=then), sighting(clock, "b", then=then)])
    await journal.receive([sighting(clock, "c", then=then)])
    ((name, events),) = (await journal.live()).items()
    assert kinds(events) == [K.OPENED, K.HANDED_OVER, K.NOTE_ADDED, K.ALERT_JOINED, K.ALERT_JOINED]
    assert [e.seq for e in events] == [1, 2, 3, 4, 5]
    assert events[1] == Event(K.HANDED_OVER, clock.now(), {"reason": "r", "rungs": [1]}, 2)
    assert [line.event for line in lines] == list(events)
    (after,) = await journal.append(Append(name, (event(clock, K.NOTE_ADDED, text="u"),), expect=5))
    assert after.seq == 6


async def test_the_first_alert_opens_and_the_others_of_the_same_target_join(journal: Journal, clock):
    lines = listen(journal)
    await journal.receive([sighting(clock, "a"), sighting(clock, "b"), sighting(clock, "c", target="db")])
    (api, db) = (await journal.live()).items()
    assert kinds(api[1]) == [K.OPENED, K.ALERT_JOINED]
    assert [e.seq for e in api[1]] == [1, 2]
    assert api[1][0].detail == {
        "rule": "pack/rule",
        "version": "v1",
        "target": "api",
        "severity": "P1",
        "mode": "auto",
        "flaps": 0,
        "rung": 0,
        "alerts": {"a": sighting(clock, "a").alert},
    }
    assert api[1][1].detail == {"fingerprint": "b", **sighting(clock, "b").alert}
    assert api[1][0].at == clock.now()
    assert kinds(db[1]) == [K.OPENED]
    assert [(line.incident, line.event) for line in lines] == [
        (api[0], api[1][0]),
        (api[0], api[1][1]),
        (db[0], db[1][0]),
    ]


async def test_an_incident_is_named_after_the_moment_it_opened(journal: Journal, clock):
    assert re.fullmatch(r"INC-20260301-120000-[0-9a-hjkmnp-tv-z]{6}", await open_one(journal, clock))


async def test_a_repeat_a_stranger_and_a_second_resolved_change_nothing(journal: Journal, clock):
    await open_one(journal, clock)
    await journal.receive([sighting(clock, firing=False)])
    lines = listen(journal)
    await journal.receive([sighting(clock, firing=False), sighting(clock, "unknown", firing=False)])
    assert lines == []
    await journal.receive([sighting(clock)])
    await journal.receive([sighting(clock), sighting(clock)])
    assert kinds(line.event for line in lines) == [K.REFIRED]


async def test_an_alert_resolves_and_fires_again_within_one_message(journal: Journal, clock):
    incident = await open_one(journal, clock)
    again = sighting(clock, alert={"labels": {}, "annotations": {}, "starts_at": "2026-03-01T13:00:00Z"})
    await journal.receive([sighting(clock, firing=False), again])
    _, resolved, refired = await journal.timeline(incident)
    assert (resolved.kind, resolved.detail) == (K.ALERT_RESOLVED, {"fingerprint": "a"})
    assert refired.kind is K.REFIRED
    assert refired.detail == {"fingerprint": "a", "starts_at": "2026-03-01T13:00:00Z"}


async def test_one_alert_opens_an_incident_for_each_rule(journal: Journal, clock):
    await journal.receive([sighting(clock, rule="pack/one"), sighting(clock, rule="pack/two")])
    assert len(await journal.live()) == 2


async def test_a_flaw_of_the_target_is_kept(journal: Journal, clock):
    incident = await open_one(journal, clock, flaw="unsafe_label")
    assert (await journal.timeline(incident))[0].detail["flaw"] == "unsafe_label"


async def test_many_alerts_in_one_message_all_count(journal: Journal, clock):
    await journal.receive([sighting(clock, str(i), target=f"t{i % 1100}") for i in range(1500)])
    live = await journal.live()  # more than are read at once
    assert len(live) == 1100
    assert sum(map(len, live.values())) == 1500
    assert [events[0].detail["target"] for events in live.values()] == [f"t{i}" for i in range(1100)]


async def test_fifty_copies_of_one_notification_open_one_incident(journal: Journal, clock):
    await asyncio.gather(*(journal.receive([sighting(clock)]) for _ in range(50)))
    assert [kinds(events) for events in (await journal.live()).values()] == [[K.OPENED]]


# --- appending ---


async def test_events_are_appended_with_their_seq_and_read_back_as_they_were_told(journal: Journal, clock):
    incident = await open_one(journal, clock)
    lines = listen(journal)
    mixed = event(clock, K.STEP_FAILED, status=StepStatus.FAILED, list=(1, "ü\u0000"), none=None)
    answer = await journal.append(Append(incident, (mixed, event(clock, K.RUNG_FAILED)), expect=1))
    assert [(e.kind, e.seq) for e in answer] == [(K.STEP_FAILED, 2), (K.RUNG_FAILED, 3)]
    assert answer[0].detail == {"status": "failed", "list": [1, "ü\u0000"], "none": None}
    assert (await journal.timeline(incident))[1:] == answer == tuple(line.event for line in lines)


async def test_a_decision_made_before_the_incident_moved_on_is_a_conflict(journal: Journal, clock):
    incident = await open_one(journal, clock)
    await journal.append(Append(incident, (event(clock, K.ACKNOWLEDGED),)))
    stale = Append(incident, (event(clock, K.MITIGATED),), expect=1)
    assert await journal.append(stale) == Conflict(2)
    assert len(await journal.timeline(incident)) == 2


async def test_an_unknown_incident_is_a_conflict_and_gets_no_timeline(journal: Journal, clock):
    assert await journal.append(Append("INC-nobody", (event(clock, K.ACKNOWLEDGED),))) == Conflict(0)
    assert await journal.append(Append(CONTROL, (event(clock, K.ACKNOWLEDGED),))) == Conflict(0)
    assert await journal.timeline("INC-nobody") == ()


async def test_a_closed_incident_takes_only_the_word_of_messages_sent(journal: Journal, clock):
    incident = await open_one(journal, clock)
    await journal.append(closing(clock, incident))
    for kind in (K.NOTIFIED, K.NOTIFY_FAILED):
        assert isinstance(await journal.append(Append(incident, (event(clock, kind),))), tuple)
    for refused in (
        Append(incident, (event(clock, K.ACKNOWLEDGED),)),
        Append(incident, (event(clock, K.NOTIFIED), event(clock, K.ACKNOWLEDGED))),
        Append(incident, (event(clock, K.NOTIFIED),), expect=4),
    ):
        assert await journal.append(refused) == Conflict(4)
    assert kinds(await journal.timeline(incident)) == [K.OPENED, K.CLOSED, K.NOTIFIED, K.NOTIFY_FAILED]


async def test_of_fifty_that_ask_for_one_target_exactly_one_gets_it(journal: Journal, clock):
    for i in range(50):
        await open_one(journal, clock, str(i), rule=f"pack/rule{i}")
    asked = [acting(clock, name, rule=f"pack/rule{i}") for i, name in enumerate(await journal.live())]
    answers = await asyncio.gather(*(journal.append(each) for each in asked))
    assert sum(isinstance(answer, tuple) for answer in answers) == 1
    assert {a.reason for a in answers if isinstance(a, Refusal)} == {Reason.TARGET_BUSY}


async def test_a_refused_request_writes_nothing_at_all(journal: Journal, clock):
    one, two = await open_one(journal, clock), await open_one(journal, clock, "b", rule="pack/other")
    await journal.append(acting(clock, one, "env:x"))
    asked = acting(clock, two, "env:y", rule="pack/other")
    refused = Append(
        two, asked.events, request=asked.request, undo={"0/0/do": 1}, closing=closing(clock, two).closing
    )
    assert isinstance(await journal.append(refused), Refusal)
    assert kinds(await journal.timeline(two)) == [K.OPENED]
    assert await journal.undo(two, "0/0/do") is None
    free = Request("INC-third", "pack/third", "elsewhere", take=("env:y",))
    assert (await journal.ledger(free)).holders == {}


async def test_a_resource_has_one_holder_who_may_take_it_again_until_it_lets_go(journal: Journal, clock):
    one, two = await open_one(journal, clock), await open_one(journal, clock, "b", target="db")
    assert isinstance(await journal.append(acting(clock, one, "env:x")), tuple)
    assert isinstance(await journal.append(acting(clock, one, "env:x")), tuple)
    asked = acting(clock, two, "env:x", target="db")
    refusal = await journal.append(asked)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, one in refusal.text) == (Reason.RESOURCE_HELD, True)
    assert (await journal.ledger(asked.request)).holders == {"env:x": one}
    foreign = Append(two, (event(clock, K.ACKNOWLEDGED),), release=("env:x",))
    await journal.append(foreign)
    assert isinstance(await journal.append(asked), Refusal)
    await journal.append(Append(one, (event(clock, K.REVERTED),), release=("env:x",)))
    assert isinstance(await journal.append(asked), tuple)


async def test_even_a_lock_that_no_guard_asks_for_has_one_holder(journal: Journal, clock):
    one, two = await open_one(journal, clock), await open_one(journal, clock, "b", target="db")
    await journal.append(acting(clock, one))
    assert isinstance(await journal.append(acting(clock, two, "target:api", target="db")), Refusal)


async def test_closing_lets_go_of_everything(journal: Journal, clock):
    one = await open_one(journal, clock)
    asked = acting(clock, one, "env:x")
    await journal.append(asked)
    await journal.append(closing(clock, one))
    other = Request("INC-other", "pack/other", "api", take=("env:x",))
    assert (await journal.ledger(other)).holders == {}
    assert await journal.live() == {}


async def test_the_undo_keeps_what_was_seen_and_what_was_returned_apart_from_the_timeline(
    journal: Journal, clock
):
    one = await open_one(journal, clock)
    step = event(clock, K.STEP_STARTED)
    await journal.append(Append(one, (step,), undo={"0/0/do": {"PMS": "secret"}, "0/1/do": None}))
    assert (await journal.undo(one, "0/0/do")).before == {"PMS": "secret"}
    assert (await journal.undo(one, "0/0/do")).receipt is None
    await journal.append(Append(one, (step,), receipt={"0/0/do": {"pid": 7}, "0/2/do": 1}))
    undo = await journal.undo(one, "0/0/do")
    assert (undo.before, undo.receipt) == ({"PMS": "secret"}, {"pid": 7})
    assert (await journal.undo(one, "0/2/do")).receipt == 1
    await journal.append(Append(one, (step,), undo={"0/0/do": "later"}))
    undo = await journal.undo(one, "0/0/do")
    assert (undo.before, undo.receipt) == ("later", None)
    assert await journal.undo(one, "9/9/do") is None
    assert "secret" not in str(await journal.timeline(one))


# --- closing, flaps, served ---


async def test_alerts_of_a_closed_incident_are_forgotten_and_open_the_next(journal: Journal, clock):
    one = await open_one(journal, clock)
    await journal.append(closing(clock, one))
    two = await open_one(journal, clock)
    first = (await journal.timeline(two))[0]
    assert two != one
    assert "follows" not in first.detail


async def test_served_alerts_open_nothing_until_they_are_over(journal: Journal, clock):
    one = await open_one(journal, clock)
    await journal.receive([sighting(clock, "over"), sighting(clock, "over", firing=False)])
    await journal.append(closing(clock, one, Outcome.KEPT, serve=True))
    assert await journal.served() == {("pack/rule", "a")}
    lines = listen(journal)
    await journal.receive([sighting(clock)])
    await journal.receive([sighting(clock, firing=False)])
    assert lines == []
    assert await journal.served() == frozenset()
    await journal.receive([sighting(clock), sighting(clock, "over")])
    assert kinds(line.event for line in lines) == [K.OPENED, K.ALERT_JOINED]


async def test_a_served_alert_that_ends_and_fires_in_one_message_opens(journal: Journal, clock):
    one = await open_one(journal, clock)
    await journal.append(closing(clock, one, Outcome.KEPT, serve=True))
    await journal.receive([sighting(clock, firing=False), sighting(clock)])
    assert len(await journal.live()) == 1


async def test_what_fires_again_during_the_revert_opens_the_next_in_the_closing_commit(
    journal: Journal, clock
):
    one = await open_one(journal, clock)
    lines = listen(journal)
    again = tuple(sighting(clock, fingerprint, flap_from={"two": 1}) for fingerprint in "ab")
    end = closing(clock, one, helped="two", reverted_at=clock.now(), refiring=again)
    assert kinds(await journal.append(end)) == [K.CLOSED]
    assert kinds(line.event for line in lines) == [K.CLOSED, K.OPENED, K.ALERT_JOINED]
    opened = lines[1].event.detail
    assert (opened["follows"], opened["rung"], opened["flaps"]) == (one, 1, 1)
    await journal.receive(again)
    assert len(lines) == 3


async def test_flaps_are_counted_within_the_window_and_start_anew_after_six_hours(journal: Journal, clock):
    seen = []
    for _ in range(3):
        name = await open_one(journal, clock, flap_from={"one": 0, "two": 2})
        first = (await journal.timeline(name))[0].detail
        seen.append((first.get("follows"), first["flaps"], first["rung"]))
        clock.move(minutes=30)
        await journal.append(closing(clock, name, helped="two", reverted_at=clock.now()))
        clock.move(minutes=15)
    names = [stored.id for stored in await journal.closed(rule=None, target=None, before=None, limit=9)][::-1]
    assert seen == [(None, 0, 0), (names[0], 1, 2), (names[1], 2, 2)]
    late = await open_one(journal, clock)
    clock.move(hours=6)
    await journal.append(closing(clock, late, reverted_at=clock.now()))
    again = await open_one(journal, clock)
    assert (await journal.timeline(again))[0].detail["flaps"] == 1
    await journal.append(closing(clock, again, reverted_at=clock.now()))
    clock.move(minutes=15, seconds=1)
    calm = await open_one(journal, clock)
    assert "follows" not in (await journal.timeline(calm))[0].detail


async def test_closed_incidents_are_listed_newest_first_by_rule_target_and_page(journal: Journal, clock):
    names = []
    for i in range(6):
        rule, target = f"pack/r{i % 2}", f"t{i % 3}"
        names.append(await open_one(journal, clock, str(i), rule=rule, target=target))
        clock.move(minutes=1)
    for name in names[:5]:
        await journal.append(closing(clock, name, severity="P0", mitigated_at=clock.now()))
    everything = {"rule": None, "target": None, "before": None, "limit": 10}

    async def listed(**asked):
        return [names.index(stored.id) for stored in await journal.closed(**{**everything, **asked})]

    assert await listed() == [4, 3, 2, 1, 0]
    assert await listed(limit=2) == [4, 3]
    assert await listed(before=names[3], limit=2) == [2, 1]
    assert await listed(rule="pack/r0") == [4, 2, 0]
    assert await listed(target="t1") == [4, 1]
    assert await listed(rule="pack/r0", target="t1") == [4]
    assert await listed(before="INC-nobody") == []
    stored = (await journal.closed(**everything))[-1]
    assert (stored.outcome, stored.severity, stored.mode, stored.follows) == ("recovered", "P0", "auto", "")
    assert (stored.closed_at, stored.mitigated_at) == (clock.now(), clock.now())


# --- brakes, control, rule versions ---


async def test_a_brake_stops_inside_the_batch_and_is_told_in_control(journal: Journal, clock):
    one = await open_one(journal, clock)
    lines = listen(journal)
    brake = Brake(BrakeScope.PACK, "pack", "ana", "migration", clock.now(), clock.now() + timedelta(hours=1))
    await journal.brake(brake)
    assert await journal.brakes() == (brake,)
    refusal = await journal.append(acting(clock, one))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.until) == (Reason.BRAKE, brake.until)
    second = Brake(BrakeScope.PACK, "pack", "bo", "still", clock.now())
    await journal.brake(second)
    assert await journal.brakes() == (second,)
    assert await journal.release(BrakeScope.PACK, "pack", "bo", clock.now(), "done") is True
    assert await journal.release(BrakeScope.PACK, "pack", "bo", clock.now()) is False
    assert await journal.brakes() == ()
    told = await journal.timeline(CONTROL)
    assert [line.incident for line in lines] == [CONTROL] * 3
    assert tuple(line.event for line in lines) == told
    assert [(e.kind, e.seq) for e in told] == [(K.BRAKED, 1), (K.BRAKED, 2), (K.BRAKE_RELEASED, 3)]
    assert told[0].detail == {
        "scope": "pack",
        "name": "pack",
        "by": "ana",
        "why": "migration",
        "until": brake.until.isoformat(),
    }
    assert told[2].detail == {"scope": "pack", "name": "pack", "by": "bo", "why": "done"}
    await journal.brake(second)
    await journal.release(BrakeScope.PACK, "pack", "bo", clock.now())
    assert (await journal.timeline(CONTROL))[-1].detail == {"scope": "pack", "name": "pack", "by": "bo"}


async def test_control_has_a_timeline_of_its_own_that_is_no_incident(journal: Journal, clock):
    for kind in (K.RELOADED, K.LOGIN_REFUSED):
        await journal.control(event(clock, kind, why="x"))
    assert [(e.kind, e.seq) for e in await journal.timeline(CONTROL)] == [
        (K.RELOADED, 1),
        (K.LOGIN_REFUSED, 2),
    ]
    assert await journal.live() == {}


async def test_of_control_only_the_last_lines_can_be_read(journal: Journal, clock):
    for kind in (K.RELOADED, K.STORM_BEGAN, K.STORM_ENDED):
        await journal.control(event(clock, kind))
    assert [e.kind for e in await journal.lately(2)] == [K.STORM_BEGAN, K.STORM_ENDED]
    assert await journal.lately(9) == await journal.timeline(CONTROL)


async def test_rule_versions_are_remembered_and_never_rewritten(journal: Journal):
    await journal.remember({"v1": {"name": "a"}, "v2": [1, None]})
    await journal.remember({"v1": "other"})
    await journal.remember({})
    assert await journal.document("v1") == {"name": "a"}
    assert await journal.document("v2") == [1, None]
    assert await journal.document("v3") is None


async def test_what_is_no_json_fails_its_caller_and_changes_nothing(journal: Journal, clock):
    one = await open_one(journal, clock)
    lines = listen(journal)
    with pytest.raises(TypeError):
        await journal.append(Append(one, (Event(K.STEP_FAILED, clock.now(), {"why": "\ud800"}),)))
    assert lines == []


async def test_a_text_that_a_column_cannot_hold_fails_its_sender_and_nobody_else(journal: Journal, clock):
    odd, good = await asyncio.gather(
        journal.receive([sighting(clock, "a", target="x\0y")]),
        journal.receive([sighting(clock, "b", target="db")]),
        return_exceptions=True,
    )
    assert isinstance(odd, ValueError)
    assert good is None
    assert len(await journal.live()) == 1

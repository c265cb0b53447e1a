"""Pruned or not, guards decide the same, and new incidents take over the same from those before them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings, strategies as st
from sqlalchemy import Connection, func, select
from tests.journal_examples import START, HandClock, sighting

from stopgap.guard import Request, check
from stopgap.rate import Rate
from stopgap.retention import kept_for
from stopgap.rule import Circuit, Limits, Rule
from stopgap.store import pruning, reading, schema, sqlite
from stopgap.store.batch import Batch
from stopgap.store.ledger import ledger
from stopgap.store.receiving import receive
from stopgap.store.rows import MICROSECOND, micros

DAY, HOUR, NOW = timedelta(days=1), timedelta(hours=1), START
NAMES, TARGETS = ("p/one", "p/two"), ("api",)
AGES = st.sampled_from([days * DAY for days in (0, 2, 5, 7.5, 9, 12, 18, 22, 29, 32, 44, 60)])  # of the end
LASTED = st.sampled_from([timedelta(), HOUR / 6, HOUR, HOUR, 6 * HOUR, 2 * DAY, 20 * DAY])
SPANS = st.sampled_from([HOUR / 6, HOUR, 3 * DAY])
LONG = st.sampled_from([8 * DAY, 20 * DAY, 45 * DAY])
RATES = st.builds(Rate, st.integers(0, 4), SPANS)
CIRCUITS = st.builds(Circuit, st.builds(Rate, st.integers(1, 3), SPANS), SPANS)
SHORT_LIMITS = st.builds(
    Limits, cooldown=SPANS | st.just(timedelta()), flap_window=SPANS, budget=RATES, circuit=CIRCUITS
)


@st.composite
def one_long(draw: st.DrawFn) -> Limits:
    """Return limits of which one looks back far."""
    limits, span = draw(SHORT_LIMITS), draw(LONG)
    longer = [
        {"cooldown": span},
        {"flap_window": span},
        {"budget": Rate(draw(st.integers(1, 4)), span)},
        {"budget_global": Rate(draw(st.integers(1, 4)), span)},
        {"circuit": Circuit(Rate(draw(st.integers(1, 3)), span / 2), span)},
    ]
    return replace(limits, **draw(st.sampled_from(longer)))


LIMITS = one_long() | one_long() | SHORT_LIMITS


@dataclass(frozen=True)
class Past:
    """One incident as it is told to the tables; ages are counted back from now, the eldest first."""

    rule: str
    target: str
    ages: tuple[timedelta, ...]  # opened, acted, mitigated, closed
    acts: int
    outcome: str
    live: bool
    held: bool
    reverted: bool
    served: bool
    shadow: bool
    set_back: bool  # the clock: the permit is younger than the end
    follows: int


PASTS = st.builds(
    Past,
    st.sampled_from(NAMES),
    st.sampled_from(TARGETS),
    st.tuples(AGES, LASTED, LASTED, LASTED).map(lambda spans: tuple(accumulate(spans))[::-1]),
    st.integers(0, 3),
    st.sampled_from(["recovered", "reverted", "handed_over", "self_resolved", "shadow"]),
    st.sampled_from([False] * 9 + [True]),
    st.booleans(),
    st.sampled_from([True, True, False]),
    st.sampled_from([False] * 5 + [True]),
    st.sampled_from([False] * 3 + [True]),
    st.sampled_from([False] * 5 + [True]),
    st.integers(0, 3),
)


def write(connection: Connection, pasts: list[Past]) -> None:
    taken: set[tuple[str, str]] = set()
    for number, past in enumerate(sorted(pasts, key=lambda one: one.ages[0], reverse=True), 1):
        opened, acted, mitigated, closed = (micros(NOW - age) for age in past.ages)
        live = past.live and (past.rule, past.target) not in taken
        name, at = f"INC-{number}", closed + 2 * (DAY // MICROSECOND) if past.set_back else acted
        taken |= {(past.rule, past.target)} if live else set()
        acts = past.acts and not past.shadow
        row: dict[str, Any] = dict.fromkeys(("severity", "outcome", "version"), "")
        row |= {"number": number, "id": name, "rule": past.rule, "target": past.target, "mode": "auto"}
        row |= {
            "seq": 1,
            "opened_at": opened,
            "acted_at": at if acts else None,
            "rung": 0,
            "flaps": number % 3,
        }
        row |= {"mitigated_at": mitigated if past.held else None, "closed_at": None if live else closed}
        row |= {"reverted_at": closed if past.held and past.reverted and not live else None}
        row |= {
            "outcome": "" if live else past.outcome,
            "follows": f"INC-{number - past.follows}" if live else "",
        }
        connection.execute(schema.incident.insert(), row)
        line = {"incident": name, "seq": 1, "at": opened, "kind": "opened", "detail": "{}"}
        connection.execute(schema.journal.insert(), line)
        for n in range(past.acts):
            permit = {"incident": name, "rule": past.rule, "target": past.target, "shadow": past.shadow}
            connection.execute(schema.permit.insert(), {**permit, "at": at - n})
        if live or past.served:
            told = {"fingerprint": f"f{number}", "rule": past.rule, "incident": name, "firing": True}
            connection.execute(schema.episode.insert(), {**told, "served": not live})


def answers(connection: Connection, rules: list[Rule], now: datetime) -> list[Any]:
    """Return what all guards say to all requests, and what a new incident would take over."""
    said: list[Any] = [reading.openings(connection, now - DAY), reading.served(connection)]
    for rule in rules:
        for target in TARGETS:
            for shadow, follows in ((False, ""), (True, ""), (False, "INC-x")):
                asked = Request(
                    "INC-asking",
                    rule.id,
                    target,
                    starts=True,
                    first=True,
                    shadow=shadow,
                    follows=follows,
                    limits=rule.limits,
                )
                for request in (asked, replace(asked, first=False), replace(asked, acknowledged=True)):
                    refusal = check(request, ledger(connection, request, now), now)
                    said.append(refusal and (refusal.reason, refusal.until))
            said.append(opening(connection, rule, target, now))
    return said


def opening(connection: Connection, rule: Rule, target: str, now: datetime) -> Any:
    """Open an incident, look at it, and take that back."""
    with connection.begin_nested() as trying:
        window = rule.limits.flap_window
        seen = sighting(HandClock(now), rule=rule.id, target=target, flap_window=window, flap_from={"": 0})
        receive(Batch(connection), [seen])
        row = schema.incident.c
        place = (row.rule == rule.id, row.target == target, row.closed_at.is_(None))
        found = tuple(connection.execute(select(row.follows, row.flaps, row.rung).where(*place)).one())
        trying.rollback()
    return found


def prune(connection: Connection, before: datetime) -> int:
    gone, after = 0, None
    while page := pruning.due(connection, before, after):
        after, rest = page[-1], page
        while rest:
            dropped = pruning.drop(Batch(connection), rest, before)
            gone, rest = gone + dropped.incidents, dropped.rest
    return gone


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = sqlite.writing(Path(tmp_path_factory.mktemp("pruning")) / "stopgap.db")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
    yield engine
    engine.dispose()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pasts=st.lists(PASTS, min_size=1, max_size=12),
    limits=st.tuples(LIMITS, LIMITS),
    retention=st.sampled_from([7 * DAY, 7 * DAY, 30 * DAY]),
    later=st.sampled_from([timedelta(), HOUR, 5 * DAY, -HOUR]),
)
def test_pruned_or_not_the_guards_decide_the_same(engine, pasts, limits, retention, later):
    rules = [Rule("p", name[2:], "v", (), limits=own) for name, own in zip(NAMES, limits, strict=True)]
    before = NOW - kept_for(retention, rules)
    with engine.connect() as connection, connection.begin() as transaction:
        write(connection, pasts)
        said = answers(connection, rules, NOW + later)
        gone = prune(connection, before)
        event(f"{'some' if gone else 'none'} pruned")
        assert answers(connection, rules, NOW + later) == said
        sound(connection, before)
        transaction.rollback()


SPAN = 40 * DAY
ALONE = Past("p/one", "api", (39 * DAY,) * 4, 1, "handed_over", False, False, False, False, False, False, 0)


@pytest.mark.parametrize(
    ("limits", "past"),
    [
        ({"cooldown": SPAN}, ALONE),
        ({"cooldown": SPAN}, replace(ALONE, shadow=True)),
        ({"budget": Rate(1, SPAN)}, ALONE),
        ({"budget_global": Rate(1, SPAN)}, replace(ALONE, rule="p/two")),
        ({"circuit": Circuit(Rate(1, HOUR), SPAN)}, ALONE),
        ({"circuit": Circuit(Rate(2, SPAN / 2), SPAN / 2)}, ALONE),
        ({"flap_window": SPAN}, replace(ALONE, held=True, reverted=True)),
        ({}, replace(ALONE, served=True)),
    ],
)
def test_what_one_guard_still_needs_stays(engine, limits, past):
    limits = {"budget": Rate(9, HOUR), "budget_global": Rate(9, HOUR), **limits}
    rules = [Rule("p", "one", "v", (), limits=replace(Limits(), **limits))]
    others = [replace(past, ages=(age * DAY,) * 4, held=False, shadow=True) for age in (20, 60)]
    with engine.connect() as connection, connection.begin() as transaction:
        write(connection, [past, *others, replace(past, ages=(20 * DAY,) * 4)])
        said = answers(connection, rules, NOW)
        assert prune(connection, NOW - kept_for(7 * DAY, rules)) <= 3
        assert answers(connection, rules, NOW) == said
        transaction.rollback()


def sound(connection: Connection, before: datetime) -> None:
    """Nothing hangs loose, nothing is left that could go, and nothing live lost the one that it follows."""
    assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    row = schema.incident.c
    loose = select(func.count()).where(schema.journal.c.incident.not_in(select(row.id)))
    assert connection.execute(loose).scalar_one() == 0
    serving = set(connection.execute(select(schema.episode.c.incident)).scalars())
    lately = set(
        connection.execute(
            select(schema.permit.c.incident).where(schema.permit.c.at >= micros(before))
        ).scalars()
    )
    rows = connection.execute(select(row.id, row.closed_at, row.acted_at, row.follows)).all()
    followed = {one.follows for one in rows if one.closed_at is None}
    for one in rows:
        old = one.closed_at is not None and max(one.closed_at, one.acted_at or 0) < micros(before)
        assert not old or one.id in serving | lately | followed

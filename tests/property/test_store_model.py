"""Whatever happens, in whatever order: the store and the in-memory journal tell the same timelines and give the same answers."""

import asyncio
import shutil
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.journal_examples import HandClock, acting, closing, event, listen, sighting

from stopgap.guard import Extent, Request
from stopgap.incident import EventKind as K, Outcome
from stopgap.journal import Append, Closing
from stopgap.ledger import Brake, BrakeScope, Ledger
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Limits, Mode
from stopgap.simulate.journal import MemoryJournal
from stopgap.store import open_store

RULES, TARGETS, RESOURCES = ("p/one", "p/two", "q/one"), ("api", "db"), ("env:x", "env:y", "target:db")
ALERTS = st.tuples(
    st.sampled_from(RULES),
    st.sampled_from(TARGETS),
    st.sampled_from("abc"),
    st.booleans(),
    st.sampled_from([15, 0]),
    st.sampled_from(Mode),
    st.sampled_from([(), ("handed_over",), ("handed_over", "note_added")]),
)
WHICH = st.sampled_from([0, 0, 1, 1, 2, 3, 4, 9])
TAKE = st.lists(st.sampled_from(RESOURCES), max_size=2, unique=True)
SOME_RULES = st.lists(st.sampled_from(RULES), max_size=2, unique=True).map(tuple)
LADDER, HELPED = {"wipe": 0, "drain": 1}, st.sampled_from(["wipe", "drain", "gone", ""])
HOUR = timedelta(hours=1)
FREE = Limits(cooldown=timedelta(), budget=Rate(99, HOUR), budget_global=Rate(99, HOUR))
LIMITS = st.builds(
    Limits,
    cooldown=st.sampled_from([timedelta(), timedelta(minutes=10)]),
    budget=st.builds(Rate, st.sampled_from([9, 3, 1, 0]), st.just(HOUR)),
    budget_global=st.builds(Rate, st.sampled_from([9, 4, 0]), st.just(HOUR)),
    blast_radius=st.sampled_from([None, BlastRadius(2, 1)]),
)
MOSTLY, SELDOM = st.sampled_from([True, True, True, False]), st.sampled_from([False, False, False, True])
ASKED = st.fixed_dictionaries(
    {
        "starts": MOSTLY,
        "first": MOSTLY,
        "follows": st.sampled_from(["", "", "INC-before"]),
        "acknowledged": SELDOM,
        "person": SELDOM,
        "shadow": SELDOM,
        "limits": LIMITS,
        "extent": st.just(Extent(2)),
        "population": SOME_RULES,
        "yield_to": st.just(()) | SOME_RULES,
    }
)
EVERYTHING = {
    "take": RESOURCES,
    "starts": True,
    "first": True,
    "limits": Limits(blast_radius=BlastRadius(2, 1)),
    "population": RULES,
    "yield_to": RULES,
}


class StoreAndModel(RuleBasedStateMachine):
    """Does everything twice, and compares with ids replaced by the order of opening."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.directory = Path(tempfile.mkdtemp(prefix="stopgap-model-"))
        self.runner = asyncio.Runner()
        self.model = MemoryJournal(self.clock)
        self.told = {self.model: listen(self.model)}
        self.open()

    def open(self) -> None:
        self.store = self.runner.run(open_store(self.directory, self.clock))
        self.told = {self.model: self.told[self.model], self.store: listen(self.store)}
        self.told[self.model].clear()

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    def names(self, journal: Any) -> list[str]:
        """Return the ids of all incidents in the order of opening."""
        if journal is self.model:
            return list(self.model.rows)
        with self.store._reading.connect() as connection:
            return [row[0] for row in connection.exec_driver_sql("SELECT id FROM incident ORDER BY number")]

    def plain(self, journal: Any, value: Any) -> str:
        text = repr(value)
        for i, name in enumerate(self.names(journal)):
            text = text.replace(name, f"INCIDENT-{i}")
        return text

    def both(self, ask: Any) -> None:
        """Do the same to both; `ask` gets the journal and its incidents' ids, those that live first."""
        lives = [row.stored.closed_at is None for row in self.model.rows.values()]
        order = sorted(range(len(lives)), key=lambda i: not lives[i])
        answers = []
        for journal in (self.model, self.store):
            names = self.names(journal)
            answers.append(self.runner.run(ask(journal, [names[i] for i in order])))
        assert self.plain(self.model, answers[0]) == self.plain(self.store, answers[1])

    # --- what may happen ---

    @initialize()
    def much_is_broken(self):
        everything = [sighting(self.clock, "a", rule=r, target=t) for r in RULES for t in TARGETS]
        self.both(lambda journal, _: journal.receive(everything))

    @rule(alerts=st.lists(ALERTS, max_size=6))
    def receive(self, alerts):
        seen = [
            sighting(
                self.clock,
                f,
                rule=r,
                target=t,
                firing=on,
                flap_window=timedelta(minutes=w),
                flap_from=LADDER,
                mode=m,
                then=tuple(event(self.clock, K(kind), text="at once") for kind in then),
            )
            for r, t, f, on, w, m, then in alerts
        ]
        self.both(lambda journal, _: journal.receive(seen))

    @rule(parts=st.lists(st.lists(ALERTS, max_size=3), min_size=2, max_size=5))
    def receive_at_once(self, parts):
        seen = [
            [sighting(self.clock, f, rule=r, target=t, firing=on) for r, t, f, on, *_ in alerts]
            for alerts in parts
        ]

        async def ask(journal, _):
            await asyncio.gather(*map(journal.receive, seen))

        self.both(ask)

    @rule(
        which=WHICH,
        take=TAKE,
        asked=ASKED,
        expect=st.sampled_from([None, 0, 1]),
    )
    def act(self, which, take, asked, expect):
        async def ask(journal, names):
            append = await self.start(journal, names[which % len(names)], take, asked)
            seq = None if expect is None else len(await journal.timeline(names[which % len(names)])) - expect
            return await journal.append(replace(append, expect=seq, undo={"0/0/do": which}))

        self.both(ask)

    @rule(several=st.lists(st.tuples(WHICH, TAKE, ASKED), min_size=2, max_size=5))
    def act_at_once(self, several):
        async def ask(journal, names):
            known = [(names[which % len(names)], *rest) for which, *rest in several]
            appends = [await self.start(journal, *each) for each in known]
            return await asyncio.gather(*map(journal.append, appends))

        self.both(ask)

    @rule(which=WHICH, minutes=st.sampled_from([0, 1]), outcome=st.sampled_from(Outcome))
    def act_in_vain(self, which, minutes, outcome):
        async def ask(journal, names):
            name = names[which % len(names)]
            asked = await self.start(journal, name, (), {"limits": FREE})
            return [await journal.append(each) for each in (asked, closing(self.clock, name, outcome))]

        self.both(ask)
        self.clock.move(minutes=minutes)

    @rule(
        which=WHICH, used=st.lists(st.sampled_from(["wipe", "drain"]), unique=True).map(tuple), helped=HELPED
    )
    def flap(self, which, used, helped):
        async def ask(journal, names):
            asked = await self.start(journal, names[which % len(names)], (), {"limits": FREE})
            place = {"rule": asked.request.rule, "target": asked.request.target}
            again = (sighting(self.clock, flap_from=LADDER, **place),)
            back = {"reverted_at": self.clock.now(), "used": used, "helped": helped}
            end = closing(self.clock, asked.incident, refiring=again, **back)
            return [await journal.append(each) for each in (asked, end)]

        self.both(ask)

    async def start(self, journal, name, take, asked):
        opened = (await journal.timeline(name))[0].detail
        return acting(self.clock, name, *take, rule=opened["rule"], target=opened["target"], **asked)

    @rule(which=WHICH, release=TAKE, kind=st.sampled_from([K.NOTIFIED, K.ACKNOWLEDGED]))
    def tell(self, which, release, kind):
        async def ask(journal, names):
            events = (event(self.clock, kind),)
            return await journal.append(
                Append(
                    names[which % len(names)], events, release=tuple(release), receipt={"0/0/do": str(kind)}
                )
            )

        self.both(ask)

    @rule(
        which=WHICH,
        serve=st.booleans(),
        again=st.booleans(),
        outcome=st.sampled_from([Outcome.RECOVERED, Outcome.HANDED_OVER]),
        ends=st.sampled_from([(False, False), (False, False), (True, False), (True, True)]),
        left=st.tuples(HELPED, st.lists(st.sampled_from(["wipe", "drain"]), unique=True)),
    )
    def close(self, which, serve, again, outcome, ends, left):
        async def ask(journal, names):
            opened = (await journal.timeline(names[which % len(names)]))[0].detail
            place = {"rule": opened["rule"], "target": opened["target"]}
            firing = [sighting(self.clock, f, **place) for f in opened["alerts"]]
            refiring = () if serve or not again else tuple(firing)
            mitigated_at, reverted_at = (self.clock.now() if end else None for end in ends)
            helped, used = left
            end = Closing(outcome, "P2", 0, mitigated_at, reverted_at, serve, refiring, tuple(used), helped)
            return await journal.append(
                Append(names[which % len(names)], (event(self.clock, K.CLOSED),), closing=end)
            )

        self.both(ask)

    @rule(which=WHICH, where=st.sampled_from(TARGETS), whose=st.sampled_from(RULES), asked=ASKED)
    def ask(self, which, where, whose, asked):
        async def ask(journal, names):
            return ordered(
                await journal.ledger(Request(names[which % len(names)], whose, where, RESOURCES, **asked))
            )

        self.both(ask)

    @rule(rules=st.lists(st.sampled_from([*RULES, "q/two"]), max_size=3))
    def meet(self, rules):
        async def ask(journal, _):
            return sorted((await journal.meet(rules, self.clock.now())).items())

        self.both(ask)

    @rule(scope=st.sampled_from(BrakeScope), name=st.sampled_from(["p", "api", ""]), on=st.booleans())
    def brake(self, scope, name, on):
        if on:
            brake = Brake(
                scope, name, "ana", "why", self.clock.now(), self.clock.now() + timedelta(minutes=9)
            )
            self.both(lambda journal, _: journal.brake(brake))
        else:
            self.both(lambda journal, _: journal.release(scope, name, "bo", self.clock.now()))

    @rule(minutes=st.sampled_from([0.1, 5, 14, 400]))
    def time_passes(self, minutes):
        self.clock.move(minutes=minutes)

    @rule()
    def restart(self):
        self.they_know_the_same()
        self.they_answer_the_same()
        self.runner.run(self.store.close())
        self.open()

    # --- what must agree ---

    @invariant()
    def they_tell_the_same(self):
        lines = [self.plain(journal, told) for journal, told in self.told.items()]
        assert lines[0] == lines[1]
        self.both(lambda journal, _: journal.live())

    @rule()
    def they_know_the_same(self):
        self.both(lambda journal, _: journal.timeline("control"))
        self.both(lambda journal, _: journal.brakes())
        self.both(lambda journal, _: journal.closed(rule=None, target=None, before=None, limit=99))
        self.both(self.each_is_live_or_closed)

    @staticmethod
    async def each_is_live_or_closed(journal, names):
        closed = await journal.closed(rule=None, target=None, before=None, limit=1000)
        assert sorted([*await journal.live(), *(stored.id for stored in closed)]) == sorted(names)

    @rule()
    def they_answer_the_same(self):
        async def served(journal, _):
            return sorted(await journal.served())

        async def undone(journal, names):
            return [await journal.undo(name, "0/0/do") for name in names]

        async def asked(journal, _):
            return [
                ordered(await journal.ledger(Request("x", who, on, **EVERYTHING)))
                for who in RULES
                for on in TARGETS
            ]

        async def openings(journal, _):
            return await journal.openings(self.clock.now() - HOUR)

        for question in (served, undone, asked, openings):
            self.both(question)


def ordered(ledger: Ledger) -> Ledger:
    return replace(ledger, holders=dict(sorted(ledger.holders.items())))


StoreAndModel.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestStoreAndModel = StoreAndModel.TestCase

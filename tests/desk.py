"""A desk with a fake engine behind it: two live incidents and a closed one, for the tests of the API and the command line."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from pydantic import SecretStr

from stopgap.api import Desk
from stopgap.credential import Credential
from stopgap.explanation import Explanation
from stopgap.incident import Event, EventKind as K, Outcome
from stopgap.journal import Stored
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NoSuchIncident, NotPossible
from stopgap.rehearsal import Rehearsal
from stopgap.rule import Rule, RungSpec
from stopgap.rulebook import UNCHANGED, Changes
from stopgap.transitions import fold

NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
TOKEN = "control word"
HELD, OPEN, CLOSED = "INC-20261121-100000-aaaaaa", "INC-20261121-101500-bbbbbb", "INC-20261120-090000-cccccc"
RULE = Rule("hotel", "pms", "v1", matchers=(), ladder=(RungSpec("mock mode", ()),), summary="Serve mock data")


def event(seq, kind, minutes=0, **detail):
    return Event(kind, NOW - timedelta(minutes=30 - minutes), detail, seq)


def opened(**more):
    alert = {
        "labels": {"alertname": "PMSDown", "evil": "a\x1b[2J\nb"},
        "annotations": {},
        "starts_at": "2026-11-21T10:00:00Z",
    }
    detail = {"rule": "hotel/pms", "version": "v1", "target": "fly://hotel", "severity": "P0", "mode": "auto"}
    return event(1, K.OPENED, **{**detail, "alerts": {"f1": alert}, **more})


STEP = {"rung": 0, "role": "do", "step": 0, "n": 1, "action": "flag"}
PLAN = {
    "rung": 0,
    "name": "mock mode",
    "do": 1,
    "activate": 0,
    "reverts": [True],
    "resources": ["env:/x#PMS"],
}
TIMELINES = {
    HELD: (
        opened(),
        event(2, K.RUNG_STARTED, 1, **PLAN, labels={}, annotations={}),
        event(3, K.STEP_STARTED, 1, **STEP),
        event(4, K.STEP_SUCCEEDED, 2, **STEP, seconds=0.25),
        event(5, K.MITIGATED, 3, rung=0, verified=True),
    ),
    OPEN: (
        opened(target="fly://bar\x1b[2J"),
        event(2, K.REFUSED, reason="cooldown", text="acted 2m ago, cooldown 10m"),
    ),
    CLOSED: (opened(target="fly://old"), event(2, K.CLOSED, outcome=Outcome.SELF_RESOLVED)),
}


@dataclass
class Reloaded:
    rules: int
    problems: tuple = ()
    changes: Changes = UNCHANGED


@dataclass
class FakeJournal:
    said: list = field(default_factory=list)
    error: Exception | None = None

    async def control(self, line):
        if self.error:
            raise self.error
        self.said.append(line)

    async def timeline(self, identifier):
        if self.error:
            raise self.error
        return TIMELINES.get(identifier, ())

    async def document(self, version):
        return {"version": version}

    async def closed(self, *, rule, target, before, limit):
        if before == CLOSED or target not in (None, "fly://old"):
            return ()
        row = Stored(
            CLOSED, "hotel/pms", "v1", "fly://old", "P0", "auto", NOW, "self_resolved", closed_at=NOW
        )
        return (row,)[:limit]


@dataclass
class FakeEngine:
    stormy = False

    journal: FakeJournal = field(default_factory=FakeJournal)
    incidents: dict = field(default_factory=lambda: {i: fold(i, TIMELINES[i]) for i in (HELD, OPEN)})
    brakes: tuple = ()
    released: str | None = None
    rulebook: object = field(default_factory=lambda: SimpleNamespace(rules={"hotel/pms": RULE}))

    def rule_of(self, state):
        return RULE

    async def brake(self, brake: Brake):
        self.brakes = (*self.brakes, brake)

    async def release(self, scope: BrakeScope, name: str, by: str, why: str = ""):
        self.released = why
        left = tuple(b for b in self.brakes if (b.scope, b.name) != (scope, name))
        was_on, self.brakes = len(left) < len(self.brakes), left
        return was_on


@dataclass
class FakeOrders:
    engine: FakeEngine
    given: list = field(default_factory=list)

    def _give(self, identifier, *order):
        if identifier == CLOSED:
            raise NotPossible("it is closed: self_resolved")
        if identifier not in self.engine.incidents:
            raise NoSuchIncident(f"no live incident {identifier}")
        self.given.append((identifier, *order))

    async def acknowledge(self, identifier, by, why=""):
        self._give(identifier, "ack", by, why)
        state = self.engine.incidents[identifier]
        self.engine.incidents[identifier] = replace(state, acknowledged_by=by)

    async def approve(self, identifier, by, why="", request=None):
        self._give(identifier, "approve", by, why, request)

    async def deny(self, identifier, by, why, request=None):
        self._give(identifier, "deny", by, why, request)

    async def revert(self, identifier, by, why):
        if identifier == OPEN:
            raise NotPossible("it holds nothing that could be taken back")
        self._give(identifier, "revert", by, why)

    async def extend(self, identifier, by, for_, why):
        self._give(identifier, "extend", by, for_, why)

    async def close(self, identifier, by, why, *, keep):
        self._give(identifier, "close", by, why, keep)


class FakeClock:
    def now(self):
        return NOW


@dataclass
class FakeRehearser:
    """Has rehearsed, or not yet; `tried` counts how often it was asked to."""

    last: Rehearsal | None = None
    tried: int = 0

    async def now(self):
        self.tried += 1
        return self.last


@dataclass
class FakeExplainer:
    """Answers what it was given; `asked` are the questions."""

    answer: Explanation | None = None
    asked: list = field(default_factory=list)

    async def alerts(self, alerts, *, nearest):
        self.asked.append(([dict(one.labels) for one in alerts], nearest))
        return self.answer

    async def incident(self, identifier):
        self.asked.append(identifier)
        return self.answer if identifier in TIMELINES else None


class Office:
    """A whole desk, and what went over it."""

    def __init__(self, token=TOKEN, **more):
        self.engine = FakeEngine()
        self.orders = FakeOrders(self.engine)
        self.rehearser = FakeRehearser()
        self.explainer = FakeExplainer()
        self.logins = 0
        self.wrong = {}
        self.reloaded = Reloaded(rules=1)
        self.desk = Desk(
            engine=self.engine,
            orders=self.orders,
            token=Credential(SecretStr(token)),
            clock=FakeClock(),
            metrics=lambda: b"stopgap_up 1\n",
            reload=self._reload,
            rebuild=lambda document: RULE,
            ready=lambda: {"store": "", "rules": "", **self.wrong},
            rehearser=self.rehearser,
            explainer=self.explainer,
            login_refused=self._refused,
            **more,
        )

    async def _reload(self):
        return self.reloaded

    def _refused(self):
        self.logins += 1

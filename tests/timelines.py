"""Timelines: builders that write the events of one incident, one line per moment, and ask `decide` what comes next."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from stopgap.decide import decide
from stopgap.incident import Cause, Event, EventKind as K, Incident, Phase, Ref, Role
from stopgap.ledger import Brake, BrakeScope
from stopgap.moves import Ask, Circumstances, Move, Record
from stopgap.rule import Limits, OnFailure, ProbeSpec, Rule, RungSpec, StepSpec
from stopgap.transitions import apply, fold

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
BRAKE = Brake(BrakeScope.GLOBAL, "", "ann", "too much at once", START)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def step(**changes: Any) -> StepSpec:
    return StepSpec("switch", {}, seconds(30), **changes)


def probe(**changes: Any) -> ProbeSpec:
    return ProbeSpec("http", {}, **changes)


def rung(*do: StepSpec, steps: int = 1, activate: int = 0, **changes: Any) -> RungSpec:
    """Return a rung of these steps, or of so many plain ones."""
    given = {"activate": (step(),) * activate, "verify": (probe(),), **changes}
    return RungSpec("a way out", do or (step(),) * steps, **given)


def rule(*ladder: RungSpec, **changes: Any) -> Rule:
    given = {"recovered": (probe(),), "ladder": ladder or (rung(),), "limits": Limits(), **changes}
    return Rule("pack", "rule", "v1", (), **given)


class Timeline:
    """The events of one incident in the making. Each method writes what the engine would, and returns the timeline."""

    def __init__(self, of: Rule | None = None) -> None:
        self.rule = of or rule()
        self.now = START
        self.events: list[Event] = []

    @property
    def state(self) -> Incident:
        return fold("INC-1", self.events)

    @property
    def words(self) -> list[str]:
        return [str(event.kind) for event in self.events]

    def next(self, **circumstances: Any) -> Move:
        return decide(self.state, self.rule, Circumstances(self.now, **circumstances))

    # --- time and lines ---

    def later(self, count: float = 1, **unit: float) -> "Timeline":
        self.now += timedelta(**unit) if unit else seconds(count)
        return self

    def say(self, kind: K, **detail: Any) -> "Timeline":
        self.events.append(Event(kind, self.now, detail, len(self.events) + 1))
        return self

    def does(self, **circumstances: Any) -> "Timeline":
        """Journal the decision that comes next."""
        move = self.next(**circumstances)
        assert isinstance(move, Record), move
        for kind, detail in move.events:
            self.say(kind, **detail)
        return self

    # --- alerts and people ---

    def opens(self, *fingerprints: str, **detail: Any) -> "Timeline":
        alerts = {fp: {"labels": {"job": "api", "alert": fp}} for fp in fingerprints or ("a",)}
        return self.say(K.OPENED, rule="pack/rule", version="v1", target="app", alerts=alerts, **detail)

    def joins(self, fingerprint: str = "b") -> "Timeline":
        return self.say(K.ALERT_JOINED, fingerprint=fingerprint, labels={"job": "api"})

    def over(self, *fingerprints: str) -> "Timeline":
        for fingerprint in fingerprints or ("a",):
            self.say(K.ALERT_RESOLVED, fingerprint=fingerprint)
        return self

    def fires(self, fingerprint: str = "a") -> "Timeline":
        return self.say(K.REFIRED, fingerprint=fingerprint)

    def person_reverts(self) -> "Timeline":
        return self.say(K.REVERT_STARTED, cause=Cause.PERSON, rungs=list(self.state.held), by="ann")

    # --- acts ---

    def begins(self, number: int = 0, **detail: Any) -> "Timeline":
        spec = self.rule.ladder[number]
        planned = {
            "do": len(spec.do),
            "activate": len(spec.activate),
            "reverts": [True] * len(spec.do),
            "resources": [f"r{number}"],
            "labels": {},
            "annotations": {},
            "on_resolve": spec.on_resolve,
        }
        self.say(K.PERMITTED, rung=number).say(K.RUNG_STARTED, rung=number, **{**planned, **detail})
        return self.acts(number)

    def acts(self, number: int = 0, place: int = 0, role: str = "do", n: int = 1) -> "Timeline":
        return self.say(K.STEP_STARTED, rung=number, step=place, role=role, n=n)

    def step(self, kind: K, number: int = 0, place: int = 0, role: str = "do", **detail: Any) -> "Timeline":
        return self.say(kind, rung=number, step=place, role=role, **detail)

    def done(self, number: int = 0, place: int = 0, role: str = "do") -> "Timeline":
        return self.step(K.STEP_SUCCEEDED, number, place, role)

    def undoes(self, number: int = 0, place: int = 0, n: int = 1) -> "Timeline":
        return self.acts(number, place, "revert", n)

    def undone(self, number: int = 0, place: int = 0, **detail: Any) -> "Timeline":
        return self.step(K.STEP_REVERTED, number, place, "revert", **detail)

    # --- probes ---

    def answers(self, key: str, verdict: str = "healthy") -> "Timeline":
        return self.say(K(f"probe_{verdict}"), probe=key, role=key.partition("/")[0])

    def repeats(self, key: str, verdict: str = "healthy") -> Incident:
        """Return the state after an answer that was not worth a line."""
        return apply(self.state, Event(K(f"probe_{verdict}"), self.now, {"probe": key}))

    def asked(self, verdict: str = "healthy") -> "Timeline":
        """Answer what is asked now."""
        move = self.next()
        assert isinstance(move, Ask), move
        for key in move.keys:
            self.answers(key, verdict)
        return self

    # --- phases, on their shortest way ---

    def verifying(self, number: int = 0, **planned: Any) -> "Timeline":
        self.begins(number, **planned)
        spec = self.rule.ladder[number]
        for role, count in (("do", len(spec.do)), ("activate", len(spec.activate))):
            for place in range(count):
                if (role, place) != ("do", 0):
                    self.acts(number, place, role)
                self.done(number, place, role)
        return self

    def mitigated(self, number: int = 0, **planned: Any) -> "Timeline":
        self.verifying(number, **planned)
        return self.asked().does() if self.rule.ladder[number].verify else self.does()

    def recovering(self) -> "Timeline":
        return self.later().over().does()

    def reverting(self, cause: Cause = Cause.RECOVERED) -> "Timeline":
        return self.say(K.REVERT_STARTED, cause=cause, rungs=list(self.state.held))


_WAYS: dict[Phase, Callable[[Timeline], Timeline]] = {
    Phase.OPEN: lambda t: t,
    Phase.WAITING: lambda t: t.say(K.REFUSED, reason="cooldown", text="acted a minute ago"),
    Phase.MITIGATING: lambda t: t.begins(),
    Phase.VERIFYING: lambda t: t.verifying(),
    Phase.MITIGATED: lambda t: t.mitigated(),
    Phase.RECOVERING: lambda t: t.mitigated().recovering(),
    Phase.REVERTING: lambda t: t.mitigated().recovering().reverting(),
    Phase.CLOSED: lambda t: t.over().does(),
}


def incident(phase: Phase, of: Rule | None = None) -> Timeline:
    """Return a timeline that stands in a phase, on the shortest way to it."""
    return _WAYS[phase](Timeline(of).opens())


def acting(ref: Ref) -> Timeline:
    """Return a timeline in which this act of the first rung has begun and nobody knows what came of it."""
    timeline = Timeline(rule(rung(activate=1))).opens().begins()
    if ref.role is not Role.DO:
        timeline.done().acts(role="activate")
    if ref.role in (Role.REVERT, Role.REACTIVATE):
        timeline.done(role="activate").asked().does().recovering().reverting().undoes()
    if ref.role is Role.REACTIVATE:
        timeline.undone().acts(role="reactivate")
    return timeline


def undecided() -> Timeline:
    """Return a timeline whose probes could not say in time whether the rung helped."""
    return incident(Phase.VERIFYING).later(59).asked("unknown").later(1).does()


def handed_over_undecided() -> Timeline:
    """Return the same, after a person was given it."""
    return undecided().later(minutes=11).asked("unknown").does()


def only(move: Move) -> tuple[K, dict[str, Any]]:
    """Return the one decision of a Record."""
    assert isinstance(move, Record), move
    ((kind, detail),) = move.events
    return kind, dict(detail)


def kinds(move: Move) -> list[K]:
    """Return the decisions of a Record by name."""
    assert isinstance(move, Record), move
    return [kind for kind, _ in move.events]


def keeps() -> RungSpec:
    """Return a rung that stays when it failed."""
    return rung(on_failure=OnFailure.KEEP)

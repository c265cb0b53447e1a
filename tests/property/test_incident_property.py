"""Any world ends: whatever alerts, people, brakes, crashes and outcomes do, the incident keeps its promises and closes."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st
from tests.property.chances import a_rule
from tests.timelines import BRAKE, START, seconds

from stopgap.approval import pending
from stopgap.decide import LOOKS, TRIES, decide
from stopgap.incident import (
    Answer,
    Cause,
    Event,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    Ref,
    Role,
    StepStatus,
    holdings,
)
from stopgap.moves import Act, Ask, Circumstances, Move, Record, Settle, Start, TakeBack, Wait
from stopgap.rule import Mode
from stopgap.transitions import apply, fold, resume

TAKING_BACK = (Role.REVERT, Role.REACTIVATE)
OPEN_ENDED = (StepStatus.STARTED, StepStatus.UNKNOWN, StepStatus.UNCLEAR)
MOVES_AN_HOUR = 2500  # two probes every five seconds, and what else there is
MOVES_AT_ONCE = 60


class World:
    """Does each Move as the engine would, with results by chance, and lets the outside interfere between any two lines."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = chance = Random(seed)
        self.rule = a_rule(chance)
        self.now = START
        self.brake = None
        self.retry_at = None
        self.calm = False
        self.events: list[Event] = []
        self.state = Incident("INC-1")
        self.undo: set[Ref] = set()
        self.used: set[str] = set()
        self.answered: dict[str, str] = {}
        self.order: list[tuple[int, int, int]] = []
        self.hours: Counter[int] = Counter()
        self.at_once = 0
        mode = chance.choice(["auto"] * 9 + ["shadow"])
        alerts = {name: {"labels": {"alert": name}} for name in chance.choice(["a", "ab"])}
        flaps = chance.choice([0, 0, 0, 1, 3])
        self.say(K.OPENED, rule="pack/rule", target="app", alerts=alerts, mode=mode, flaps=flaps)

    def __repr__(self) -> str:
        return f"World({self.seed})"

    # --- lines ---

    def say(self, kind: K, **detail: Any) -> None:
        event = Event(
            kind, self.now, {k: v for k, v in detail.items() if v is not None}, len(self.events) + 1
        )
        self.events.append(event)
        self.state = apply(self.state, event)
        assert fold("INC-1", self.events).phase is self.state.phase

    def likely(self, chance_in_ten: int) -> bool:
        return not self.calm and self.chance.randrange(10) < chance_in_ten

    # --- the engine's part ---

    def next(self) -> Move:
        at = Circumstances(self.now, brake=self.brake, retry_at=self.retry_at)
        return decide(self.state, self.rule, at)

    def does(self, move: Move) -> None:
        self.count(move)
        if self.brake is not None and isinstance(move, Start | Act | Settle | TakeBack):
            assert self.state.cause is Cause.PERSON, f"{move} while braked"
        match move:
            case Record():
                self.records(move)
            case Start():
                self.starts(move)
            case Act():
                self.acts(move.ref, move.n)
            case Settle():
                self.settles(move.ref)
            case TakeBack():
                self.takes_back(move)
            case Ask():
                self.asks(move)
            case Wait():
                self.waits(move)

    def count(self, move: Move) -> None:
        self.hours[int((self.now - START).total_seconds() // 3600)] += 1
        self.at_once = 0 if isinstance(move, Wait) else self.at_once + 1
        assert self.at_once < MOVES_AT_ONCE, f"{move} again and again, at one instant"
        assert max(self.hours.values()) < MOVES_AN_HOUR, f"{move} too often"

    def records(self, move: Record) -> None:
        before = self.state
        for kind, detail in move.events:
            self.say(kind, **detail)
        told = move.events[0][0] is K.LEASE_EXPIRED  # the same words at another time
        assert told or replace(self.state, seq=before.seq) != before, f"{move} changes nothing"

    def starts(self, move: Start) -> None:
        if move.mode is Mode.SHADOW:
            self.say(K.SHADOW_PLANNED, rung=move.rung)
            return
        if self.likely(1):
            self.say(K.HANDED_OVER, reason="unsafe_label")
            return
        if self.refused():
            return
        spec = self.rule.ladder[move.rung]
        if self.likely(1):
            self.say(K.RUNG_SKIPPED, rung=move.rung, reason="precondition_unknown")
            return
        if spec.approval is not None and not self.approved(move.rung):
            until = (self.now + spec.approval).isoformat()
            self.say(K.APPROVAL_REQUESTED, rung=move.rung, until=until, reason="approval_pending")
            if self.likely(6):
                self.person_answers()
            return
        assert not (spec.once and spec.name in self.used), f"{spec.name} runs once, and again"
        self.used.add(spec.name)
        reverts = [self.chance.random() < 0.8 for _ in spec.do]
        self.say(K.PERMITTED, rung=move.rung)
        self.say(
            K.RUNG_STARTED,
            rung=move.rung,
            do=len(spec.do),
            activate=len(spec.activate),
            reverts=reverts,
            resources=[f"r{move.rung}/{i}" for i, back in enumerate(reverts) if back],
            on_resolve=spec.on_resolve,
            name=spec.name,
            once=spec.once or None,
        )
        self.acts(Ref(move.rung, Role.DO, 0), 1)

    def approved(self, rung: int) -> bool:
        said = self.state.approval
        yes = said is not None and said.rung == rung and said.answer is Answer.APPROVED
        return yes and said is not None and self.now < said.until

    def refused(self) -> bool:
        early = self.retry_at is not None and self.now < self.retry_at
        assert not (early and self.state.reason == "target_busy"), "asked again too early"
        if not self.likely(2):
            self.retry_at = None
            return False
        self.retry_at = self.now + seconds(30)
        if self.state.reason != "target_busy":
            self.say(K.REFUSED, reason="target_busy")
        return True

    def acts(self, ref: Ref, n: int) -> None:
        doing = ref.role not in TAKING_BACK
        for other, known in self.state.steps.items():
            assert known.status is not StepStatus.STARTED, f"{ref} while {other} is under way"
            if (other.role not in TAKING_BACK) is doing:
                assert known.status not in OPEN_ENDED, f"{ref} while nobody knows what became of {other}"
        detail = {"rung": ref.rung, "role": ref.role, "step": ref.step, "n": n}
        failed = K.REVERT_FAILED if ref.role in TAKING_BACK else K.STEP_FAILED
        if ref.role is Role.REVERT:
            assert Ref(ref.rung, Role.DO, ref.step) in self.undo, f"{ref} without an undo on disk"
            assert not self.state.rungs[ref.rung].reverted
        elif self.likely(1):  # it cannot be observed
            self.say(failed, **detail, why="away")
            return
        self.keeps_order(ref)
        self.undo.add(ref)
        self.say(K.STEP_STARTED, **detail)
        self.result(ref, detail, failed)

    def keeps_order(self, ref: Ref) -> None:
        if ref.role not in TAKING_BACK:
            return
        place = (ref.rung, 1, ref.step) if ref.role is Role.REVERT else (ref.rung, 0, -ref.step)
        assert not self.order or place <= self.order[-1], f"{ref} out of order, after {self.order[-1]}"
        self.order.append(place)

    def result(self, ref: Ref, detail: dict[str, Any], failed: K) -> None:
        self.interferes(under_way=True)
        self.now += seconds(self.chance.choice([0, 0, 1, 20]))
        end = 0 if self.calm else self.chance.randrange(10)
        if end < 5:
            self.succeeds(ref, detail)
        elif end < 7:
            again = (self.now + seconds(2)).isoformat() if self.chance.random() < 0.5 else None
            self.say(failed, **detail, retry_at=again)
        elif end < 9:
            self.say(K.STEP_UNKNOWN, **detail)
        else:
            self.crashes()

    def succeeds(self, ref: Ref, detail: dict[str, Any]) -> None:
        if ref.role is not Role.REVERT:
            self.say(K.STEP_SUCCEEDED, **detail)
        elif self.likely(2):
            self.say(K.DRIFTED, **detail, detail="somebody set it")
        else:
            self.say(K.STEP_REVERTED, **detail, changed=self.chance.random() < 0.8)

    def crashes(self) -> None:
        self.now += timedelta(minutes=self.chance.choice([0, 1, 90]))
        self.state = resume(fold("INC-1", self.events), self.now)
        self.retry_at = None
        of_now = {key for key, known in self.state.probes.items() if known.asked_at == self.now}
        self.answered = {key: said for key, said in self.answered.items() if key in of_now}

    def settles(self, ref: Ref) -> None:
        known = self.state.steps[ref]
        assert known.status in (StepStatus.STARTED, StepStatus.UNKNOWN)
        detail = {"rung": ref.rung, "role": ref.role, "step": ref.step, "n": known.n}
        failed = K.REVERT_FAILED if ref.role in TAKING_BACK else K.STEP_FAILED
        looks = known.looks + 1
        end = 0 if self.calm else self.chance.randrange(8)
        if end < 2:
            kind = K.STEP_REVERTED if ref.role is Role.REVERT else K.STEP_SUCCEEDED
            self.say(kind, **detail)
        elif end < 4:
            self.say(K.STEP_UNKNOWN, **detail, looks=looks, unclear=looks >= LOOKS or None)
        elif self.state.phase is Phase.REVERTING and ref.role not in TAKING_BACK:
            self.say(failed if end < 6 else K.STEP_UNKNOWN, **detail, looks=1)
        elif end < 7 and known.tries < TRIES:
            self.say(K.STEP_STARTED, **detail)
            self.result(ref, detail, failed)
        elif end < 7:
            self.say(failed, **detail)
        else:
            self.say(K.STEP_UNKNOWN, **detail, looks=looks, unclear=True)

    def takes_back(self, move: TakeBack) -> None:
        assert set(move.rungs) <= set(self.state.rungs)
        if move.cause is Cause.RECOVERED:
            keys = {f"recovered/{i}" for i in range(len(self.rule.recovered))}
            assert keys
            assert not self.state.firing
            assert {self.answered.get(key) for key in keys} == {"healthy"}
            for key in keys:
                known = self.state.probes[key]
                assert known.asked_at - known.since >= timedelta()
                assert self.now - known.since >= self.rule.limits.hold * 2**self.state.flaps
        if self.refused():
            return
        self.order.clear()
        self.say(K.REVERT_STARTED, cause=move.cause, rungs=list(move.rungs))

    def asks(self, move: Ask) -> None:
        self.now += seconds(self.chance.choice([0, 0.1, 4]))
        verdicts = {key: self.verdict() for key in move.keys}
        news = {}
        for key, verdict in verdicts.items():
            self.answered[key] = verdict
            known = self.state.probes.get(key)
            if known is not None and known.verdict == verdict:
                self.state = apply(self.state, Event(K(f"probe_{verdict}"), self.now, {"probe": key}))
            else:
                news[key] = verdict
        for key, verdict in news.items():
            self.say(K(f"probe_{verdict}"), probe=key, role=key.partition("/")[0])

    def verdict(self) -> str:
        return "healthy" if self.calm else self.chance.choice(["healthy"] * 3 + ["unhealthy", "unknown"])

    def waits(self, move: Wait) -> None:
        assert move.until is None or move.until > self.now, "a wait that is over already"
        later = self.now + timedelta(minutes=self.chance.choice([1, 7, 61]))
        if move.until is not None and (self.calm or self.chance.random() < 0.8):
            later = move.until
        self.now = later

    # --- the outside ---

    def interferes(self, *, under_way: bool = False) -> None:
        if not self.likely(3):
            return
        match self.chance.randrange(8):
            case 0 | 1:
                self.alert()
            case 2:
                self.brake = None if self.brake else BRAKE
            case 3:
                self.person_reverts()
            case 4:
                self.say(K.ACKNOWLEDGED, by="ann")
            case 5 if self.state.held:
                until = (self.now + timedelta(hours=1)).isoformat()
                self.say(K.LEASE_EXTENDED, until=until, by="ann")
            case 6 if not under_way:
                self.crashes()
            case 7:
                self.person_answers()
            case _:
                pass

    def alert(self) -> None:
        name = self.chance.choice("abc")
        known = self.state.alerts.get(name)
        if known is None:
            self.say(K.ALERT_JOINED, fingerprint=name, labels={"alert": name})
        else:
            self.say(K.ALERT_RESOLVED if known.firing else K.REFIRED, fingerprint=name)

    def person_answers(self) -> None:
        if pending(self.state):
            until = (self.now + timedelta(minutes=10)).isoformat()
            self.say(self.chance.choice([K.APPROVED, K.APPROVED, K.APPROVAL_DENIED]), by="ann", until=until)

    def person_reverts(self) -> None:
        under_way = self.state.phase is Phase.REVERTING and self.state.cause is Cause.PERSON
        if self.state.held and (self.state.stuck or not under_way):
            self.order.clear()
            self.say(K.REVERT_STARTED, cause=Cause.PERSON, rungs=list(self.state.held), by="ann")

    # --- its life ---

    @property
    def closed(self) -> bool:
        return self.state.phase is Phase.CLOSED

    def lives(self, moves: int) -> None:
        for _ in range(moves):
            if not self.closed:
                self.interferes()
                self.does(self.next())

    def end_alerts(self) -> None:
        for name, known in self.state.alerts.items():
            if known.firing:
                self.say(K.ALERT_RESOLVED, fingerprint=name)

    def calms_down(self) -> None:
        """End all alerts, heal all probes, release the brake, and let a person answer what asks for one."""
        self.calm, self.brake = True, None
        self.end_alerts()
        for _ in range(400):
            if self.closed:
                return
            if self.state.stuck or self.state.unproven:
                self.person_reverts()
            self.does(self.next())


worlds = st.integers(0, 2**32).map(World)  # even chances, which a drawn Random would not give
thorough = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@thorough
@given(worlds, st.integers(0, 80))
def test_whatever_happened_it_closes_once_all_is_well_and_a_person_answered(world, moves):
    world.lives(moves)
    world.calms_down()
    assert world.closed
    assert isinstance(world.state.outcome, Outcome)
    assert holdings(world.state) == frozenset()
    assert world.next() == Wait()


@thorough
@given(worlds, st.integers(0, 120))
def test_a_crash_at_any_line_loses_nothing_that_the_timeline_says(world, moves):
    world.lives(moves)
    told = fold("INC-1", world.events)
    assert replace(told, probes={}) == replace(world.state, probes={})
    for end in range(1, len(world.events) + 1):
        state = resume(fold("INC-1", world.events[:end]), world.now)
        decide(state, world.rule, Circumstances(world.now))
        decide(state, world.rule, Circumstances(world.now, brake=BRAKE))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds, st.integers(0, 60), st.sampled_from(["unhealthy", "unknown", "mixed"]), st.booleans())
def test_six_hours_of_trouble_are_no_busy_loop_and_take_nothing_back_unproven(world, moves, trouble, over):
    world.lives(moves)
    world.calm = True
    if over and not world.closed:
        world.end_alerts()
    mixed = ["healthy", "healthy", "unhealthy", "unknown"]
    world.verdict = lambda: world.chance.choice(mixed) if trouble == "mixed" else trouble
    until = world.now + timedelta(hours=6)
    while world.now < until and not world.closed:
        world.does(world.next())

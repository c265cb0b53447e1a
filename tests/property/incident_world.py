"""World: plays the life of one incident against `decide` and `apply`, each Move done as perform.py and steps.py do it."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.property.chances import MANUAL
from tests.property.incident_outside import Outside, Said
from tests.property.incident_promises import TAKING_BACK
from tests.timelines import BRAKE, START, seconds

from stopgap.decide import LOOKS, TRIES, decide, spec_of
from stopgap.guard import FREED, Reason
from stopgap.incident import TARGET_LOCK, Answer, EventKind as K, Phase, Ref, Role, StepState, StepStatus
from stopgap.moves import Act, Ask, Move, Record, Settle, Start, TakeBack, Wait
from stopgap.petition import asks_for_approval
from stopgap.rule import Mode
from stopgap.transitions import Event, apply

MOVES_AN_HOUR = 2500  # two probes every five seconds, and what else there is
MOVES_AT_ONCE = 80
GUARDS = (
    Reason.COOLDOWN,
    Reason.CIRCUIT_OPEN,
    Reason.OUTSIDE_WINDOW,
    Reason.TARGET_BUSY,
    Reason.RESOURCE_HELD,
    Reason.YIELDED,
    Reason.STORE_UNAVAILABLE,
)


class World(Outside):
    """Does each Move as the engine would, with results by chance, and lets the outside interfere between any two lines."""

    def __init__(self, seed: int) -> None:
        self.hours: Counter[int] = Counter()
        self.at_once = 0
        self.doing: Move = Wait()
        self.refused_move: Move = Wait()
        self.safe_again: dict[Ref, bool] = {}
        super().__init__(seed)

    def next(self) -> Move:
        return decide(self.state, self.rule, self.at())

    def does(self, move: Move) -> None:
        self.count(move)
        self.doing = move
        self.witness.sees(move, self.state, self.now, braked=self.at().brake is not None)
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
        hour = int((self.now - START).total_seconds() // 3600)
        self.hours[hour] += 1
        self.at_once = 0 if isinstance(move, Wait) else self.at_once + 1
        assert self.at_once < MOVES_AT_ONCE, f"{move} again and again, at one instant"
        assert self.hours[hour] < MOVES_AN_HOUR, f"{move} too often"

    def records(self, move: Record) -> None:
        before = self.state
        self.journal(*((kind, dict(detail)) for kind, detail in move.events))
        told = move.events[0][0] is K.LEASE_EXPIRED  # the same words at another time
        same = apply(before, Event(K.NOTE_ADDED, self.now, {}, self.state.seq)) == self.state
        assert told or not same, f"{move} changes nothing"

    def waits(self, move: Wait) -> None:
        assert move.until is None or move.until > self.now, "a wait that is over already"
        self.sleeps_through_nothing(move)
        later = self.now + timedelta(minutes=self.chance.choice([1, 7, 61]))
        if move.until is not None and (self.calm or self.chance.random() < 0.8):
            later = move.until
        self.now = later

    def sleeps_through_nothing(self, move: Wait) -> None:
        """See that nothing would be decided before the instant for which it waits."""
        end = move.until or self.now + timedelta(hours=30)
        for share in (self.chance.random(), 0.999):
            between = self.now + (end - self.now) * share
            instead = decide(self.state, self.rule, self.at(between))
            assert isinstance(instead, Wait), f"{instead} is slept through by {move}"
        instead = decide(self.state, self.rule, replace(self.at(), retry_at=None))
        same = isinstance(instead, Wait) or type(instead) is type(self.refused_move)
        assert same, f"{instead} is held up by what was said of {self.refused_move}"

    # --- guards (recorder.py) ---

    def refused(self, *reasons: Reason, chances: int = 20) -> bool:
        """Let a guard say no: the brake where one came on just now, or one of these."""
        if self.at().brake is not None and self.state.phase is not Phase.REVERTING:
            return self.refuses(Reason.BRAKE)
        if not self.likely(chances):
            return False
        if self.chance.random() < 0.1 and self.brake is None:
            self.brake = BRAKE
            return self.state.phase is not Phase.REVERTING and self.refuses(Reason.BRAKE)
        return bool(reasons) and self.refuses(self.chance.choice(reasons))

    def refuses(self, reason: Reason) -> bool:
        timed = [seconds(30), timedelta(minutes=10), timedelta(hours=9)]
        soon = reason in FREED or reason is Reason.BRAKE  # nobody knows until when
        self.retry_at = self.now + (seconds(30) if soon else self.chance.choice(timed))
        self.refused_for, self.refused_move = reason, self.doing
        if self.state.reason != reason and not self.likely(3):  # or it moved on while that was being written
            self.say(K.REFUSED, reason=reason)
        return True

    # --- starting (starting.py) ---

    def starts(self, move: Start) -> None:
        early = self.retry_at is not None and self.now < self.retry_at
        assert not (early and self.state.reason == self.refused_for), "asked again too early"
        if move.mode is Mode.SHADOW:
            self.say(K.SHADOW_PLANNED, rung=move.rung)
        elif self.likely(3):
            self.say(K.HANDED_OVER, reason="unsafe_label")
        elif self.likely(3):
            self.skips(move, "unresolved_template")
        elif not self.refused(*GUARDS):
            self.retry_at = None
            self.prepares(move)

    def skips(self, move: Start, reason: str, *answers: Said) -> None:
        self.journal(*answers, (K.RUNG_SKIPPED, {"rung": move.rung, "reason": reason}))

    def prepares(self, move: Start) -> None:
        spec, answers = self.rule.ladder[move.rung], list[Said]()
        for i in range(len(spec.only_if)):
            verdict = self.verdict()
            answers.append((K(f"probe_{verdict}"), {"probe": f"only_if/{i}", "role": "precondition"}))
        self.now += self.a_while() if spec.only_if else timedelta()
        if any(kind is not K.PROBE_HEALTHY for kind, _ in answers):
            self.skips(move, "precondition_failed", *answers)
            return
        if asks_for_approval(self.rule, move.rung, move.mode):
            if self.likely(3):
                self.skips(move, "precondition_unknown")
                return
            if not self.approved(move):
                return
        if self.next() == move and not self.refused(*GUARDS, chances=3):
            self.begins(move, answers)

    def approved(self, move: Start) -> bool:
        said = self.state.approval
        yes = said is not None and said.rung == move.rung and said.answer is Answer.APPROVED
        stale: list[Said] = []
        if yes and said is not None and self.now < said.until:
            if not self.likely(15):
                return True
            stale = [(K.REFUSED, {"reason": Reason.STALE_PLAN})]
        spec = self.rule.ladder[move.rung].approval
        until = (self.now + (spec or self.rule.limits.approval)).isoformat()
        reason = Reason.APPROVAL_PENDING if spec else Reason.MODE_APPROVE
        self.journal(*stale, (K.APPROVAL_REQUESTED, {"rung": move.rung, "until": until, "reason": reason}))
        if self.likely(60):
            self.answers()
        return False

    def begins(self, move: Start, answers: list[Said]) -> None:
        rung, spec = move.rung, self.rule.ladder[move.rung]
        reverts = self.planned.setdefault(
            rung, [s.action != MANUAL and self.chance.random() < 0.8 for s in spec.do]
        )
        resources = [f"r{rung}/{i}" for i, back in enumerate(reverts) if back]
        planned = {
            "rung": rung,
            "name": spec.name,
            "do": len(spec.do),
            "activate": len(spec.activate),
            "reverts": reverts,
            "resources": resources,
            "on_resolve": spec.on_resolve,
            "once": spec.once or None,
        }
        ref = Ref(rung, Role.DO, 0)
        n = self.state.steps[ref].n if ref in self.state.steps else 1
        opening = (*answers, (K.PERMITTED, {"rung": rung}), (K.RUNG_STARTED, planned))
        take = (TARGET_LOCK + self.state.target, *resources)
        if self.likely(10):  # what it would change cannot be seen
            self.journal(*opening, self.failure(ref, n), take=take)
        else:
            self.journal(*opening, self.intent(ref, n), take=take)
            self.result(ref, n)

    # --- acts (steps.py) ---

    @staticmethod
    def of(ref: Ref, n: int) -> dict[str, Any]:
        return {"rung": ref.rung, "role": ref.role, "step": ref.step, "n": n}

    def by_hand(self, ref: Ref) -> bool:
        return spec_of(self.rule, ref).action == MANUAL

    def intent(self, ref: Ref, n: int) -> Said:
        return K.STEP_STARTED, {**self.of(ref, n), "by_hand": self.by_hand(ref) or None}

    def failure(self, ref: Ref, n: int, *, temporary: bool = True) -> Said:
        kind = K.REVERT_FAILED if ref.role in TAKING_BACK else K.STEP_FAILED
        again = temporary and self.chance.random() < 0.5
        retry_at = (self.now + seconds(2 ** (n - 1))).isoformat() if again else None
        return kind, {**self.of(ref, n), "retry_at": retry_at}

    def cannot_plan(self) -> bool:
        """Let a secret be gone."""
        if self.likely(1):
            self.say(K.HANDED_OVER, reason="unresolved_template", stuck=True)
            return True
        return False

    def acts(self, ref: Ref, n: int) -> None:
        known = self.state.steps.get(ref)
        doubtful = known is not None and known.status is StepStatus.PENDING and bool(known.tries)
        if self.cannot_plan() or self.refused(chances=3):
            return
        if ref.role is not Role.REVERT and not doubtful and self.likely(10):  # it cannot be observed
            self.journal(self.failure(ref, n))
            return
        self.journal(self.intent(ref, n))
        self.result(ref, n, doubtful=doubtful)

    def result(self, ref: Ref, n: int, *, doubtful: bool = False) -> None:
        if self.by_hand(ref):
            return  # a person says so
        self.interferes(under_way=True)
        self.now += self.a_while()
        self.interferes(under_way=True)
        end = 0 if self.calm or self.chance.random() < self.luck else self.chance.randrange(4, 11)
        if end < 6:
            self.journal(self.success(ref, n), outside=True)
        elif end < 8 and not doubtful:
            self.journal(self.failure(ref, n), outside=True)
        elif end < 9:
            self.journal((K.STEP_UNKNOWN, self.of(ref, n)), outside=True)
        elif end < 10:
            self.crashes()
        else:  # the store was away when it should have been written down
            self.now += seconds(5)

    def success(self, ref: Ref, n: int) -> Said:
        if ref.role is not Role.REVERT:
            return K.STEP_SUCCEEDED, self.of(ref, n)
        if self.likely(20):
            return K.DRIFTED, {**self.of(ref, n), "detail": "odd", "changed": self.chance.random() < 0.3}
        return K.STEP_REVERTED, {**self.of(ref, n), "changed": self.chance.random() < 0.8}

    def settles(self, ref: Ref) -> None:
        known = self.state.steps[ref]
        assert known.status in (StepStatus.STARTED, StepStatus.UNKNOWN)
        assert not known.by_hand
        if self.cannot_plan():
            return
        looks = known.looks + 1
        end = 0 if self.calm else self.chance.randrange(8)
        if end < 2:
            kind = K.STEP_REVERTED if ref.role is Role.REVERT else K.STEP_SUCCEEDED
            self.say(kind, **self.of(ref, known.n), looks=looks)
        elif end < 4:  # it cannot be observed
            self.unknown(ref, known, looks=looks, unclear=looks >= LOOKS or None)
        else:
            self.goes_on(ref, known, looks, unclear=end >= 6)

    def goes_on(self, ref: Ref, known: StepState, looks: int, *, unclear: bool) -> None:
        again = known.tries < TRIES - 1 if unclear else known.tries < TRIES
        if self.state.phase is Phase.REVERTING and ref.role not in TAKING_BACK:
            if unclear:
                self.unknown(ref, known, looks=1)
            else:
                self.journal(self.failure(ref, known.n, temporary=False))
        elif again and (not unclear or self.safe_again.setdefault(ref, self.chance.random() < 0.5)):
            if not self.refused(chances=3):
                self.journal(self.intent(ref, known.n))
                self.result(ref, known.n, doubtful=unclear)
        elif unclear:
            self.unknown(ref, known, looks=looks, unclear=True)
        else:
            self.journal(self.failure(ref, known.n, temporary=False))

    def unknown(self, ref: Ref, known: StepState, **detail: Any) -> None:
        self.say(K.STEP_UNKNOWN, **self.of(ref, known.n), **detail)

    def takes_back(self, move: TakeBack) -> None:
        early = self.retry_at is not None and self.now < self.retry_at
        assert not (early and self.state.reason == self.refused_for), "asked again too early"
        if not self.refused(Reason.TARGET_BUSY):
            said = (K.REVERT_STARTED, {"cause": move.cause, "rungs": list(move.rungs)})
            self.journal(said, take=(TARGET_LOCK + self.state.target,))

    def a_while(self) -> timedelta:
        return seconds(self.chance.choice([0, 0, 1, 20]))

    # --- probes ---

    def asks(self, move: Ask) -> None:
        if self.cannot_plan():
            return
        asked = self.state
        self.now += seconds(self.chance.choice([0, 0.1, 4]))
        self.interferes(under_way=True)
        if self.state.seq != asked.seq:
            return  # nobody asked this of what it is now
        verdicts = {key: self.verdict() for key in move.keys}
        news: list[Said] = []
        for key, verdict in verdicts.items():
            self.witness.answered[key] = verdict
            known = asked.probes.get(key)
            if known is not None and known.verdict == verdict:
                self.state = apply(self.state, Event(K(f"probe_{verdict}"), self.now, {"probe": key}))
            else:
                news.append((K(f"probe_{verdict}"), {"probe": key, "role": key.partition("/")[0]}))
        if news:
            self.journal(*news)

    def verdict(self) -> str:
        lucky = self.calm or self.chance.random() < self.luck
        return "healthy" if lucky else self.chance.choice(["unhealthy", "unhealthy", "unknown"])

    # --- its life ---

    def lives(self, moves: int) -> None:
        for _ in range(moves):
            self.interferes()
            if not self.closed:
                self.does(self.next())
            elif self.chance.random() < 0.5:
                self.comes_again()

    def calms_down(self) -> None:
        """End all alerts, heal all probes, release the brake, and let a person answer what asks for one."""
        self.makes_peace()
        self.end_alerts()
        for _ in range(500):
            if self.closed:
                return
            self.helps()
            self.does(self.next())

    def fires_on(self) -> None:
        """Let an alert fire for hours while all else is well, and people answer, until nothing is left to be done."""
        self.makes_peace()
        self.retry_at = None
        if not self.state.firing:
            self.journal((K.REFIRED, {"fingerprint": next(iter(self.state.alerts))}), outside=True)
        until = self.now + timedelta(hours=3)
        while self.now < until and not self.closed:
            self.answers()
            self.helps()
            self.does(self.next())

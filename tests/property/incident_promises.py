"""Promises: a book of what is in effect, kept apart from the core, against which each move and each line is held."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from stopgap.asking import causes
from stopgap.decide import FLAPS_HELD
from stopgap.incident import (
    Cause,
    Event,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    Ref,
    Role,
    StepStatus,
    lease_end,
)
from stopgap.moves import Act, Ask, Move, Record, Settle, Start, TakeBack, Wait
from stopgap.rule import Rule

TAKING_BACK = (Role.REVERT, Role.REACTIVATE)
OPEN_ENDED = (StepStatus.STARTED, StepStatus.UNKNOWN, StepStatus.UNCLEAR)
SURE = {K.STEP_SUCCEEDED, K.MANUAL_DONE, K.STEP_REVERTED, K.DRIFTED}
PROBES = {Phase.VERIFYING: "verify", Phase.MITIGATED: "recheck", Phase.RECOVERING: "recovered"}
FAILURES = {K.STEP_FAILED, K.REVERT_FAILED}


def ref_of(detail: Mapping[str, Any]) -> Ref:
    """Return of which act a line speaks."""
    return Ref(detail["rung"], Role(detail["role"]), detail["step"])


class Witness:
    """Knows from the lines alone what may be in effect, which key ran, and what the probes said last."""

    def __init__(self, rule: Rule, used: frozenset[str]) -> None:
        self.rule = rule
        self.used = set(used)
        self.undo: set[Ref] = set()  # what is on disk
        self.in_effect: set[Ref] = set()  # steps that can be taken back, and may have taken effect
        self.unmade: dict[int, set[int]] = {}  # what has yet to make effective that a rung is back
        self.keys: dict[Ref, tuple[int, str]] = {}
        self.anew: set[Ref] = set()  # a person wants them tried with new keys
        self.answered: dict[str, str] = {}
        self.kept: set[int] = set()
        self.restarted_at: datetime | None = None
        self.asked = False  # a person, since it was tried anew

    # --- moves ---

    def sees(self, move: Move, state: Incident, now: datetime, *, braked: bool) -> None:
        """Hold a move against the promises, before it is done."""
        ordered = state.phase is Phase.REVERTING and state.cause is Cause.PERSON
        if braked and isinstance(move, Start | Act | Settle | TakeBack):
            assert ordered, f"{move} while braked"
        if state.stuck:
            assert isinstance(move, Record | Wait), f"{move} while only a person goes on"
        match move:
            case Start():
                assert state.firing, f"{move} while nothing fires"
                assert state.applying, f"{move} while nothing more is applied"
                assert not state.handed_over, f"{move} after it was handed over"
            case Act() | Settle():
                self._acts(move.ref, state)
            case TakeBack():
                self._takes_back(move, state, now)
            case Ask():
                asked = [known.asked_at for key in move.keys if (known := state.probes.get(key))]
                assert move.keys, "asks nothing"
                assert all(at < now for at in asked), f"{move} was answered just now"
            case Record():
                self._decides(move, state)
            case Wait():
                self._waits(state, now)

    @staticmethod
    def _acts(ref: Ref, state: Incident) -> None:
        back = ref.role in TAKING_BACK
        assert (state.phase is Phase.REVERTING) or not back, f"{ref} in {state.phase}"
        for other, known in state.steps.items():
            if other == ref or known.by_hand:
                continue
            assert known.status is not StepStatus.STARTED or back, f"{ref} while {other} is under way"
            if (other.role in TAKING_BACK) is back:
                assert known.status not in OPEN_ENDED, f"{ref}: nobody knows what became of {other}"

    def _takes_back(self, move: TakeBack, state: Incident, now: datetime) -> None:
        assert set(move.rungs) <= set(state.rungs)
        if move.cause is not Cause.RECOVERED:
            assert state.rungs[state.rung].failed
            return
        keys = [f"recovered/{i}" for i in range(len(causes(state, self.rule)))]
        assert keys
        assert not state.firing
        assert state.flaps < FLAPS_HELD
        assert not any(state.rungs[rung].kept for rung in move.rungs), f"{move} of what is to stay"
        assert {self.answered.get(key) for key in keys} == {"healthy"}
        for key in keys:
            assert state.phase_at is not None
            assert state.probes[key].since >= state.phase_at, "proven by an answer of before"
            anew = self.restarted_at is None or state.probes[key].since >= self.restarted_at
            assert anew, "proven by an answer of before a restart"
            assert now - state.probes[key].since >= self.rule.limits.hold * 2**state.flaps

    def _decides(self, move: Record, state: Incident) -> None:
        for kind, detail in move.events:
            verify = self._verdicts(state, "verify")
            if kind is K.RUNG_FAILED and state.phase is Phase.VERIFYING:
                assert "unhealthy" in verify, "gave up a rung of which nobody said that it does not help"
            if kind is K.MITIGATED and detail["verified"]:
                assert set(verify) == {"healthy"}

    def _verdicts(self, state: Incident, role: str) -> list[str | None]:
        specs = self.rule.ladder[state.rung].verify if state.rung < len(self.rule.ladder) else ()
        return [self.answered.get(f"{role}/{i}") for i in range(len(specs))]

    def _waits(self, state: Incident, now: datetime) -> None:
        end = lease_end(state, self.rule.limits.max_hold)
        if end is not None and now >= end:
            assert state.lease_told == "expired"
            assert state.lease_told_at is not None
            assert now - state.lease_told_at < timedelta(hours=1), "nobody hears that its lease is over"

    # --- lines ---

    def hears(self, before: Incident, event: Event, after: Incident) -> None:
        """Take a line into the book."""
        kind, detail = event.kind, event.detail
        if "role" in detail and "step" in detail:
            self._hears_of_act(kind, ref_of(detail), detail, before)
        elif "probe" in detail:
            self.answered[detail["probe"]] = kind.removeprefix("probe_")
        elif kind in (K.APPROVAL_REQUESTED, K.APPROVAL_EXPIRED, K.RETRIED, K.HANDED_OVER):
            self._hears_of_people(kind, detail, before)
        elif kind is K.RUNG_STARTED:
            self._rung_started(detail)
        elif kind is K.REVERTED:
            self._reverted(detail)
        elif kind is K.KEPT:
            self.kept |= set(before.held)
            stays = "by" in detail or all(before.rungs[rung].kept for rung in before.held)
            assert stays, "kept what was to be taken back"
        elif kind is K.CLOSED:
            self._closed(detail)
        if after.phase is not before.phase:
            role = PROBES.get(after.phase, " ")
            self.answered = {key: said for key, said in self.answered.items() if not key.startswith(role)}
        self._holds(after)

    @staticmethod
    def _holds(state: Incident) -> None:
        if state.phase is Phase.RECOVERING:
            assert not state.firing, "recovering while an alert fires"
        if state.held and state.phase is not Phase.CLOSED:
            assert state.lease_from is not None, "held without a lease"
        started = [s for s in state.steps.values() if s.status is StepStatus.STARTED and not s.by_hand]
        assert len(started) <= 1, "two acts under way"

    def _hears_of_act(self, kind: K, ref: Ref, detail: Mapping[str, Any], before: Incident) -> None:
        if kind is K.STEP_STARTED:
            self._started(ref, detail["n"], before)
        elif kind is not K.OBSERVED:
            self._ended(kind, ref, detail, before)

    def _hears_of_people(self, kind: K, detail: Mapping[str, Any], before: Incident) -> None:
        if kind is K.APPROVAL_REQUESTED:
            self.asked = True
        elif kind is K.APPROVAL_EXPIRED or detail.get("reason") == "approval_denied":
            assert self.asked, "nobody was asked"
        elif kind is K.RETRIED:
            self.asked, rung = False, detail["rung"]
            if before.phase in (Phase.OPEN, Phase.WAITING):
                self.anew |= {ref for ref in self.keys if ref.rung == rung}
            if rung in before.rungs:
                self.used.discard(before.rungs[rung].name)

    def _reverted(self, detail: Mapping[str, Any]) -> None:
        for rung in detail["rungs"]:
            assert not [ref for ref in self.in_effect if ref.rung == rung], f"rung {rung} is not back"
            assert not self.unmade.get(rung), f"that rung {rung} is back was not made effective"

    def _rung_started(self, detail: Mapping[str, Any]) -> None:
        spec = self.rule.ladder[detail["rung"]]
        assert not (spec.once and spec.name in self.used), f"{spec.name} runs once, and again"
        if spec.once:
            self.used.add(spec.name)
        assert not [ref for ref in self.in_effect if ref.rung == detail["rung"]], "began again in effect"
        self.unmade.pop(detail["rung"], None)

    def _started(self, ref: Ref, n: int, state: Incident) -> None:
        if ref.role in TAKING_BACK:
            if n != self.keys.get(ref, (0, ""))[0]:  # else it goes on with what began before another order
                self._keeps_order(ref, state)
        else:
            self.undo.add(ref)
            assert state.phase is Phase.MITIGATING, f"{ref} in {state.phase}"
            if ref.role is Role.DO and state.rungs[ref.rung].reverts[ref.step]:
                self.in_effect.add(ref)
        known, fate = self.keys.get(ref, (0, "failed"))
        if n == known:
            assert fate in ("running", "unknown"), f"{ref} runs again with a key that {fate}"
        elif ref in self.anew:
            assert n > known, f"{ref} runs again with an old key"
        else:
            assert n == known + 1, f"{ref} skips a key: {n} after {known}"
            assert fate in ("failed", "drifted"), f"{ref} has a new key, but {fate}"
        self.anew.discard(ref)
        self.keys[ref] = n, "running"

    def _keeps_order(self, ref: Ref, state: Incident) -> None:
        mine = ref.rung, ref.step if ref.role is Role.REVERT else -1
        assert ref.rung in state.reverting
        if ref.role is Role.REVERT:
            assert Ref(ref.rung, Role.DO, ref.step) in self.undo, f"{ref} without an undo on disk"
        for other in self.in_effect:
            if other.rung in state.reverting:
                assert (other.rung, other.step) <= mine, f"{ref} before {other} is back"
        for rung in state.reverting:
            assert rung <= ref.rung or not self.unmade.get(rung), f"{ref} before rung {rung} is in effect"

    def _ended(self, kind: K, ref: Ref, detail: Mapping[str, Any], before: Incident) -> None:
        known, fate = self.keys.get(ref, (0, ""))
        if kind is K.STEP_SKIPPED:
            assert fate != "unknown" or ref not in self.in_effect, f"{ref} may be in effect"
            return
        if kind in FAILURES:
            self.keys[ref] = detail["n"], "failed"
        else:
            fate = "unknown" if kind is K.STEP_UNKNOWN else "drifted" if kind is K.DRIFTED else "succeeded"
            self.keys[ref] = known, fate
        if kind not in SURE:
            return
        if ref.role is Role.REVERT:
            self.in_effect.discard(Ref(ref.rung, Role.DO, ref.step))
            activated = any(other.rung == ref.rung and other.role is Role.ACTIVATE for other in self.keys)
            partly = (
                bool(detail.get("changed")) if kind is K.DRIFTED else detail.get("changed", True) or activated
            )
            if partly:
                made = [Ref(ref.rung, Role.REACTIVATE, i) for i in range(before.rungs[ref.rung].activate)]
                self.unmade[ref.rung] = {one.step for one in made}
                self.anew |= set(made) & self.keys.keys()
        elif ref.role is Role.REACTIVATE:
            self.unmade.get(ref.rung, set()).discard(ref.step)

    def _closed(self, detail: Mapping[str, Any]) -> None:
        left = {ref.rung for ref in self.in_effect}
        assert left <= self.kept, f"closed with {left - self.kept} in effect, and nobody hears of it"
        if left:
            assert detail["outcome"] is Outcome.KEPT

"""People: what they say to incidents in the model world, as `orders.py` takes it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.property.flights import Acting, Starting
from tests.property.promises import World

from stopgap.approval import pending
from stopgap.closing import closing_of
from stopgap.decide import outcome_of
from stopgap.guard import Request
from stopgap.incident import (
    TARGET_LOCK,
    Cause,
    Event,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    holdings,
    lease_end,
)
from stopgap.journal import Append
from stopgap.ledger import Brake, BrakeScope

BY = "ann"


@dataclass(frozen=True)
class People:
    """Give orders; each returns whether it was possible. Raise Dead."""

    world: World

    def _say(self, state: Incident, kind: K, /, **detail: Any) -> Event:
        return Event(kind, self.world.now, {"by": BY, **detail})

    def _append(self, state: Incident, *events: Event, **more: Any) -> bool:
        answer = self.world.append(Append(state.id, events, expect=state.seq, **more))
        return isinstance(answer, tuple)

    def waiting(self) -> list[str]:
        """Return the incidents that wait for a yes or no."""
        return [state.id for state in self.world.states.values() if pending(state)]

    def answer(self, name: str, *, yes: bool) -> bool:
        state = self.world.states[name]
        asked = pending(state)
        if asked is None or self.world.now >= asked.until:
            return False
        rule = self.world.rule_of(state)
        valid = rule.ladder[asked.rung].approval or rule.limits.approval
        until = {"until": (self.world.now + valid).isoformat()} if yes else {}
        kind = K.APPROVED if yes else K.APPROVAL_DENIED
        return self._append(state, self._say(state, kind, request=asked.request, **until))

    def acknowledge(self, name: str) -> bool:
        state = self.world.states[name]
        return self._append(state, self._say(state, K.ACKNOWLEDGED))

    def revert(self, name: str) -> bool:
        state = self.world.states[name]
        under_way = state.phase is Phase.REVERTING and state.cause is Cause.PERSON and not state.stuck
        if not state.held or under_way:
            return False
        lock = (TARGET_LOCK + state.target,)
        request = Request(name, state.rule, state.target, lock, person=True)
        event = self._say(state, K.REVERT_STARTED, cause=Cause.PERSON, rungs=list(state.held))
        return self._append(state, event, request=request)

    def extend(self, name: str, by: timedelta) -> bool:
        state = self.world.states[name]
        end = lease_end(state, self.world.rule_of(state).limits.max_hold)
        if end is None:
            return False
        until = max(end, self.world.now) + by
        return self._append(state, self._say(state, K.LEASE_EXTENDED, until=until.isoformat()))

    def close(self, name: str, *, keep: bool) -> bool:
        state = self.world.states[name]
        if isinstance(self.world.flights.get(name), Acting | Starting) or (state.held and not keep):
            return False
        outcome = Outcome.KEPT if state.held else outcome_of(state)
        if state.firing and outcome is Outcome.SELF_RESOLVED:
            outcome = Outcome.HANDED_OVER
        served = [fingerprint for fingerprint, alert in state.alerts.items() if alert.firing]
        closed = self._say(state, K.CLOSED, outcome=outcome, served=served)
        events = (self._say(state, K.KEPT), closed) if state.held else (closed,)
        closing = closing_of(state, None, closed, serve=True)
        return self._append(state, *events, release=tuple(sorted(holdings(state))), closing=closing)

    # --- brakes ---

    def brake(self, scope: BrakeScope, name: str, lasts: timedelta | None) -> None:
        now = self.world.now
        until = now + lasts if lasts else None
        self.world.rows.brake(Brake(scope, name, BY, "too much at once", now, until))
        self.world.touch_all()

    def release(self) -> None:
        """Take off the brake that was put on first."""
        brakes = self.world.rows.brakes
        del brakes[next(iter(brakes))]
        self.world.release_brakes()

    # --- when it is all over ---

    def calm(self) -> None:
        """Let the causes go away, and do what is left to people, until nothing is live."""
        world = self.world
        world.fuse, world.hasty, world.lingering, world.acting_slowly = None, True, False, False
        world.ends.clear()
        world.outside.away.clear()
        world.outside.verdicts.clear()
        world.outside.blackout = False
        world.doubts.silenced.clear()
        world.believes()
        while world.rows.brakes:
            self.release()
        for alarm in world.alarms:
            world.receive(alarm, firing=False)
        for _ in range(300):
            world.run()
            if not world.states:
                return
            for name in [*world.flights]:
                world.lands(name)
            self._tidy_up()
            world.run()
            due = world.next_due() or world.now
            world.passes(max(due - world.now, timedelta(seconds=1)))
        left = [f"{state.id} {state.phase} {state.reason}" for state in world.states.values()]
        raise AssertionError(f"after calm, still live: {left}")

    def _tidy_up(self) -> None:
        for state in [*self.world.states.values()]:
            if state.id not in self.world.flights and (state.stuck or state.unproven):
                self.revert(state.id)

"""Outside: what alerts, people, brakes, weather and crashes do to one incident, at any moment at which they really can."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.property.chances import a_rule
from tests.property.incident_promises import Witness
from tests.timelines import BRAKE, START

from stopgap.approval import pending
from stopgap.closing import closing_of
from stopgap.decide import outcome_of
from stopgap.guard import FREED, WAITS, Reason
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
from stopgap.journal import Sighting
from stopgap.moves import Circumstances
from stopgap.opening import Predecessor, followed, joined, opened
from stopgap.rule import Mode, bounded
from stopgap.storm import Storm
from stopgap.transitions import apply, fold, resume

Said = tuple[K, dict[str, Any]]
OPENS_WITH = ("a", "a", "ab")


class Outside:
    """One incident, its timeline, the rows that it holds, and all that can happen to it from outside."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = chance = Random(seed)
        self.rule = a_rule(chance)
        self.now = START
        self.brake = self.storm_until = self.retry_at = None
        self.refused_for = self.doubt = ""
        self.silenced = self.removed = self.calm = False
        self.events: list[Event] = []
        self.state = Incident("INC-1")
        self.rows: frozenset[str] = frozenset()
        self.named = chance.random() < 0.8  # of its alerts: others cannot be asked about
        self.unrest = chance.choice([0.2, 0.5, 1])
        self.luck = chance.choice([0.5, 0.7, 0.9])
        self.witness = Witness(self.rule, frozenset())
        self.open(self.one_before())

    # --- openings (intake.py, opening.py) ---

    def open(self, before: Predecessor | None, *refiring: Sighting) -> None:
        """Begin an incident, of alerts that still fire or of others; it may follow one before."""
        names = self.chance.choice(OPENS_WITH)
        sightings = refiring or tuple(self.sighting(name) for name in names)
        follows = followed(sightings[0], before)
        event = opened(sightings[0], follows)
        used = frozenset(event.detail.get("used", ()))
        assert follows is None or used == self.witness.used, "what ran once along the chain is forgotten"
        self.witness = Witness(self.rule, used)
        self.state, self.events = Incident(f"INC-{self.chance.randrange(10**6)}"), []
        self.rows, self.retry_at, self.planned = frozenset(), None, {}
        self.journal((K.OPENED, dict(event.detail)), outside=True)
        for other in sightings[1:]:
            self.journal((K.ALERT_JOINED, dict(joined(other).detail)), outside=True)

    def one_before(self) -> Predecessor | None:
        """Return an incident that was taken back just now, mostly none."""
        chance, ladder = self.chance, self.rule.ladder
        if not ladder or chance.random() < 0.7:
            return None
        once = (rung.name for rung in ladder if rung.once)
        self.witness.used = {name for name in once if chance.random() < 0.5}
        flaps, used = chance.choice([0, 1, 3]), tuple(self.witness.used)
        return Predecessor("INC-0", START, START, chance.choice(ladder).name, flaps, used)

    def sighting(self, name: str) -> Sighting:
        chance, rule = self.chance, self.rule
        return Sighting(
            "pack/rule",
            "v1",
            "app",
            "P2",
            chance.choice(["auto"] * 8 + ["approve", "shadow"]),
            name,
            alert=self.an_alert(name),
            firing=True,
            at=self.now,
            flaw="unsafe_label" if chance.random() < 0.02 else "",
            flap_window=rule.limits.flap_window,
            flap_from=rule.flap_from,
        )

    def comes_again(self) -> None:
        """Let what is over fire again, at once or later."""
        closing, refiring = self.closing, self.closing.refiring
        assert not refiring or not closing.serve
        if not refiring:
            self.now += timedelta(minutes=self.chance.choice([0, 5, 90]))
        back = closing.reverted_at is not None
        flaps = self.state.flaps
        if back:
            assert not closing.helped or closing.helped in self.rule.flap_from
        before = (
            Predecessor(
                self.state.id,
                self.state.opened_at,
                closing.reverted_at,
                closing.helped,
                flaps,
                closing.used,
                closing.drill,
            )
            if back
            else None
        )
        self.open(before, *refiring)

    def an_alert(self, name: str) -> dict[str, Any]:
        labels = {"alert": name, "drill": "fire"} if name == "a" else {"alert": name}
        return {"labels": labels | {"alertname": "Away", "job": name} if self.named else labels}

    def __repr__(self) -> str:
        return f"World({self.seed})"

    # --- lines ---

    def say(self, kind: K, **detail: Any) -> None:
        self.journal((kind, detail))

    def journal(self, *said: Said, take: tuple[str, ...] = (), outside: bool = False) -> None:
        """Commit lines, and with them the rows that they take. Only what was decided at the state lets go of rows."""
        before = self.state
        for kind, detail in said:
            self.line(kind, {k: v for k, v in detail.items() if v not in (None, "")})
        self.rows |= set(take)
        if said[-1][0] is K.CLOSED:
            self.closing = closing_of(before, self.rule, self.events[-1], serve=outside)
        if not outside or said[-1][0] is K.CLOSED:
            self.rows -= holdings(before) - holdings(self.state)
        assert self.rows == holdings(self.state), f"{sorted(self.rows)} are held"

    def line(self, kind: K, detail: dict[str, Any]) -> None:
        event = Event(kind, self.now, detail, len(self.events) + 1)
        before = self.state
        self.events.append(event)
        self.state = apply(before, event)
        self.witness.hears(before, event, self.state)

    def likely(self, chance_in_a_hundred: int) -> bool:
        return not self.calm and self.chance.random() * 100 < chance_in_a_hundred * self.unrest

    # --- how things stand ---

    @property
    def closed(self) -> bool:
        return self.state.phase is Phase.CLOSED

    @property
    def mode(self) -> Mode:
        return bounded(Mode(self.state.mode), self.rule.mode)

    def at(self, now: datetime | None = None) -> Circumstances:
        """Return what bears on a decision, now or later if nothing happens until then."""
        now = now or self.now
        starts = self.state.phase in (Phase.OPEN, Phase.WAITING)
        stormy = starts and self.storm_until is not None and now < self.storm_until
        return Circumstances(
            now,
            brake=self.brake if self.brake and self.brake.covers("pack/rule", "app", now) else None,
            retry_at=self.retry_at,
            rule_removed=self.removed,
            storm=Storm(START, 12, self.storm_until) if stormy else None,
            doubt=self.doubt,
            silenced=self.silenced and starts,
        )

    # --- what happens ---

    def interferes(self, *, under_way: bool = False) -> None:
        """Let something happen, or nothing; `under_way` tells that an act is."""
        if self.closed or not self.likely(30):
            return
        deeds: list[Callable[[], None]] = [
            *(self.alerts,) * 8,
            *(self.brakes, self.reverts, self.answers, self.retries) * 3,
            *(self.releases, self.weather, self.does_by_hand) * 2,
            *(self.acknowledges, self.extends, self.adopts, self.reloads, self.overtakes),
        ]
        if not under_way:
            deeds += [*(self.crashes,) * 3, self.faults]
            deeds += [self.closes] if self.chance.random() < 0.2 else []
        self.chance.choice(deeds)()

    def alerts(self) -> None:
        name = self.chance.choice("abc")
        known = self.state.alerts.get(name)
        if known is None:
            self.journal((K.ALERT_JOINED, {"fingerprint": name, **self.an_alert(name)}), outside=True)
        else:
            kind = K.ALERT_RESOLVED if known.firing else K.REFIRED
            self.journal((kind, {"fingerprint": name}), outside=True)

    def brakes(self) -> None:
        until = self.chance.choice([None, self.now + timedelta(minutes=self.chance.choice([0.3, 1, 30]))])
        self.brake = None if self.brake else replace(BRAKE, until=until)
        if self.brake is None:
            self.let_go((Reason.BRAKE,))

    def weather(self) -> None:
        match self.chance.randrange(4):
            case 0:
                self.storm_until = self.now + timedelta(minutes=self.chance.choice([0, 10]))
            case 1:
                self.doubt = "" if self.doubt else "Alertmanager does not know it"
            case 2:
                self.silenced = not self.silenced
            case _:
                self.removed = not self.removed and self.chance.random() < 0.3

    def reloads(self) -> None:
        """Swap the rules: other guards, another mode, never another ladder."""
        self.rule = replace(self.rule, mode=self.chance.choice([*[Mode.AUTO] * 3, *Mode]))
        self.witness.rule = self.rule
        self.let_go(WAITS)

    def releases(self) -> None:
        self.let_go(FREED)

    def let_go(self, reasons: Any) -> None:
        if self.refused_for in reasons:
            self.retry_at = None

    def overtakes(self) -> None:
        if self.state.drill:
            self.journal((K.DRILL_OVERTAKEN, {"drill": self.state.drill}), outside=True)

    def faults(self) -> None:
        """Let what nobody expected happen once too often."""
        if not self.state.stuck and self.chance.random() < 0.3:
            self.journal((K.HANDED_OVER, {"reason": "fault", "stuck": True}), outside=True)

    def crashes(self) -> None:
        self.now += timedelta(minutes=self.chance.choice([0, 1, 90]))
        told = fold(self.state.id, self.events)
        assert replace(told, probes={}) == replace(self.state, probes={}), "the timeline says something else"
        self.state = resume(told, self.now)
        self.retry_at = None
        of_now = {key for key, known in self.state.probes.items() if known.asked_at == self.now}
        self.witness.restarted_at = self.now
        heard = self.witness.answered.items()  # what was healthy must prove itself anew
        self.witness.answered = {key: said for key, said in heard if said != "healthy" or key in of_now}

    # --- people (orders.py) ---

    def order(self, kind: K, *more: Said, lock: bool = False, **detail: Any) -> None:
        take = (TARGET_LOCK + self.state.target,) if lock else ()
        self.journal((kind, {"by": "ann", **detail}), *more, take=take, outside=True)

    def answers(self) -> None:
        asked = pending(self.state)
        if asked is None or self.now >= asked.until:
            return
        if self.chance.random() < 0.2:
            self.order(K.APPROVAL_DENIED, request=asked.request)
        else:
            valid = self.rule.ladder[asked.rung].approval or self.rule.limits.approval
            self.order(K.APPROVED, request=asked.request, until=(self.now + valid).isoformat())

    def acknowledges(self) -> None:
        self.order(K.ACKNOWLEDGED)
        self.let_go((Reason.CIRCUIT_OPEN,))

    def does_by_hand(self) -> None:
        ref = self.state.by_hand
        if ref is not None:
            self.order(K.MANUAL_DONE, rung=ref.rung, role=ref.role, step=ref.step)

    def retries(self) -> None:
        state, last = self.state, len(self.rule.ladder) - 1
        if not state.handed_over or last < 0 or state.flaw or not state.firing:
            return
        if state.phase in (Phase.RECOVERING, Phase.REVERTING):
            return
        rung = min(state.rung, last)
        if state.phase not in (Phase.OPEN, Phase.WAITING) or rung not in state.held:
            self.order(K.RETRIED, rung=rung)

    def adopts(self) -> None:
        if self.state.mode == Mode.SHADOW and self.rule.mode is not Mode.SHADOW and not self.state.drill:
            self.order(K.ADOPTED, mode=self.rule.mode)

    def reverts(self) -> None:
        under_way = self.state.phase is Phase.REVERTING and self.state.cause is Cause.PERSON
        if self.state.held and (self.state.stuck or not under_way):
            self.order(K.REVERT_STARTED, lock=True, cause=Cause.PERSON, rungs=list(self.state.held))

    def extends(self) -> None:
        end = lease_end(self.state, self.rule.limits.max_hold)
        if end is not None:
            self.order(K.LEASE_EXTENDED, until=(max(end, self.now) + timedelta(hours=1)).isoformat())

    def closes(self) -> None:
        outcome = Outcome.KEPT if self.state.held else outcome_of(self.state)
        if self.state.firing and outcome is Outcome.SELF_RESOLVED:
            outcome = Outcome.HANDED_OVER
        closed = {"outcome": outcome, "by": "ann"}
        if self.state.held:
            self.order(K.KEPT, (K.CLOSED, closed))
        else:
            self.order(K.CLOSED, **closed)

    # --- peace ---

    def end_alerts(self) -> None:
        for name, known in self.state.alerts.items():
            if known.firing:
                self.journal((K.ALERT_RESOLVED, {"fingerprint": name}), outside=True)

    def makes_peace(self) -> None:
        """Heal everything, release the brake, and let nobody doubt any more."""
        self.calm = True
        self.brake = self.storm_until = None
        self.silenced, self.doubt = False, ""
        self.let_go((Reason.BRAKE,))

    def helps(self) -> None:
        """Do what only a person can."""
        self.does_by_hand()
        if self.state.stuck or self.state.unproven:
            self.reverts()

"""Auditor: sees every commit, every answer and every effect, and says which of the ten promises (DESIGN 1) is broken.

It judges from the rows and the effects alone. Whether a rung may start is judged in `permission.py`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.property.accounts import Account, Request, act_of
from tests.property.outside import Effect, Outside
from tests.property.permission import may_start
from tests.property.proof import Answers
from tests.property.rows import Commit, Rows

from stopgap.guard import SKIPS, WAITS
from stopgap.incident import TARGET_LOCK, Cause, Event, EventKind as K, Incident, Ref, Role
from stopgap.journal import Sighting
from stopgap.probe import Verdict
from stopgap.rule import Mode, Rule

MINUTE = timedelta(minutes=1)
ENDING = 0.75
HOUR = timedelta(hours=1)
FLAPS_COUNT_FOR = timedelta(hours=6)


@dataclass
class Auditor:
    """Keeps one account per incident."""

    rows: Rows
    outside: Outside
    clock: Callable[[], datetime]
    bound: Callable[[], Mode]
    loaded: Callable[[], Mapping[str, Rule]]
    running: Callable[[str, str], Rule]
    accounts: dict[str, Account] = field(default_factory=dict)
    live: dict[str, Account] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    claims: dict[tuple[str, str], bool] = field(default_factory=dict)
    keys: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def rule(self, account: Account) -> Rule:
        return self.running(account.rule, account.version)

    # --- 1: what was acknowledged ---

    def sent(self, sightings: Sequence[Sighting]) -> None:
        """An alert is on its way; until it is acknowledged nothing is promised about it."""
        for sighting in sightings:
            self.claims.pop((sighting.fingerprint, sighting.rule), None)

    def acknowledged(self, sighting: Sighting) -> None:
        self.claims[sighting.fingerprint, sighting.rule] = sighting.firing

    def _check_claims(self) -> None:
        firing = {(fp, one.rule) for one in self.live.values() for fp, on in one.alerts.items() if on}
        for key, claimed in self.claims.items():
            if claimed and key not in firing:
                episode = self.rows.episodes.get(key)
                assert episode is not None, f"1: {key} was acknowledged, and is in no live timeline"
                said = self.accounts[episode.incident].served
                assert key[0] in said, f"1: {key} was acknowledged, fires, and nobody ended its incident"
            assert claimed or key not in firing, f"1: the end of {key} was acknowledged, and is lost"

    # --- lines ---

    def committed(self, commit: Commit) -> None:
        account = self.accounts.get(commit.incident)
        if account is None:
            account = self.accounts[commit.incident] = Account(commit.incident)
            self.answers[commit.incident] = Answers()
        assert account.live, f"{commit.incident} goes on after its end: {commit.events}"
        for event in commit.events:
            self.seen[str(event.kind)] += 1
            if "reason" in event.detail:
                self.seen[f"{event.kind}: {event.detail['reason']}"] += 1
            check = _CHECKS.get(event.kind)
            if check is not None:
                check(self, account, event)
            account.read(event)
            self.answers[account.id].read(event)
            if event.kind is K.OPENED:
                self._opened(account)
            if event.kind is K.CLOSED:
                del self.live[account.id]

    def _opened(self, new: Account) -> None:
        for one in self.live.values():
            assert (one.rule, one.target) != (new.rule, new.target), f"3: {new.id} beside {one.id}"
        self.live[new.id] = new
        self.seen[f"flap {new.flaps}"] += 1
        assert new.flaps == self._flaps(new), f"{new.id} counts {new.flaps} flaps"

    def _flaps(self, new: Account) -> int:
        if not new.follows:
            return 0
        before = self.accounts[new.follows]
        assert before.back_at is not None
        assert before.opened_at is not None
        assert new.opened_at is not None
        return before.flaps + 1 if new.opened_at - before.opened_at < FLAPS_COUNT_FOR else 1

    def refused(self, account: Account, event: Event) -> None:
        assert event.detail["reason"] in WAITS, f"8: {account.id} is refused for {event.detail['reason']!r}"

    def skipped(self, account: Account, event: Event) -> None:
        assert event.detail["reason"] in SKIPS, f"8: a rung is skipped for {event.detail['reason']!r}"

    def handed_over(self, account: Account, event: Event) -> None:
        assert event.detail["reason"], f"8: {account.id} is handed over without a reason"

    def rung_started(self, account: Account, event: Event) -> None:
        now = self.clock()
        self._check_brake(account, person=False)
        self._check_actor(account)
        rule, number = self.rule(account), event.detail["rung"]
        between = set(range(account.first_rung, number)) - account.skipped - account.rungs.keys()
        assert not between, f"8: {account.id} passes over rungs {between} without a word"
        for lower, rung in account.rungs.items():
            assert rung.climbs, f"5: {account.id} climbs from rung {lower} to {number}, which did not fail"
        for resource in event.detail["resources"]:
            for other in self.live.values():
                clash = other is not account and resource in other.held
                assert not clash, f"3: {account.id} takes {resource}, which {other.id} holds"
        may_start(self, account, rule, number, now)
        self._check_approval(account, rule, number)

    def _check_approval(self, account: Account, rule: Rule, number: int) -> None:
        modes = {account.mode, rule.mode, self.bound()}
        assert Mode.SHADOW not in modes, f"8: {account.id} acts, a shadow"
        if rule.ladder[number].approval is None and Mode.APPROVE not in modes:
            return
        asked = account.request
        assert asked is not None, f"8: {account.id} starts rung {number} and nobody was asked"
        assert asked.by, f"8: {account.id} starts rung {number} and nobody said yes"
        assert asked.rung == number, f"8: {account.id} starts rung {number}, and {asked.rung} was approved"
        assert self.clock() <= asked.until, f"8: {account.id} starts rung {number} too long after the yes"
        found = self._found(account, number)
        assert asked.found == found, f"8: {account.id} was approved for {asked.found}, and found {found}"

    def _found(self, account: Account, number: int) -> tuple[str | int, ...]:
        steps = self.rule(account).ladder[number].do
        turns = [step.params for step in steps if step.params.back]
        return tuple(self.outside.value(turn.at.replace("{target}", account.target)) for turn in turns)

    def approval_requested(self, account: Account, event: Event) -> None:
        d, before = event.detail, account.request
        heard = before is None or before.rung != d["rung"] or (before.by and not before.denied)
        assert heard, f"8: {account.id} asks again, and silence or a no means no"
        found = self._found(account, d["rung"])
        account.request = Request(d["rung"], datetime.fromisoformat(d["until"]), found)

    def _check_brake(self, account: Account, *, person: bool) -> None:
        brake = self.rows.covering(account.rule, account.target, self.clock())
        assert brake is None or person, f"9: {account.id} changes something under {brake}"

    def _check_brake_is_on(self, account: Account) -> None:
        brake = self.rows.covering(account.rule, account.target, self.clock())
        on = account.reason != "brake" or brake is not None
        assert on, f"8: {account.id} says that a brake is on, and none is"

    def _check_actor(self, account: Account) -> None:
        for other in self.live.values():
            alone = other is account or other.target != account.target or not other.acting
            assert alone, f"3: {account.id} acts on {account.target}, as {other.id} does"

    def step_started(self, account: Account, event: Event) -> None:
        assert account.acting, f"3: {account.id} acts without the lock"
        known = account.act in ("", act_of(event))  # the same one again is a repetition with the same key
        assert known, f"2: {account.id} acts, and nobody knows what became of {account.act}"
        self._check_actor(account)
        self._check_brake(account, person=account.cause == Cause.PERSON)
        role = Role.DO if event.detail["role"] == Role.REVERT else Role(event.detail["role"])
        act = str(Ref(event.detail["rung"], role, event.detail["step"]))
        assert (account.id, act) in self.rows.undos, f"4: {account.id} acts without an undo of {act}"

    def rung_failed(self, account: Account, event: Event) -> None:
        rung, verify = account.rungs[event.detail["rung"]], self.answers[account.id].last("verify")
        seen = rung.step_failed or Verdict.UNHEALTHY in verify.values()
        assert seen, f"5: {account.id} gives up a rung of which nothing bad is known: {verify}"

    def mitigated(self, account: Account, event: Event) -> None:
        specs = self.rule(account).ladder[event.detail["rung"]].verify
        proven = self.answers[account.id].proven("verify", [spec.for_ for spec in specs])
        if event.detail["verified"]:
            assert specs, "5: verified, and nobody asked"
            assert proven, f"5: {account.id} counts as verified, unproven"

    def revert_started(self, account: Account, event: Event) -> None:
        self._check_actor(account)
        self._check_brake(account, person=event.detail["cause"] == Cause.PERSON)
        if event.detail["cause"] == Cause.PERSON:  # who has looked, and says: once more
            for key in [*self.keys]:
                if key.startswith(f"{account.id}/") and ("/revert/" in key or "/reactivate/" in key):
                    del self.keys[key]
        if event.detail["cause"] != Cause.RECOVERED:
            return
        rule, now = self.rule(account), self.clock()
        assert not account.firing, f"6: {account.id} is taken back, and fires"
        assert account.flaps < 3, f"6: {account.id} is taken back by itself, in its third flap"
        kept = [n for n in event.detail["rungs"] if rule.ladder[n].on_resolve == "keep"]
        assert not kept, f"6: {account.id} takes rungs {kept} back, which stay"
        hold = rule.limits.hold * 2**account.flaps
        answers = self.answers[account.id]
        kinds = {fingerprint.partition("/")[0] for fingerprint in account.alerts}
        proven = answers.proven("recovered", [hold] * len(rule.recovered or kinds), together=True)
        assert proven, f"6: {account.id} is taken back, and its recovery is not proven over {hold}: {answers}"
        assert now - answers.oldest("recovered") < MINUTE, f"6: {account.id} is taken back on old answers"

    def closed(self, account: Account, event: Event) -> None:
        kept = event.detail["outcome"] == "kept"
        assert account.held or not kept, f"7: {account.id} ends as kept, and holds nothing"
        if account.held:
            person = event.detail.get("by")
            rungs = [number for number, rung in account.rungs.items() if rung.resources and not rung.back]
            ladder = self.rule(account).ladder
            keeps = all(ladder[number].on_resolve == "keep" for number in rungs)
            assert kept, f"7: {account.id} ends, and holds {account.held}"
            assert person or keeps, f"7: {account.id} ends by itself, and holds {account.held}"
        done = account.back_at is not None or event.detail.get("by")
        assert done or not account.firing, f"1: {account.id} ends by itself, and fires"

    # --- what happens outside ---

    def answered(self, incident: str, key: str, verdict: Verdict) -> None:
        self.answers[incident].take(key, verdict, self.clock())

    def took_effect(self, effect: Effect) -> None:
        name, _, act = effect.key.partition("/")
        account, turn = self.accounts[name], effect.turn
        assert account.act == act, f"2: {effect.key} took effect without an intent on disk"
        rung, step, role, _ = act.split("/")
        self.keys[effect.key] += 1
        once = turn.safe or self.keys[effect.key] == 1
        assert once, f"2: {effect.key} took effect twice, and is not idempotent"
        if role == Role.REVERT:
            assert effect.before == turn.to, (
                f"4: {effect.key} overwrites {effect.before}, set by somebody else"
            )
            return
        undo = self.rows.undos[name, f"{rung}/{step}/{role}"].before
        saved = effect.before in {undo, turn.to} or not turn.back
        assert saved, f"4: {effect.key} overwrites {effect.before}, and would put back {undo}"

    def crashed(self) -> None:
        for answers in self.answers.values():
            answers.restart(self.clock())

    def replayed(self, known: Incident | None, told: Incident) -> None:
        """What a restarted process knows is what the one before knew."""
        if known is not None:
            same = replace(known, probes={}) == replace(told, probes={})
            assert same, f"{told.id} is another after a restart"

    # --- after every step ---

    def check(self, idle: Callable[[str], bool]) -> None:
        """Check what must hold whenever all is said that there is to say."""
        self._check_claims()
        holders: dict[str, str] = {}
        for account in self.live.values():
            for resource in account.held:
                assert holders.setdefault(resource, account.id) == account.id, (
                    f"3: {resource} has two holders"
                )
            if account.acting:
                self._check_held(TARGET_LOCK + account.target, account)
            if idle(account.id):
                self._check_lease(account)
                self._check_brake_is_on(account)
                assert not account.unexplained, f"8: {account.id} does nothing, and says nothing"
        for resource, holder in holders.items():
            self._check_held(resource, self.accounts[holder])
        for resource, holder in self.rows.held.items():
            assert holder in self.live, f"7: {resource} is held by {holder}, which has ended"

    def _check_held(self, resource: str, account: Account) -> None:
        assert self.rows.held.get(resource) == account.id, f"3: {account.id} holds {resource}, without a row"

    def _check_lease(self, account: Account) -> None:
        end, lease, now = account.lease_end(self.rule(account).limits.max_hold), account.lease, self.clock()
        if end is None or lease is None:
            return
        told = lease.ending or lease.expired_at is not None
        late = now >= lease.since + (end - lease.since) * ENDING
        assert told or not late, f"7: nobody heard that the lease of {account.id} ends at {end}"
        again = lease.expired_at is not None and now < lease.expired_at + HOUR
        assert again or now < end, f"7: nobody heard in the last hour that the lease of {account.id} is over"

    def check_end(self) -> None:
        """Check what is left when every incident is over."""
        assert not self.rows.held, f"7: still held: {self.rows.held}"
        kept: dict[str, set[str | int]] = {}
        for account in self.accounts.values():
            assert account.outcome, f"{account.id} has no outcome"
            for number, rung in account.rungs.items():
                if account.kept and not rung.back:
                    for step in self.rule(account).ladder[number].do:
                        at = step.params.at.replace("{target}", account.target)
                        kept.setdefault(at, set()).add(step.params.to)
        for resource, value in self.outside.values.items():
            if not resource.endswith("#runs") and value != self.outside.home(resource):
                assert value in kept.get(resource, ()), f"4: {resource} is left at {value}"


_CHECKS: dict[K, Callable[[Auditor, Account, Event], None]] = {
    K.REFUSED: Auditor.refused,
    K.RUNG_SKIPPED: Auditor.skipped,
    K.HANDED_OVER: Auditor.handed_over,
    K.RUNG_STARTED: Auditor.rung_started,
    K.APPROVAL_REQUESTED: Auditor.approval_requested,
    K.STEP_STARTED: Auditor.step_started,
    K.RUNG_FAILED: Auditor.rung_failed,
    K.MITIGATED: Auditor.mitigated,
    K.REVERT_STARTED: Auditor.revert_started,
    K.CLOSED: Auditor.closed,
}

"""Machine: all that can happen to the model world, as hypothesis rules; one of them is one step."""

from collections import Counter
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.property.flights import Acting, Asking, End, Starting
from tests.property.people import People
from tests.property.promises import Dead, World

from stopgap.ledger import BrakeScope
from stopgap.probe import Verdict
from stopgap.rule import Mode

DONE: Counter[str] = Counter()
"""How many steps, worlds and moves there were."""
SEEN: Counter[str] = Counter()
"""Which lines and reasons the worlds came to."""

which = st.integers(0, 11)
yes = st.booleans()
seldom = st.sampled_from([True, False, False, False])
ENDS = st.sampled_from([End.OK] * 4 + list(End))
SPANS = st.sampled_from(
    [timedelta(seconds=1), timedelta(seconds=40), timedelta(minutes=7), timedelta(hours=2)]
)


class Promises(RuleBasedStateMachine):
    """One step is one rule below; whatever the daemon does about it, it does before the next (or dies of it)."""

    world: World
    people: People
    sound = happened = False

    @initialize(number=st.integers(0, 2**32), first=st.lists(which, min_size=1, max_size=5))
    def begins(self, number, first):
        self.world = World(number)
        self.people = People(self.world)
        for alert in first:
            self.fire(alert)
        self.happened = False

    def lets(self, happen):
        """Let something happen, then let the daemon go on, then ask the auditor."""
        world, self.sound, self.happened = self.world, False, True
        try:
            happen()
        except Dead:
            world.dies()
        world.run()
        settled = world.hasty
        world.auditor.check(lambda name: settled and world.idle(name))
        self.sound = True

    def live(self, number):
        names = [*self.world.states]
        return names[number % len(names)]

    def target(self, number):
        return self.world.alarms[number % len(self.world.alarms)].service

    @invariant()
    def counts(self):
        """Count the rules under which something happened, each once."""
        DONE["steps"] += self.happened
        self.happened = False

    # --- alerts ---

    def fire(self, number):
        alarm = self.world.alarms[number % len(self.world.alarms)]
        self.lets(lambda: self.world.receive(alarm, firing=True))

    @rule(number=which)
    def fires(self, number):
        self.fire(number)

    @rule(numbers=st.lists(which, min_size=2, max_size=6))
    def fire_together(self, numbers):
        for number in numbers:
            self.fire(number)

    @precondition(lambda self: self.world.states)
    @rule(number=which, alert=which)
    def is_over(self, number, alert):
        state = self.world.states[self.live(number)]
        fingerprint = [*state.alerts][alert % len(state.alerts)]
        self.ends(fingerprint)

    @precondition(lambda self: self.world.states)
    @rule(number=which)
    def all_is_over(self, number):
        for fingerprint in self.world.states[self.live(number)].alerts:
            self.ends(fingerprint)

    def ends(self, fingerprint):
        alarm = next(one for one in self.world.alarms if one.fingerprint == fingerprint)
        self.lets(lambda: self.world.receive(alarm, firing=False))

    @precondition(lambda self: self.world.last_closed)
    @rule()
    def flares_up(self):
        self.flares_up_again()

    def flares_up_again(self):
        alarms = {alarm.fingerprint: alarm for alarm in self.world.alarms}
        fingerprint = self.world.auditor.accounts[self.world.last_closed].last_alert
        self.lets(lambda: self.world.receive(alarms[fingerprint], firing=True))

    @precondition(lambda self: self.world.states)
    @rule(number=which, times=st.integers(1, 4), partly=seldom)
    def recovers_and_comes_back(self, number, times, partly):
        world, name = self.world, self.live(number)
        for _ in range(times):
            world.outside.verdicts.clear()
            if partly:
                state = world.states[name]
                world.outside.verdicts[world.questions(state)[-1], state.target] = Verdict.UNHEALTHY
            for fingerprint in world.states[name].alerts:
                self.ends(fingerprint)
            self.waits_for(20, lambda name=name: name in world.states)
            if world.last_closed != name:
                return
            self.flares_up_again()
            self.waits_for(3)
            name = next(reversed(world.states), name)
            if name not in world.states:
                return

    @precondition(lambda self: self.world.states)
    @rule(number=which)
    def comes_back_while_it_is_taken_back(self, number):
        world, name = self.world, self.live(number)
        world.acting_slowly = True
        fingerprints = [*world.states[name].alerts]
        for fingerprint in fingerprints:
            self.ends(fingerprint)
        self.waits_for(20, lambda: name not in world.flying(Acting))
        alarm = next(one for one in world.alarms if one.fingerprint == fingerprints[0])
        self.lets(lambda: world.receive(alarm, firing=True))
        world.acting_slowly = False
        while name in world.flying(Acting):
            self.lets(lambda: world.lands(name))

    # --- what is in flight ---

    @precondition(lambda self: self.world.flying(Acting))
    @rule(number=which, end=ENDS)
    def act_ends(self, number, end):
        flying = self.world.flying(Acting)
        self.lets(lambda: self.world.lands(flying[number % len(flying)], end))

    @precondition(lambda self: self.world.flying(Starting, Asking))
    @rule(number=which)
    def probe_answers(self, number):
        flying = self.world.flying(Starting, Asking)
        self.lets(lambda: self.world.lands(flying[number % len(flying)]))

    @rule(ends=st.lists(ENDS, min_size=1, max_size=4))
    def acts_will_end(self, ends):
        self.world.ends = ends
        self.lets(lambda: None)

    @rule(slowly=seldom)
    def acts_take_time(self, slowly):
        self.world.acting_slowly = slowly
        self.lets(lambda: None)

    @rule(long=seldom)
    def probes_linger(self, long):
        self.world.lingering = long
        self.lets(lambda: None)

    @rule(slowly=seldom)
    def decides_one_by_one(self, slowly):
        self.world.hasty = not slowly
        self.lets(lambda: None)

    # --- time ---

    @precondition(lambda self: self.world.next_due())
    @rule(times=st.integers(1, 8))
    def waits(self, times):
        self.waits_for(times)

    @precondition(lambda self: self.world.next_due())
    @rule(times=st.integers(9, 40))
    def waits_long(self, times):
        self.waits_for(times)

    def waits_for(self, times, going_on=lambda: True):
        for _ in range(times):
            due = self.world.next_due()
            if due is None or not going_on():
                return
            span = max(due - self.world.now, timedelta())
            self.lets(lambda span=span: self.world.passes(span))

    @rule(span=SPANS)
    def stalls(self, span):
        self.lets(lambda: self.world.passes(span))

    @rule(effects=yes, away=SPANS, bound=st.sampled_from([Mode.AUTO] * 9 + [*Mode]))
    def crashes(self, effects, away, bound):
        self.lets(lambda: self.world.dies(effects=effects, away=away, bound=bound))

    @rule(commits=st.integers(1, 9))
    def will_crash(self, commits):
        self.world.fuse = commits
        self.lets(lambda: None)

    # --- the outside ---

    @precondition(lambda self: self.world.states)
    @rule(number=which, place=which, verdict=st.sampled_from([Verdict.HEALTHY, *Verdict]))
    def health_changes(self, number, place, verdict):
        state = self.world.states[self.live(number)]
        questions = self.world.questions(state)
        if questions:
            self.world.outside.verdicts[questions[place % len(questions)], state.target] = verdict
        self.lets(lambda: None)

    @precondition(lambda self: self.world.states)
    @rule(number=which, verdict=st.sampled_from([Verdict.UNHEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN]))
    def stays_ill(self, number, verdict):
        state = self.world.states[self.live(number)]
        for question in self.world.questions(state):
            self.world.outside.verdicts[question, state.target] = verdict
        self.waits_for(12)

    @precondition(lambda self: self.world.outside.verdicts)
    @rule()
    def gets_well(self):
        self.world.outside.verdicts.clear()
        self.lets(lambda: None)

    @rule(away=seldom)
    def prometheus_is_away(self, away):
        self.world.outside.blackout = away
        self.lets(lambda: None)

    @precondition(lambda self: self.world.knobs())
    @rule(number=which, home=yes)
    def drifts(self, number, home):
        knobs = self.world.knobs()
        self.lets(lambda: self.world.outside.drift(knobs[number % len(knobs)], home=home))

    @rule(number=which, knob=st.sampled_from(["a", "b", "runs"]))
    def cannot_be_read_or_can(self, number, knob):
        self.world.outside.away ^= {f"{self.target(number)}#{knob}"}
        self.lets(lambda: None)

    # --- people ---

    @precondition(lambda self: self.world.states)
    @rule(number=which, alert=which)
    def silences_or_ends_silence(self, number, alert):
        fingerprints = [*self.world.states[self.live(number)].alerts]
        self.world.doubts.silenced ^= {fingerprints[alert % len(fingerprints)]}
        self.lets(self.world.touch_all)

    @rule()
    def alertmanager_confirms(self):
        self.lets(self.world.believes)

    @precondition(lambda self: self.people.waiting())
    @rule(number=which, drifts=yes, held_up=seldom)
    def approves(self, number, drifts, held_up):
        waiting = self.people.waiting()
        name = waiting[number % len(waiting)]
        target = self.world.states[name].target
        if drifts:
            self.lets(lambda: self.world.drifts_under(name))
        if held_up:
            self.lets(lambda: self.people.brake(BrakeScope.TARGET, target, timedelta(minutes=20)))
        self.lets(lambda: name in self.world.states and self.people.answer(name, yes=True))
        if held_up:
            self.lets(lambda: self.world.passes(timedelta(minutes=21)))

    @precondition(lambda self: self.people.waiting())
    @rule(number=which)
    def denies(self, number):
        waiting = self.people.waiting()
        self.lets(lambda: self.people.answer(waiting[number % len(waiting)], yes=False))

    @precondition(lambda self: self.world.states)
    @rule(number=which, order=st.sampled_from(["acknowledge", "revert", "extend", "close", "keep"]))
    def orders(self, number, order):
        name, people = self.live(number), self.people
        orders = {
            "acknowledge": lambda: people.acknowledge(name),
            "revert": lambda: people.revert(name),
            "extend": lambda: people.extend(name, timedelta(hours=1)),
            "close": lambda: people.close(name, keep=False),
            "keep": lambda: people.close(name, keep=True),
        }
        self.lets(orders[order])

    @rule(scope=st.sampled_from(BrakeScope), number=which, lasts=st.sampled_from([None, 5, 5]))
    def brakes(self, scope, number, lasts):
        rules = self.world.rules
        names = {
            BrakeScope.GLOBAL: "",
            BrakeScope.PACK: "pack",
            BrakeScope.RULE: rules[number % len(rules)][0].id,
            BrakeScope.TARGET: self.target(number),
        }
        span = timedelta(minutes=lasts) if lasts else None
        self.lets(lambda: self.people.brake(scope, names[scope], span))

    @precondition(lambda self: self.world.rows.brakes)
    @rule()
    def releases(self):
        self.lets(self.people.release)

    @rule(number=which, version=st.sampled_from([0, 1, None]))
    def reloads(self, number, version):
        versions = self.world.rules[number % len(self.world.rules)]
        rules = {name: one for name, one in self.world.book.rules.items() if name != versions[0].id}
        if version is not None:
            rules[versions[0].id] = versions[version]
        self.lets(lambda: self.world.use(rules))

    # --- the end ---

    def teardown(self):
        if not self.sound:
            return
        self.people.calm()
        self.world.auditor.check_end()
        SEEN.update(self.world.auditor.seen)
        DONE["worlds"] += 1
        DONE["moves"] += self.world.moves.total()

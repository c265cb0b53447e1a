"""On any timeline: nothing is told twice, no clock rings when nobody should hear it, and what must be heard is."""

from datetime import timedelta

from hypothesis import given, settings, strategies as st
from tests.timelines import Timeline, rule, rung

from stopgap.audience import ALWAYS, DEFAULT
from stopgap.escalation import Docket, calm, docket_of, due, next_ring, note
from stopgap.incident import EventKind as K, Incident, Phase
from stopgap.rule import Escalation
from stopgap.transitions import apply

MINUTE = timedelta(minutes=1)
CONTACTS = st.lists(st.sampled_from(["a", "b", "c", DEFAULT]), min_size=1, max_size=3).map(tuple)
EVEN_IF = st.frozensets(st.sampled_from(["mitigated", "acknowledged"]))
TOLD = [K.OPENED, K.MITIGATED, K.MITIGATION_LOST, K.HANDED_OVER, K.RESOLVED, K.CLOSED, K.NOTIFY_FAILED]
ENTRIES = st.one_of(
    st.builds(Escalation, st.sampled_from(TOLD), CONTACTS),
    st.builds(
        Escalation,
        st.sampled_from([K.OPENED, K.MITIGATION_LOST, K.MITIGATED]),
        CONTACTS,
        after=st.integers(1, 40).map(lambda n: n * MINUTE),
        even_if=EVEN_IF,
    ),
    st.builds(
        Escalation,
        st.just(""),
        CONTACTS,
        every=st.integers(1, 40).map(lambda n: n * MINUTE),
        even_if=EVEN_IF,
    ),
)
LINES = st.sampled_from(
    [
        *(K.MITIGATED, K.MITIGATION_LOST, K.HANDED_OVER, K.ACKNOWLEDGED, K.ALERT_RESOLVED, K.REFIRED),
        *(
            K.RESOLVED,
            K.LEASE_EXPIRED,
            K.DRIFTED,
            K.SHADOW_PLANNED,
            K.PROBE_HEALTHY,
            K.CLOSED,
            K.RUNG_STARTED,
        ),
    ]
)
STEPS = st.lists(
    st.one_of(LINES, st.integers(1, 90), st.sampled_from(["tell", "fail", "tell one"])), max_size=40
)
DETAILS = {
    K.ALERT_RESOLVED: {"fingerprint": "a"},
    K.REFIRED: {"fingerprint": "a"},
    K.CLOSED: {"outcome": "recovered"},
    K.PROBE_HEALTHY: {"probe": "recheck/0"},
    K.RUNG_STARTED: {"rung": 0, "do": 0, "resources": ["r"], "reverts": []},
}


class Play:
    """Plays a timeline line by line; checks after each step what is due."""

    def __init__(self, escalate):
        self.timeline = Timeline(rule(rung(), escalate=tuple(escalate)))
        self.docket, self.state = Docket(), Incident("INC-1")
        self.told = []
        self.timeline.opens()
        self.take()

    @property
    def now(self):
        return self.timeline.now

    def take(self):
        event = self.timeline.events[-1]
        self.state = apply(self.state, event)
        self.docket = note(self.docket, event, self.state, self.timeline.rule)

    def due(self, now=None):
        return due(self.docket, self.state, self.timeline.rule, now or self.now)

    def next_ring(self):
        return next_ring(self.docket, self.state, self.timeline.rule, self.now)

    def say(self, kind, **detail):
        self.timeline.say(kind, **detail)
        self.take()

    def tell(self, kind, most=None):
        for one in self.due()[:most]:
            self.told.append((one, self.state, self.docket))
            self.say(kind, **one.detail)

    def step(self, step):
        if step in ("tell", "fail", "tell one"):
            self.tell(K.NOTIFY_FAILED if step == "fail" else K.NOTIFIED, 1 if step == "tell one" else None)
        elif isinstance(step, int):
            self.timeline.later(minutes=step)
        elif self.state.phase is not Phase.CLOSED:
            self.say(step, **DETAILS.get(step, {}))

    def check(self):
        replayed, state = docket_of(self.timeline.events, "INC-1", self.timeline.rule)
        assert (replayed, state) == (self.docket, self.state), "a restart knows what this process knew"
        at = self.next_ring()
        if at is not None:
            rings = {one for one in self.due(at) if one.clock}
            assert rings, "the clock that is waited for rings"
            just_before = {one for one in self.due(at - timedelta(microseconds=1)) if one.clock}
            assert just_before == {one for one in self.due() if one.clock}, "and none before it"


@given(st.lists(ENTRIES, max_size=5), STEPS)
@settings(max_examples=400, deadline=None)
def test_nobody_is_told_anything_twice_or_by_a_clock_that_should_stand_still(escalate, steps):
    play = Play(escalate)
    for step in (*steps, K.CLOSED, "tell"):
        play.step(step)
        play.check()
    seen = set()
    for one, state, docket in play.told:
        key = (one.contact, one.of, one.clock)
        assert key not in seen
        seen.add(key)
        entry = escalate[one.entry] if one.entry is not None else None
        if one.clock:
            assert state.phase is not Phase.CLOSED
            assert not docket.acknowledged or "acknowledged" in entry.even_if
            assert not calm(state) or "mitigated" in entry.even_if
            assert state.reason != "shadow"
        elif one.when in (K.RESOLVED, K.CLOSED) and one.of != early_end_of(play):
            assert one.contact in docket.heard


def early_end_of(play):
    """Return the number of the first line by which the alerts were over before anything was known to help."""
    state = Incident("INC-1")
    for event in play.timeline.events:
        state = apply(state, event)
        if event.kind is K.RESOLVED and state.held and state.mitigated_at is None:
            return event.seq
    return None


@given(st.lists(ENTRIES, max_size=5), STEPS)
@settings(max_examples=300, deadline=None)
def test_what_nobody_may_miss_is_heard_and_then_nothing_is_left(escalate, steps):
    play = Play(escalate)
    for step in steps:
        play.step(step)
    for _ in range(4):  # a failure is told too
        play.tell(K.NOTIFIED)
    assert play.due() == ()
    told = {(event.detail.get("of")) for event in play.timeline.events if event.kind is K.NOTIFIED}
    given_up = {(event.detail.get("of")) for event in play.timeline.events if event.kind is K.NOTIFY_FAILED}
    for event in play.timeline.events:
        if event.kind in ALWAYS - {K.NOTIFY_FAILED} or event.seq == early_end_of(play):
            assert event.seq in told | given_up

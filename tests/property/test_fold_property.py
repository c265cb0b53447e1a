"""The fold is total: any event in any phase gives a state that can be read, and the same events give the same state."""

from hypothesis import given, settings, strategies as st
from tests.timelines import START

from stopgap.incident import Cause, Event, EventKind as K, Incident, Outcome, Phase, Role, holdings
from stopgap.rule import OnFailure
from stopgap.transitions import apply, fold

small = st.integers(0, 3)
words = st.sampled_from(["", "a", "b", "brake", "cooldown", "verify/0", "recheck/0", "recovered/0", "shadow"])
instants = st.sampled_from(["2026-11-21T09:00:00+00:00", "2026-11-22T09:00:00+00:00"])
labels = st.dictionaries(words, words, max_size=2)
details = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("rung", "step", "n", "looks", "do", "activate", "flaps"), small),
        **dict.fromkeys(("reason", "fingerprint", "probe", "detail", "by", "target", "rule", "name"), words),
        **dict.fromkeys(("until", "retry_at"), instants),
        **dict.fromkeys(("labels", "annotations"), labels),
        **dict.fromkeys(("stuck", "changed", "unclear", "go_on", "once"), st.booleans()),
        "role": st.sampled_from(list(Role)),
        "cause": st.sampled_from(list(Cause)),
        "outcome": st.sampled_from(list(Outcome)),
        "on_resolve": st.sampled_from(list(OnFailure)),
        "verdict": st.sampled_from(["healthy", "unhealthy", "unknown"]),
        "rungs": st.lists(small, max_size=3),
        "reverts": st.lists(st.booleans(), max_size=3),
        "resources": st.lists(words, max_size=2),
        "alerts": st.dictionaries(words, st.fixed_dictionaries({}, optional={"labels": labels}), max_size=2),
    },
)
events = st.builds(Event, st.sampled_from(list(K)), st.just(START), details, st.integers(0, 99))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(Phase)), st.lists(events, max_size=30))
def test_any_event_in_any_phase_gives_a_state_that_can_be_read(phase, anything):
    state = Incident("INC-1", phase=phase)
    for event in anything:
        before, state = state, apply(state, event)
        assert state.phase is Phase.CLOSED or before.phase is not Phase.CLOSED
        assert holdings(state) >= frozenset()
        assert isinstance(state.held, tuple)
        assert isinstance(state.labels, dict)
    assert fold("INC-1", anything) == fold("INC-1", anything)

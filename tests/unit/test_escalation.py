"""Escalation: what is due on a timeline and when the next clock rings, as tables."""

from datetime import timedelta

import pytest
from tests.timelines import START, Timeline, rule, rung

from stopgap.audience import DEFAULT, audience
from stopgap.escalation import Docket, Due, calm, docket_of, due, next_ring, settled
from stopgap.incident import Event, EventKind as K, Incident
from stopgap.rule import Escalation

MINUTE = timedelta(minutes=1)
MITIGATED, ACKNOWLEDGED = frozenset({"mitigated"}), frozenset({"acknowledged"})
LEAD = Escalation(K.OPENED, ("lead",), after=15 * MINUTE)


class Told(Timeline):
    """A timeline of which people are told."""

    def __init__(self, *escalate, **more):
        super().__init__(rule(rung(), escalate=escalate, **more))

    @property
    def due(self):
        docket, state = docket_of(self.events, "INC-1", self.rule)
        return due(docket, state, self.rule, self.now)

    @property
    def names(self):
        """Return who is due to hear what, in short."""
        return [(one.contact, one.clock or str(one.when)) for one in self.due]

    @property
    def rings_in(self):
        docket, state = docket_of(self.events, "INC-1", self.rule)
        at = next_ring(docket, state, self.rule, self.now)
        return None if at is None else (at - self.now) / MINUTE

    def tell(self, kind=K.NOTIFIED):
        """Deliver all that is due."""
        for one in self.due:
            self.say(kind, **one.detail)
        return self

    def mitigates(self):
        return self.begins().done().say(K.MITIGATED, rung=0)


# --- events ---


def test_an_event_is_due_until_each_contact_was_told_or_given_up():
    told = Told(Escalation(K.OPENED, ("a", "b"))).opens()
    assert told.due == (Due("a", "opened", of=1, entry=0), Due("b", "opened", of=1, entry=0))
    told.say(K.NOTIFIED, contact="a", when="opened", of=1)
    assert told.names == [("b", "opened")]
    told.say(K.NOTIFY_FAILED, contact="b", when="opened", of=1)
    assert told.names == [(DEFAULT, "notify_failed")]
    told.tell()
    assert told.names == []


def test_of_two_entries_for_one_event_each_contact_hears_the_first():
    told = Told(Escalation(K.OPENED, ("a",), message="x"), Escalation(K.OPENED, ("a", "b"))).opens()
    assert [(one.contact, one.entry) for one in told.due] == [("a", 0), ("b", 1)]


def test_a_hand_over_is_always_told_and_the_rules_own_contacts_take_the_place_of_the_default():
    assert Told().opens().say(K.HANDED_OVER).names == [(DEFAULT, "handed_over")]
    named = Told(Escalation(K.HANDED_OVER, ("oncall",))).opens().say(K.HANDED_OVER)
    assert named.names == [("oncall", "handed_over")]
    late = Told(Escalation(K.HANDED_OVER, ("lead",), after=MINUTE)).opens().say(K.HANDED_OVER)
    assert late.names == [(DEFAULT, "handed_over")], "who hears later hears not at once"


def test_who_could_not_be_told_is_told_to_the_default_and_never_to_himself():
    told = Told(Escalation(K.OPENED, (DEFAULT,))).opens().tell(K.NOTIFY_FAILED)
    assert told.names == []
    told = Told(Escalation(K.NOTIFY_FAILED, ("a", "b")), Escalation(K.OPENED, ("a",))).opens()
    told.tell(K.NOTIFY_FAILED)
    assert told.names == [("b", "notify_failed")]
    assert told.tell(K.NOTIFY_FAILED).names == []


@pytest.mark.parametrize(
    ("heard", "names"),
    [(K.NOTIFIED, [("a", "closed")]), (K.NOTIFY_FAILED, [(DEFAULT, "notify_failed")]), (None, [])],
)
def test_only_those_hear_of_the_end_who_heard_before(heard, names):
    told = Told(Escalation(K.MITIGATED, ("a",)), Escalation(K.CLOSED, ("a",))).opens()
    if heard is not None:
        told.mitigates().tell(heard)
    told.over().say(K.CLOSED, outcome="recovered")
    assert told.names == names


def test_whose_first_message_is_still_under_way_hears_of_the_end_after_it():
    told = Told(Escalation(K.OPENED, ("a",)), Escalation(K.RESOLVED, ("a",)), Escalation(K.CLOSED, ("a",)))
    told.opens().over().say(K.RESOLVED).say(K.CLOSED, outcome="self_resolved")
    assert told.names == [("a", "opened")]
    told.say(K.NOTIFIED, contact="a", when="opened", of=1)
    assert told.names == [("a", "resolved"), ("a", "closed")]


def test_a_resolution_that_nobody_waited_for_is_not_told_later():
    told = Told(Escalation(K.RESOLVED, ("a",)), Escalation(K.MITIGATION_LOST, ("a",))).opens().mitigates()
    told.over().say(K.RESOLVED).fires().say(K.MITIGATION_LOST).tell()
    assert told.names == []


def test_who_would_have_heard_that_it_is_mitigated_hears_that_it_ends_before_anybody_knows():
    told = Told(
        Escalation(K.MITIGATED, ("a", "b")),
        Escalation(K.MITIGATED, ("customers",), message="degraded"),
        Escalation(K.RESOLVED, ("c", "a")),
        Escalation(K.CLOSED, ("a",)),
    )
    told.opens().verifying().over().does()
    of = told.state.seq
    assert told.due == (
        Due("c", "resolved", of=of, entry=2),
        Due("a", "resolved", of=of, entry=2),
        Due("b", "resolved", of=of, entry=0),
        Due("customers", "resolved", of=of, entry=1),
    ), "who hears it in the place of `mitigated` reads what was written for that"
    told.tell().say(K.CLOSED, outcome="recovered")
    assert told.names == [("a", "closed")]


@pytest.mark.parametrize("escalate", [(), (Escalation(K.MITIGATED, ("a",), after=MINUTE),)])
def test_an_early_end_that_no_rule_tells_reaches_the_default(escalate):
    told = Told(*escalate).opens().verifying().over().does()
    assert told.names == [(DEFAULT, "resolved")]


def test_an_early_end_is_told_once_however_often_it_fires_again():
    told = Told(Escalation(K.MITIGATED, ("a",)), Escalation(K.RESOLVED, ("b", "c"))).opens().verifying()
    told.over().does().say(K.NOTIFIED, contact="b", when="resolved", of=told.state.seq)
    told.say(K.NOTIFY_FAILED, contact="c", when="resolved", of=told.state.seq - 1).tell()
    told.fires().over().does()
    assert told.names == [("b", "resolved")], "from then on as ever: who is told of `resolved`, and has heard"


@pytest.mark.parametrize("known", ["mitigated", "nothing held", "taken back", "shadow"])
def test_an_end_of_what_is_known_or_of_nothing_is_none_too_early(known):
    told = Told(Escalation(K.MITIGATED, ("b",)), Escalation(K.RESOLVED, ("b",)))
    told.opens(**({"mode": "shadow"} if known == "shadow" else {}))
    match known:
        case "mitigated":
            told.mitigates().tell(K.NOTIFY_FAILED).tell()
        case "nothing held":
            told.verifying(resources=[])
        case "taken back":
            told.verifying().person_reverts().undoes().undone().say(K.REVERTED, rungs=[0])
        case _:
            told.verifying()
    assert told.over().say(K.RESOLVED).names == []


def test_nobody_is_asked_for_what_is_decided():
    told = Told().opens().say(K.APPROVAL_REQUESTED, rung=0, until=START.isoformat())
    assert told.names == [(DEFAULT, "approval_requested")]
    asked = told.state.seq
    assert told.say(K.APPROVED, request=asked, by="ann").names == []
    told.say(K.APPROVAL_REQUESTED, rung=0, until=START.isoformat())
    assert [one.of for one in told.due] == [told.state.seq]
    assert told.say(K.CLOSED, outcome="self_resolved").names == []


ASKS = Escalation(K.APPROVAL_REQUESTED, ("oncall", "dba"))
LATER = (START + 15 * MINUTE).isoformat()


@pytest.mark.parametrize(("escalate", "asked"), [((ASKS,), ["oncall", "dba"]), ((), [DEFAULT])])
@pytest.mark.parametrize("said", [None, K.APPROVED])
def test_who_was_asked_hears_that_it_is_over_without_an_answer_or_without_what_was_approved(
    escalate, asked, said
):
    told = Told(*escalate).opens().say(K.APPROVAL_REQUESTED, rung=0, until=LATER).tell()
    if said is not None:
        told.say(said, by="ann")
    told.over().does()
    assert told.names == [(name, "closed") for name in asked]
    assert {one.entry for one in told.due} == {None}


def test_who_was_asked_and_hears_of_the_end_anyway_hears_it_once():
    told = Told(ASKS, Escalation(K.CLOSED, ("dba",))).opens()
    told.say(K.APPROVAL_REQUESTED, rung=0, until=LATER).tell().over().does()
    assert [(one.contact, one.entry) for one in told.due] == [("dba", 1), ("oncall", None)]


def test_who_was_asked_for_a_second_rung_hears_it_too_when_the_first_has_gone_back():
    told = Told(ASKS).opens().verifying().say(K.RUNG_HELD, rung=0, go_on=True)
    told.say(K.APPROVAL_REQUESTED, rung=1, until=LATER).tell().over().say(K.RESOLVED)
    told.tell().say(K.CLOSED, outcome="recovered")
    assert told.names == [("oncall", "closed"), ("dba", "closed")]


def test_who_never_got_the_request_hears_nothing_of_its_end():
    told = Told(ASKS).opens().say(K.APPROVAL_REQUESTED, rung=0, until=LATER)
    told.say(K.NOTIFIED, contact="dba", when="approval_requested", of=told.state.seq).over().does()
    assert told.names == [("dba", "closed")]


@pytest.mark.parametrize(
    "settled_by", [K.RUNG_STARTED, K.RUNG_SKIPPED, K.APPROVAL_DENIED, K.APPROVAL_EXPIRED, K.RETRIED]
)
def test_who_was_asked_for_what_is_settled_hears_no_more_of_it(settled_by):
    told = Told(ASKS).opens().say(K.APPROVAL_REQUESTED, rung=0, until=LATER).tell()
    assert told.say(settled_by, rung=0).say(K.CLOSED, outcome="recovered").names == []


# --- clocks ---


def test_after_rings_once_when_its_time_has_come():
    told = Told(LEAD).opens()
    assert (told.names, told.rings_in) == ([], 15)
    told.later(minutes=14)
    assert (told.names, told.rings_in) == ([], 1)
    told.later(minutes=1)
    assert (told.names, told.rings_in) == ([("lead", "after/0")], None)
    assert told.due == (Due("lead", "after", clock="after/0", entry=0),)
    told.tell().later(hours=5)
    assert (told.names, told.rings_in) == ([], None)


def test_a_ring_that_was_given_up_is_not_tried_for_ever():
    told = Told(LEAD).opens().later(minutes=15).tell(K.NOTIFY_FAILED)
    assert told.names == [(DEFAULT, "notify_failed")]


def test_every_rings_again_and_again_and_what_was_missed_is_told_once():
    told = Told(Escalation("", ("a", "b"), every=30 * MINUTE)).opens()
    assert (told.names, told.rings_in) == ([], 30)
    told.later(minutes=30)
    assert (told.names, told.rings_in) == ([("a", "every/0/1"), ("b", "every/0/1")], 30)
    told.say(K.NOTIFIED, contact="a", when="every", clock="every/0/1")
    assert told.names == [("b", "every/0/1")]
    told.later(minutes=100)
    assert (told.names, told.rings_in) == ([("a", "every/0/4"), ("b", "every/0/4")], 20)
    told.tell()
    assert told.names == []


@pytest.mark.parametrize("even_if", [frozenset(), MITIGATED])
def test_an_acknowledgement_stops_the_clocks_for_good(even_if):
    told = Told(Escalation(K.OPENED, ("lead",), after=15 * MINUTE, even_if=even_if)).opens()
    told.later(minutes=14).say(K.ACKNOWLEDGED, by="ann").later(hours=5)
    assert (told.names, told.rings_in) == ([], None)
    told.say(K.HANDED_OVER).later(hours=5)
    assert told.names == [(DEFAULT, "handed_over")]


def test_an_acknowledgement_without_a_name_is_one_too():
    told = Told(LEAD).opens().say(K.ACKNOWLEDGED).later(hours=5)
    assert told.names == []


def test_even_if_acknowledged_rings_on():
    told = Told(Escalation(K.OPENED, ("lead",), after=15 * MINUTE, even_if=ACKNOWLEDGED)).opens()
    told.say(K.ACKNOWLEDGED, by="ann").later(minutes=15)
    assert told.names == [("lead", "after/0")]
    assert Told(*told.rule.escalate).opens().mitigates().later(hours=1).names == []


def test_a_mitigation_in_time_holds_the_message_back_and_its_loss_releases_it_from_where_the_clock_was():
    told = Told(LEAD).opens().later(minutes=10).mitigates().later(hours=2)
    assert (told.names, told.rings_in) == ([], None)
    told.say(K.MITIGATION_LOST, rung=0).later(minutes=4)
    assert told.rings_in == 1
    told.later(minutes=1)
    assert ("lead", "after/0") in told.names


def test_a_mitigation_that_is_found_again_stops_the_clock_again():
    told = Told(LEAD).opens().mitigates().say(K.MITIGATION_LOST, rung=0).later(minutes=10)
    told.answers("recheck/0").later(hours=1)
    assert (told.rings_in, ("lead", "after/0") in told.names) == (None, False)


def test_even_if_mitigated_rings_until_the_incident_is_closed():
    told = Told(Escalation("", ("customers",), every=30 * MINUTE, even_if=MITIGATED)).opens().mitigates()
    told.later(minutes=30)
    assert told.names == [("customers", "every/0/1")]
    told.tell().over().say(K.RESOLVED).later(minutes=30)
    assert told.names == [("customers", "every/0/2")]
    told.tell().say(K.CLOSED, outcome="recovered").later(hours=5)
    assert (told.names, told.rings_in) == ([], None)


def test_a_ring_that_nobody_sent_in_time_is_not_sent_once_it_is_not_wanted_any_more():
    told = Told(LEAD).opens().later(minutes=20).mitigates()
    assert told.names == []
    assert ("lead", "after/0") in told.say(K.MITIGATION_LOST, rung=0).names


def test_after_an_event_counts_from_that_event_and_anew_from_each():
    told = Told(Escalation(K.MITIGATION_LOST, ("lead",), after=5 * MINUTE)).opens().later(hours=1)
    assert told.rings_in is None
    told.mitigates()
    lost = told.say(K.MITIGATION_LOST, rung=0).state.seq
    assert told.tell().rings_in == 5
    told.later(minutes=5)
    assert told.names == [("lead", f"after/0/{lost}")]
    told.tell()
    assert told.names == []
    told.answers("recheck/0").later(hours=1)
    again = told.say(K.MITIGATION_LOST, rung=0).state.seq
    told.tell().later(minutes=5)
    assert told.names == [("lead", f"after/0/{again}")]


def test_a_hand_over_rings():
    told = Told(LEAD).opens().say(K.HANDED_OVER).tell().later(minutes=15)
    assert told.names == [("lead", "after/0")]


def test_the_end_of_all_alerts_stops_the_clocks_unless_something_is_stuck():
    told = Told(LEAD).opens().begins().done().over().later(hours=1)
    assert (told.names, told.rings_in) == ([], None)
    told.say(K.HANDED_OVER, stuck=True).tell().later(minutes=15)
    assert told.names == [("lead", "after/0")]


@pytest.mark.parametrize("how", ["mode", "planned"])
def test_in_shadow_no_clock_rings_because_nothing_could_fail_in_time(how):
    told = Told(LEAD).opens(**({"mode": "shadow"} if how == "mode" else {}))
    if how == "planned":
        told.say(K.SHADOW_PLANNED)
    assert (told.later(hours=1).names, told.rings_in) == ([], None)


def test_clocks_of_different_kinds_keep_their_own_time():
    told = Told(LEAD, Escalation(K.OPENED, ("capacity",), after=60 * MINUTE, even_if=MITIGATED)).opens()
    told.later(minutes=10).mitigates().later(minutes=50)
    assert told.names == [("capacity", "after/1")]
    told.tell().say(K.MITIGATION_LOST, rung=0).tell()
    assert told.rings_in == 5


def test_a_clock_of_the_machine_that_goes_back_does_no_harm():
    told = Told(LEAD).opens().later(minutes=-10)
    assert (told.names, told.rings_in) == ([], 15)


def test_calm_is_mitigated_and_holding_or_over():
    told = Told().opens()
    assert not calm(told.state)
    assert calm(told.mitigates().state)
    assert not calm(told.say(K.MITIGATION_LOST, rung=0).state)
    assert calm(told.over().state)


@pytest.mark.parametrize("clock", ["after", "after/", "after/x", "every/1/x", "never/1/2", "every/1/2/3", ""])
def test_a_line_that_names_no_clock_settles_none(clock):
    event = Event(K.NOTIFIED, START, {"contact": "a", "clock": clock})
    assert settled(Docket(), event) == Docket(heard=frozenset({"a"}))


def test_an_empty_timeline_leaves_nothing_to_tell():
    assert docket_of((), "INC-1", rule(escalate=(LEAD,))) == (Docket(), Incident("INC-1"))
    assert due(Docket(), Incident("INC-1"), rule(escalate=(LEAD,)), START) == ()
    assert next_ring(Docket(), Incident("INC-1"), rule(escalate=(LEAD,)), START) is None


def test_a_timeline_without_its_beginning_starts_no_clock():
    told = Told(LEAD, Escalation("", ("a",), every=MINUTE)).fires().later(hours=1)
    assert (told.names, told.rings_in) == ([], None)


# --- in words ---


def test_the_audience_of_a_rule_names_its_clocks():
    told = Told(
        LEAD,
        Escalation(K.MITIGATED, ("a",)),
        Escalation("", ("b",), every=30 * MINUTE, even_if=MITIGATED),
        Escalation("", ("c", "b"), every=30 * MINUTE, even_if=MITIGATED),
        Escalation(K.MITIGATION_LOST, ("d",), after=5 * MINUTE, even_if=MITIGATED | ACKNOWLEDGED),
    )
    heard = audience(told.rule)
    assert heard["mitigated"] == ("a",)
    assert heard["handed_over"] == (DEFAULT,)
    assert heard["after 15m"] == ("lead",)
    assert heard["every 30m even if mitigated"] == ("b", "c")
    assert heard["5m after mitigation_lost even if acknowledged or mitigated"] == ("d",)
    assert "opened" not in heard

"""Messages: what people read in each case."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.timelines import START, Timeline, rule, rung

from stopgap.alert import DRILL
from stopgap.escalation import Due
from stopgap.incident import Event, EventKind as K
from stopgap.messages import LONGEST_BODY, LONGEST_TITLE, WORDINGS, Occasion, compose
from stopgap.rule import Escalation
from stopgap.wording import FIELDS, Phrase, Wording

EVERY = Escalation("", ("customers",), every=timedelta(minutes=30), even_if=frozenset({"mitigated"}))
RULE = replace(rule(), summary="Serve from mock data", runbook_url="https://runbook", escalate=(EVERY,))
ALERT = {
    "labels": {"alertname": "PmsDown", "team": "hotel\nevil: yes"},
    "annotations": {"impact": "no bookings"},
}


def opened(of=RULE, **detail):
    return Timeline(of).say(
        K.OPENED,
        **{"rule": "pack/rule", "target": "app", "severity": "P1", "alerts": {"a": ALERT}, **detail},
    )


def about(timeline, *, of=None, entry=None, clock="", heard=False, **changes):
    """Return the message about the last line, or about a clock."""
    event = None if clock else timeline.events[-1]
    when = clock.partition("/")[0] if clock else event.kind
    due = Due("customers", when, of=event.seq if event else 0, clock=clock, entry=entry)
    given = replace(RULE, **changes)
    return compose(Occasion(given, timeline.state, due, timeline.now, event, heard))


def test_the_first_message_declares_the_incident():
    timeline = opened().later(minutes=2).say(K.HANDED_OVER, reason="ladder_exhausted", text="no rung helped")
    assert about(timeline) == (
        "[P1] pack/rule on app: handed over",
        (
            "Serve from mock data\nno rung helped\nladder_exhausted\nnothing is in place\n"
            "take it over: stopgap ack INC-1\n"
            'let it try again: stopgap retry INC-1 --why "…"\n'
            "phase open, incident INC-1\nalerts: PmsDown\nrunbook: https://runbook"
        ),
    )


def test_later_ones_are_updates_that_begin_with_what_is_new():
    timeline = opened().later(minutes=2).say(K.MITIGATION_LOST, why="unhealthy 3 times")
    timeline.say(K.ACKNOWLEDGED, by="ann").say(K.LEASE_ENDING)
    assert about(timeline, heard=True) == (
        "[P1] pack/rule on app: lease ending",
        (
            "Serve from mock data\nopen for 2m, phase open, incident INC-1\nacknowledged by ann\n"
            "alerts: PmsDown\nrunbook: https://runbook"
        ),
    )


def test_the_last_one_says_how_it_ended_and_when():
    timeline = opened().later(minutes=2).begins().done().say(K.MITIGATED, rung=0)
    timeline.over().later(minutes=40).say(K.CLOSED, outcome="recovered")
    told = Escalation(K.CLOSED, ("customers",))
    assert about(timeline, heard=True, entry=0, escalate=(told,)) == (
        "[P1] pack/rule on app: closed",
        (
            "Serve from mock data\noutcome: recovered\nopened: 2026-11-21 09:00 UTC\n"
            "mitigated: 2026-11-21 09:02 UTC\nclosed: 2026-11-21 09:42 UTC\nincident INC-1, after 42m"
        ),
    )
    assert WORDINGS["resolution"].body.lines[0] == WORDINGS["declaration"].body.lines[0]


def test_a_rung_of_which_nobody_knows_whether_it_helped_says_so():
    title, body = about(opened().begins().done().say(K.RUNG_HELD, rung=0, verdict="unknown"))
    assert title == "[P1] pack/rule on app: nobody knows whether it helped"
    assert body.splitlines()[1] == "its probes have no answer; what was done stays, and they are asked again"
    for otherwise in ({"verdict": "healthy"}, {"verdict": "unknown", "go_on": True}):
        title, body = about(opened().begins().done().say(K.RUNG_HELD, rung=0, **otherwise))
        assert title.endswith(": rung held")
        assert "no answer" not in body


def test_who_hears_that_it_ends_early_is_told_that_what_was_changed_stays_and_of_no_end():
    timeline = opened().verifying().over().does()
    title, body = about(timeline)
    assert title == "[P1] pack/rule on app: alerts over before anybody knows whether it helped"
    stays = "what was changed stays in place until the cause is proven gone, or a person takes it back"
    assert body.splitlines()[:2] == ["Serve from mock data", stays]
    assert "phase recovering, incident INC-1" in body
    assert about(timeline, heard=True)[1].splitlines()[0] == stays, "an update, and no resolution"


def test_what_the_rule_keeps_is_not_said_to_go_back():
    timeline = opened().verifying(on_resolve="keep").over().does()
    assert "what was changed stays in place: the rule keeps it" in about(timeline)[1]


def test_an_end_of_what_is_known_is_a_resolution():
    title, body = about(opened().mitigated().over().does(), heard=True)
    assert title == "[P1] pack/rule on app: resolved"
    assert "stays" not in body


STEPS = ["flag: set PMS_TYPE=mock in env:/etc/app.env", "restart: systemd:app"]
PLANNED = {"name": "mock mode", "steps": STEPS}
BACK = 'lease until 2026-11-21 13:00 UTC, take it back: stopgap revert INC-1 --why "…"'
IN_PLACE = ["applied: mock mode", f"- {STEPS[0]}", f"- {STEPS[1]}", BACK]


def ladder(*rungs):
    return replace(RULE, ladder=rungs)


def two_steps():
    """Return a timeline whose rung sets a flag and restarts, on its way to be verified."""
    return opened(of=ladder(rung(activate=1), rung())).verifying(**PLANNED)


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize(
    "what",
    [
        lambda held: held.asked().does(),
        lambda held: held.over().does(),
        lambda held: held.asked().does().say(K.MITIGATION_LOST, rung=0, why="unhealthy"),
        lambda held: held.asked().does().say(K.LEASE_ENDING),
        lambda held: held.asked().does().say(K.LEASE_EXPIRED),
        lambda held: held.say(K.HANDED_OVER, reason="verdict_unknown"),
        lambda held: held.say(K.RUNG_HELD, rung=0, verdict="unknown"),
    ],
    ids=["mitigated", "early", "lost", "ending", "expired", "handed over", "undecided"],
)
def test_whatever_is_held_is_named_step_by_step_with_its_end_and_the_way_back(what, heard):
    body = about(what(two_steps()), heard=heard)[1].splitlines()
    at = body.index("applied: mock mode")
    assert body[at : at + 4] == IN_PLACE
    assert len(body) <= 12


def test_what_goes_back_or_is_back_is_not_said_to_be_in_place():
    timeline = two_steps().asked().does().recovering().reverting()
    for kind, detail in ((K.DRIFTED, {"role": "revert", "step": 0}), (K.REVERTED, {"rungs": [0]})):
        body = about(timeline.say(kind, rung=0, **detail))[1]
        assert "applied" not in body
        assert "lease until" not in body


def test_what_could_not_be_taken_back_is_in_place_and_can_be_tried_again():
    timeline = two_steps().asked().does().recovering().reverting().undoes()
    timeline.step(K.REVERT_FAILED, role="revert").say(K.HANDED_OVER, reason="revert_failed", stuck=True)
    body = about(timeline)[1].splitlines()
    assert [line for line in body if line in IN_PLACE] == IN_PLACE
    assert "take it over: stopgap ack INC-1" in body
    assert not [line for line in body if "stopgap retry" in line], "it cannot be"


def test_a_mitigation_that_nothing_proved_says_so():
    assert "not verified: the rung asks no probe" in about(opened(of=ladder(rung(verify=()))).mitigated())[1]
    assert "not verified" not in about(opened().mitigated())[1]


def test_who_takes_over_a_rule_that_does_nothing_is_offered_no_retry():
    body = about(opened(of=ladder()).does(), ladder=())[1]
    assert "stopgap ack INC-1" in body
    assert "stopgap retry" not in body
    assert "in place" not in body


def test_a_long_way_back_by_hand_is_cut_and_says_where_all_of_it_stands():
    body = about(opened().say(K.HANDED_OVER, undo=[f"set {n}" for n in range(7)]))[1].splitlines()
    said = [line for line in body if line.startswith("undo by hand")]
    assert said == [f"undo by hand: set {n}" for n in range(4)]
    assert body[body.index(said[-1]) + 1] == "and 3 more: stopgap report INC-1"


def test_a_request_for_approval_says_only_what_would_be_done():
    timeline = two_steps().say(K.RUNG_HELD, rung=0, go_on=True)
    timeline.say(K.APPROVAL_REQUESTED, rung=1, name="x", until=START.isoformat())
    assert "applied" not in about(timeline)[1]


def test_who_was_asked_reads_that_nobody_needs_to_answer_any_more():
    asked = opened().say(K.APPROVAL_REQUESTED, rung=0, until=(START + timedelta(minutes=15)).isoformat())
    told = Escalation(K.CLOSED, ("customers",))
    body = about(asked.over().does(), heard=True, entry=0, escalate=(told,))[1]
    assert body.splitlines()[1:3] == ["nobody needs to answer any more", "outcome: self resolved"]


def test_who_was_asked_of_what_ended_on_the_way_reads_it_too_and_nobody_else():
    over = opened().mitigated().over().does().say(K.CLOSED, outcome="recovered")
    assert "nobody needs to answer any more" in about(over, heard=True)[1]
    told = Escalation(K.CLOSED, ("customers",))
    assert "answer" not in about(over, heard=True, entry=0, escalate=(told,))[1]


def test_who_approved_reads_that_it_was_not_done():
    asked = opened().say(K.APPROVAL_REQUESTED, rung=0, until=(START + timedelta(minutes=15)).isoformat())
    body = about(asked.say(K.APPROVED, by="ann").over().does(), heard=True)[1]
    assert "what was approved was not done: it is over without that" in body
    assert "needs to answer" not in body


def test_a_wording_of_ones_own_can_say_what_is_in_place():
    text = "{{ rung }} until {{ lease_end }}\n{{ applied }}\n{{ revert }}"
    own = {"declaration": Wording(Phrase.parse(""), Phrase.parse(text))}
    body = about(two_steps().asked().does(), messages=own)[1]
    assert body.splitlines() == [
        "mock mode until 2026-11-21 13:00 UTC",
        *IN_PLACE[:3],
        'stopgap revert INC-1 --why "…"',
    ]
    assert about(opened(), messages=own)[1] == ""


def test_a_clock_says_how_long_it_lasts_and_when_it_rings_next():
    timeline = opened().say(K.REFUSED, reason="budget_rule", text="3 of 3 used").later(minutes=30)
    assert about(timeline, clock="every/0/1", entry=0) == (
        "[P1] pack/rule on app: not mitigated after 30m",
        (
            "waits: budget rule\nServe from mock data\nopen for 30m, phase waiting, incident INC-1\n"
            "next update: 2026-11-21 10:00 UTC\nalerts: PmsDown\nrunbook: https://runbook"
        ),
    )
    timeline.begins().done().say(K.MITIGATED, rung=0).later(minutes=30)
    assert about(timeline, clock="every/0/2", entry=0)[0].endswith(": mitigated, open for 1h")
    timeline.over()
    assert about(timeline, clock="every/0/2", entry=0)[0].endswith(": alerts over, open for 1h")


def test_a_clock_that_rings_once_promises_no_next_time_and_names_the_reason_of_a_hand_over():
    lead = Escalation(K.OPENED, ("lead",), after=timedelta(minutes=15))
    timeline = opened().say(K.HANDED_OVER, reason="approval_denied").later(minutes=15)
    _, body = about(timeline, clock="after/0", entry=0, escalate=(lead,))
    assert body.splitlines()[0] == "approval denied"
    assert "next update" not in body


def test_who_could_not_be_told_is_named():
    timeline = opened().say(K.NOTIFY_FAILED, contact="lead", when="handed_over", why="no answer")
    title, body = about(timeline)
    assert title == "[P1] pack/rule on app: lead could not be told (handed over)"
    assert body.splitlines()[1] == "no answer"
    timeline.say(K.NOTIFY_FAILED, contact="lead", when="every", clock="every/0/3", why="no answer")
    assert about(timeline)[0].endswith("lead could not be told (every 30m even if mitigated)")
    timeline.say(K.NOTIFY_FAILED, contact="lead", when="every", clock="every/7/3", why="no answer")
    assert about(timeline)[0].endswith("lead could not be told (every)")


@pytest.mark.parametrize(
    ("detail", "word"),
    [
        ({"mode": "shadow"}, "[SHADOW]"),
        ({"alerts": {"a": {"labels": {DRILL: "q3"}}}}, "[DRILL q3]"),
        ({"mode": "shadow", "alerts": {"a": {"labels": {DRILL: "q3"}}}}, "[DRILL q3] [SHADOW]"),
    ],
)
def test_what_is_no_real_incident_says_so_in_its_first_word_whatever_the_wording(detail, word):
    timeline = opened(**detail)
    assert about(timeline)[0] == f"{word} [P1] pack/rule on app: opened"
    own = {"declaration": Wording(Phrase.parse("Bookings are down"), Phrase.parse("x"))}
    assert about(timeline, messages=own)[0] == f"{word} Bookings are down"


def test_a_drill_in_which_one_alert_is_real_is_none():
    alerts = {"a": {"labels": {DRILL: "q3"}}, "b": {"labels": {"alertname": "Real"}}}
    assert about(opened(alerts=alerts))[0].startswith("[P1]")


def test_severities_have_the_names_that_people_here_use():
    assert about(opened(severity="P0"), severity_names={"P0": "SEV-1"})[0].startswith("[SEV-1] ")
    assert about(opened(severity="P3"), severity_names={"P0": "SEV-1"})[0].startswith("[P3] ")


def test_a_rule_may_name_a_message_and_a_pack_may_replace_the_usual_ones():
    ours = {
        name: Wording(Phrase.parse(""), Phrase.parse(f"ours: {name}")) for name in ("down", "declaration")
    }
    entry = Escalation(K.OPENED, ("customers",), message="down")
    assert about(opened(), entry=0, escalate=(entry,), messages=ours)[1] == "ours: down"
    assert about(opened(), messages=ours)[1] == "ours: declaration"
    assert about(opened(), heard=True, messages=ours)[1].startswith("Serve")
    entry = replace(entry, message="update")
    assert about(opened(), entry=0, escalate=(entry,))[1] == about(opened(), heard=True)[1]
    entry = replace(entry, message="lost by a mistake")
    assert about(opened(), entry=0, escalate=(entry,))[1] == about(opened())[1]


def test_a_message_without_a_subject_has_the_usual_one():
    own = {"declaration": Wording(Phrase.parse(""), Phrase.parse("x"))}
    assert about(opened(), messages=own) == ("[P1] pack/rule on app: opened", "x")


def test_every_field_has_a_value_when_there_is_one():
    lines = "\n".join(f"{field}={{{{ {field} }}}}" for field in FIELDS)
    own = {name: Wording(Phrase.parse(""), Phrase.parse(lines)) for name in WORDINGS}
    timeline = opened().say(K.REFUSED, reason="brake", text="x").begins().done().say(K.MITIGATED, rung=0)
    timeline.say(K.REFUSED, reason="brake").say(K.ACKNOWLEDGED, by="ann").over()
    timeline.say(K.CLOSED, outcome="recovered", why="it is back")
    _, told = about(timeline, messages=own)
    _, rang = about(timeline, clock="every/0/1", entry=0, messages=own)
    _, held = about(opened().mitigated(), messages=own)
    said = [line.partition("=") for body in (told, rang, held) for line in body.splitlines()]
    assert {name for name, _, value in said if value} == set(FIELDS)


def test_values_of_alerts_can_be_used_and_forge_no_line():
    text = "team: {{ labels.team }}\nimpact: {{ annotations.impact }}\nnone: {{ labels.none | default('-') }}{{ labels.no }}"
    own = {"declaration": Wording(Phrase.parse("{{ labels.team }}"), Phrase.parse(text))}
    assert about(opened(), messages=own) == (
        "hotel evil: yes",
        "team: hotel evil: yes\nimpact: no bookings\nnone: -",
    )


def test_everything_is_bounded():
    timeline = opened(target="t" * 5000).say(K.REVERT_FAILED, undo=["u" * 5000] * 100, detail="d" * 5000)
    title, body = about(timeline)
    assert len(title) <= LONGEST_TITLE
    assert len(body) <= LONGEST_BODY
    assert body.count("undo by hand: ") > 2
    own = {"declaration": Wording(Phrase.parse("s" * 5000), Phrase.parse("b" * 9000))}
    title, body = about(timeline, messages=own)
    assert (len(title), len(body)) == (LONGEST_TITLE, LONGEST_BODY)


def test_an_incident_of_which_little_is_known_has_a_message_all_the_same():
    bare = Timeline(RULE).say(K.DRIFTED)
    assert about(bare)[0] == "[P2] pack/rule on no target: drifted"


def test_a_storm_with_strange_counts_is_told():
    event = Event(K.STORM_BEGAN, START, {"targets": 12, "rules": "many"}, 1)
    due = Due("default", "storm_began", of=1)
    title, _ = compose(Occasion(RULE, Timeline(RULE).state, due, START, event))
    assert title == "storm: 12 targets, new mitigations wait"

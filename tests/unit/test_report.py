"""What a report tells of an incident, part by part."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.timelines import (
    BRAKE,
    START,
    Timeline,
    handed_over_undecided,
    incident,
    keeps,
    rule,
    rung,
    step,
    undecided,
)

from stopgap.incident import Cause, EventKind as K, Phase
from stopgap.report import Story, report
from stopgap.report.lines import FIRST, LAST
from stopgap.rule import Escalation

LATER = timedelta(minutes=30)


def told(timeline, **changes):
    """Return the report of a timeline, half an hour after its last line."""
    given = {"rule": timeline.rule, "now": timeline.now + LATER, **changes}
    return report(Story(timeline.state, tuple(timeline.events), **given))


def part(text, title):
    """Return one part of a report."""
    return text.split(f"## {title}\n\n", 1)[1].split("\n\n## ")[0]


def summary(timeline, **changes):
    return told(timeline, **changes).split("\n\n")[1]


def tasks(timeline, **changes):
    return part(told(timeline, **changes), "Open actions").split("\n\n*Written")[0]


# --- every line, every phase ---


@pytest.mark.parametrize("kind", K)
def test_no_line_loses_its_text(kind):
    words = {
        key: f"Its {key}!" for key in ("text", "why", "detail", "reason", "by", "name", "contact", "note")
    }
    said = {"rung": 0, "step": 0, "role": "do", "undo": ["Undo this!"], "cause": Cause.RECOVERED}
    timeline = Timeline().opens().say(kind, **{**words, **said})
    told_of = part(told(timeline), "Timeline").splitlines()[3]
    assert kind.replace("_", " ") in told_of
    shown = {word for key, word in words.items() if key not in ("name", "contact")} | {"Undo this!"}
    assert not {word for word in shown if word not in told_of}
    assert words["contact"] in told_of


@pytest.mark.parametrize("kind", K)
def test_any_line_may_come_first_and_bare(kind):
    assert "## Timeline" in told(Timeline().say(kind))


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_told(phase):
    timeline = incident(phase)
    for events in (timeline.events[: i + 1] for i in range(len(timeline.events))):
        half = Timeline(timeline.rule)
        half.events, half.now = events, events[-1].at
        assert told(half, rule=None).startswith("# Incident")
    assert told(timeline).startswith("# Incident `INC-1`: `an alert without a name`")


# --- the summary ---


def ends(kind, **detail):
    return Timeline().opens().say(K.HANDED_OVER, reason=kind, text="told so").over().say(K.CLOSED, **detail)


ENDS = {
    "Its cause was proven gone, what was in place was taken back, and it was closed after 1s.": lambda: (
        incident(Phase.REVERTING).undoes().undone().does().does()
    ),
    "The alerts ended, there was nothing to take back, and it was closed after 1s.": lambda: (
        Timeline(rule(rung())).opens().mitigated(reverts=[False], resources=[]).recovering().does()
    ),
    "The alerts ended without its help, and it was closed after 0s.": lambda: incident(Phase.CLOSED),
    "What was in place was taken back by `ann` except what somebody had changed meanwhile, and it was closed": lambda: (
        incident(Phase.MITIGATED)
        .person_reverts()
        .undoes()
        .step(K.DRIFTED, role="revert", detail="mode is x", changed=False)
        .does()
        .over()
        .does()
    ),
    "`a way out` was kept in place by `ann` (`for good`), and it was closed by `bob` after 0s.": lambda: (
        incident(Phase.MITIGATED)
        .say(K.KEPT, by="ann", why="for good")
        .say(K.CLOSED, outcome="kept", by="bob")
    ),
    "`a way out` was kept in place, as its rule says, and it was closed after 1s.": lambda: (
        incident(Phase.MITIGATED, rule(rung(on_resolve="keep"))).recovering().does()
    ),
    "It was handed over to a person after 0s (protected target), and it was closed after 0s.": lambda: ends(
        "protected_target", outcome="handed_over"
    ),
    "The alerts, which had been handed over to a person, ended without its help, and it was closed": lambda: (
        ends("brake", outcome="self_resolved")
    ),
}


@pytest.mark.parametrize("sentence", ENDS)
def test_the_second_sentence_says_how_it_ended(sentence):
    assert sentence in summary(ENDS[sentence]())


STANDS = {
    "the alert still fires and nothing is in place.": lambda: incident(Phase.OPEN),
    "the alert still fires and nothing is in place; it waits: cooldown.": lambda: incident(Phase.WAITING),
    "the alert still fires and `mock mode` is being applied.": lambda: (
        Timeline().opens().begins(name="mock mode")
    ),
    "the alert still fires and `a way out` is being verified.": lambda: incident(Phase.VERIFYING),
    "the alert still fires and `a way out` is in place (its lease ends at 2026-11-21T13:00:00Z).": lambda: (
        incident(Phase.MITIGATED)
    ),
    "the alert is over and `a way out` is in place until the cause is proven gone (": lambda: incident(
        Phase.RECOVERING
    ),
    "the alert is over and `a way out` is in place until a person decides, as recovery cannot be proven (": lambda: (
        incident(Phase.RECOVERING).say(K.PROBE_UNKNOWN, role="recovered", why="no probe of the cause")
    ),
    "the alert is over and `a way out` is being taken back.": lambda: incident(Phase.REVERTING),
    "`a way out` is in place until a person settles what automation cannot (": lambda: (
        incident(Phase.REVERTING).undoes().step(K.REVERT_FAILED, role="revert", why="401").does()
    ),
    "nothing is in place, and it was handed over to a person.": lambda: (
        Timeline(rule()).opens().say(K.HANDED_OVER, reason="x")
    ),
    "nothing is in place, and `ann` has it.": lambda: (
        Timeline(rule()).opens().say(K.HANDED_OVER, reason="x").say(K.ACKNOWLEDGED, by="ann")
    ),
}


@pytest.mark.parametrize("sentence", STANDS)
def test_the_second_sentence_says_of_a_live_one_how_it_stands_so_far(sentence):
    said = summary(STANDS[sentence]())
    assert sentence in said
    assert ". So far, 30m after it opened, " in said


DID = {
    "did nothing so far.": lambda: incident(Phase.OPEN),
    "did nothing: cooldown and brake.": lambda: (
        incident(Phase.WAITING).does(brake=BRAKE).does().over().does()
    ),
    "told people, as the rule does nothing else.": lambda: Timeline(replace(rule(), ladder=())).opens(),
    "asked a person to approve what it would do, and did nothing so far.": lambda: (
        Timeline().opens().say(K.APPROVAL_REQUESTED, until=START.isoformat())
    ),
    "tried `a way out`, which did not help.": lambda: incident(Phase.VERIFYING).say(
        K.RUNG_FAILED, rung=0, why="unhealthy: verify/0"
    ),
    "tried rung 1, which did not help, and then applied rung 2, which helped after 1m.": lambda: (
        Timeline(rule(keeps(), rung()))
        .opens()
        .verifying()
        .later(60)
        .asked("unhealthy")
        .does()
        .does()
        .mitigated(1)
    ),
    "applied `a way out`, which nothing verifies.": lambda: (
        Timeline(rule(rung(verify=()))).opens().mitigated()
    ),
    "applied `a way out`, which helped after 0s, until it stopped helping.": lambda: incident(
        Phase.MITIGATED
    ).say(K.MITIGATION_LOST, rung=0, why="unhealthy 3 times in a row"),
    "applied `a way out`, of which its probes could not tell whether it helped.": undecided,
    "applied `a way out`, of which it is not known yet whether it helps.": lambda: incident(Phase.VERIFYING),
    "applied `a way out`, which had no time to prove itself.": lambda: incident(Phase.VERIFYING).recovering(),
}


@pytest.mark.parametrize("sentence", DID)
def test_the_first_sentence_says_what_was_done(sentence):
    timeline = DID[sentence]()
    known = None if "rung 1" in sentence else timeline.rule
    assert f"and Stopgap {sentence}" in summary(timeline, rule=known)


def test_the_summary_names_alerts_target_severity_and_what_they_say():
    alerts = {
        str(i): {"labels": {"alertname": f"A{i}"}, "annotations": {"summary": "it is down"}} for i in range(7)
    }
    said = summary(Timeline().say(K.OPENED, target="app", severity="P0", alerts=alerts))
    names = "`A0`, `A1`, `A2`, `A3`, `A4` and 2 more"
    assert said.startswith(
        f"At 2026-11-21T09:00:00Z {names} fired for `app` (`P0`, `it is down`), and Stopgap"
    )


# --- shadow ---


def watched(**plan):
    return Timeline().opens(mode="shadow").say(K.SHADOW_PLANNED, because="the rule's mode", **plan)


def test_a_shadow_says_so_in_its_first_word_and_promises_nothing():
    ladder = [
        {"rung": 0, "name": "one", "skipped": "precondition_failed: no"},
        {"rung": 1, "name": "two", "steps": ["restart"], "verify": ["ready"], "approval": "a person must"},
        {"rung": 2, "name": "three", "only_if": ["unknown: away"]},
    ]
    timeline = watched(
        rung=1, name="two", steps=["restart"], ladder=ladder, probes={"verify/0": "healthy: ok"}
    )
    text = told(timeline)
    assert text.startswith("# SHADOW incident ")
    assert summary(timeline).startswith("SHADOW: ")
    assert "Stopgap would have applied `two`. So far" in summary(timeline)
    assert "First act" not in text
    assert "None: nothing was changed." in tasks(timeline)
    would = part(text, "What it would have done")
    assert "### Rung 1: `one`\n\n- Skip it: `precondition_failed: no`." in would
    assert "- Do `restart`.\n- Verify `ready`.\n- But before that `a person must`." in would
    assert "- Its precondition was `unknown: away`." in would
    assert "| `verify/0` | `healthy: ok` |" in part(text, "What the probes said")


@pytest.mark.parametrize(
    ("plan", "did"),
    [
        ({"rung": 0}, "would have found no way out that it could take"),
        (
            {"rung": 0, "name": "one", "steps": ["x"], "refusal": "cooldown: a minute ago"},
            "had a guard not held it",
        ),
    ],
)
def test_a_shadow_says_what_would_have_kept_it(plan, did):
    assert did in summary(watched(**plan))
    assert plan.get("refusal", "") in told(watched(**plan))


def test_a_shadow_that_ended_before_it_planned_only_watched():
    timeline = Timeline().opens(mode="shadow")
    assert "Stopgap only watched" in summary(timeline)
    assert "nothing was planned" in told(timeline)


def test_why_it_only_watched_is_told_until_somebody_adopts_it():
    timeline = Timeline().opens(mode="shadow", because="new since the last start")
    assert "| `shadow`: `new since the last start` |" in told(timeline)
    adopted = timeline.say(K.ADOPTED, by="ann", why="tested", mode="auto")
    assert told(adopted).startswith("# Incident ")
    assert "| `auto` |" in told(adopted)


def test_one_that_acted_before_it_was_put_into_shadow_is_no_shadow():
    timeline = incident(Phase.MITIGATED).say(K.SHADOW_PLANNED, because="the daemon's --mode")
    assert told(timeline).startswith("# Incident ")


# --- times ---


def test_the_moments_stand_in_order_with_the_time_between():
    opened = START - timedelta(minutes=2)
    alert = {"a": {"labels": {"alertname": "Down"}, "starts_at": opened.isoformat()}}
    timeline = Timeline().say(K.OPENED, target="app", alerts=alert).later(minutes=1).mitigated()
    timeline.later(minutes=20).over().does().say(K.REVERT_STARTED, cause="recovered", rungs=[0])
    timeline.undoes().undone().does().does()
    rows = [line.split(" | ") for line in part(told(timeline), "Impact").splitlines()[2:10]]
    assert [[cell.strip("| ") for cell in row] for row in rows] == [
        ["Alert began firing", "2026-11-21T08:58:00Z", "2m before", "-"],
        ["Opened", "2026-11-21T09:00:00Z", "0s", "2m"],
        ["First act", "2026-11-21T09:01:00Z", "1m", "1m"],
        ["Mitigated", "2026-11-21T09:01:00Z", "1m", "0s"],
        ["Alerts over", "2026-11-21T09:21:00Z", "21m", "20m"],
        ["Cause proven gone", "2026-11-21T09:21:00Z", "21m", "0s"],
        ["Taken back", "2026-11-21T09:21:00Z", "21m", "0s"],
        ["Closed", "2026-11-21T09:21:00Z", "21m", "0s"],
    ]
    said = part(told(timeline), "Impact")
    assert "- Unmitigated for 3m, from the alert to the mitigation." in said
    assert "- Something was in place for 20m." in said


def test_what_did_not_come_is_said():
    said = part(told(incident(Phase.WAITING)), "Impact")
    assert "| Mitigated | not yet" in said.replace("  ", "")
    assert "- Unmitigated for 30m so far." in said
    said = part(told(incident(Phase.CLOSED)), "Impact")
    assert "never" in said
    assert "Unmitigated for 0s, until its alerts were over." in said


def test_what_was_kept_is_in_place_until_the_end_and_stays():
    timeline = incident(Phase.MITIGATED).later(minutes=3).say(K.KEPT).say(K.CLOSED, outcome="kept")
    text = told(timeline)
    assert "- Something was in place for 3m until it was closed, and it stays." in text
    assert "- **Kept for good**: `r0`." in text
    assert "Make permanent, or take back by hand, what `a way out` left in place: `r0`." in tasks(timeline)


def test_what_was_in_place_at_the_same_time_counts_once():
    timeline = (
        Timeline(rule(keeps(), rung())).opens().verifying().later(minutes=2).say(K.RUNG_FAILED, rung=0).does()
    )
    timeline.begins(1).later(minutes=3).say(K.REVERT_STARTED, cause="person", rungs=[0, 1], by="ann")
    timeline.say(K.REVERTED, rungs=[0, 1])
    assert "- Something was in place for 5m." in part(told(timeline), "Impact")


# --- what was applied ---


def test_every_attempt_and_every_result_of_a_step_is_told():
    timeline = Timeline(rule(rung(step(retries=1), step()))).opens().begins(steps=["set x", "set y"])
    timeline.step(K.STEP_FAILED, n=1, why="503").acts(n=2).step(K.STEP_UNKNOWN, n=2, why="no answer")
    timeline.step(K.STEP_SUCCEEDED, n=2, by="observation").say(
        K.RUNG_FAILED, rung=0, why="step 0/1/do failed"
    )
    rows = part(told(timeline), "What was applied and taken back").splitlines()
    assert "| apply | `set x` | **FAILED**: `503` | - |" in " ".join(rows[-3].split())
    assert (
        "| apply, attempt `2` | `set x` | outcome unknown: `no answer`; then done by observation | - |"
        in rows[-2]
    )
    assert "| - | apply | `set y` | never begun | - |" in " ".join(rows[-1].split())


def test_a_step_that_could_not_be_observed_stands_by_its_failure():
    timeline = Timeline().opens().step(K.STEP_FAILED, why="cannot be read", action="flag")
    assert "| apply | `flag` | **FAILED**: `cannot be read` |" in told(timeline)


@pytest.mark.parametrize(
    ("seconds", "took"),
    [(0.0123, "12 ms"), (1.37, "1.4 s"), (754, "12m"), (-1, "-"), ("long", "-"), (1e12, "-")],
)
def test_how_long_a_step_took_is_said(seconds, took):
    timeline = incident(Phase.MITIGATING).step(K.STEP_SUCCEEDED, seconds=seconds)
    row = part(told(timeline), "What was applied and taken back").splitlines()[-1]
    assert " ".join(row.split()).endswith(f"| done | {took} |")


def test_a_step_that_was_repeated_says_why():
    timeline = incident(Phase.MITIGATING).say(
        K.STEP_STARTED, rung=0, step=0, role="do", why="repetition is safe"
    )
    assert "apply, again as `repetition is safe`" in told(timeline)


def test_a_rung_says_what_its_probes_said_when_it_was_given_up():
    timeline = incident(Phase.VERIFYING).say(K.PROBE_UNHEALTHY, probe="verify/0", role="verify", why="503")
    timeline.say(K.PROBE_UNHEALTHY, probe="verify/1", role="verify", why="slow")
    timeline.say(K.PROBE_HEALTHY, probe="verify/1", role="verify", why="quick")
    timeline.say(K.RUNG_FAILED, rung=0, why="unhealthy: verify/0")
    assert "- Given up 0s after opening: `unhealthy: verify/0`, as it said `503`." in told(timeline)


FATES = {
    "- Taken back after 0s as it did not help: `r0`.": lambda: (
        incident(Phase.VERIFYING)
        .say(K.RUNG_FAILED, rung=0)
        .reverting(Cause.RUNG_FAILED)
        .say(K.REVERTED, rungs=[0])
    ),
    "- Taken back after 0s by order of `ann`: `r0`.": lambda: (
        incident(Phase.MITIGATED).person_reverts().say(K.REVERTED, rungs=[0])
    ),
    "- Being taken back once the cause was proven gone: `r0`.": lambda: incident(Phase.REVERTING),
    "- There is nothing to take back.": lambda: Timeline().opens().begins(resources=[]),
    "- It was kept and the ladder went on, as the rule says.": lambda: incident(Phase.VERIFYING).say(
        K.RUNG_HELD, rung=0, go_on=True, verdict="unknown"
    ),
    "- It was kept all the same: `kept after failure`.": lambda: incident(Phase.VERIFYING).say(
        K.RUNG_HELD, rung=0, why="kept after failure"
    ),
    "- Its probes could not tell in time whether it helps, so it was kept 1m after opening.": undecided,
    "- It stopped helping 0s after opening: `unhealthy`.": lambda: incident(Phase.MITIGATED).say(
        K.MITIGATION_LOST, rung=0, why="unhealthy"
    ),
    "- Skipped 0s after opening (`once_used`): `has run`.": lambda: (
        Timeline().opens().say(K.RUNG_SKIPPED, rung=0, reason="once_used", text="has run")
    ),
}


@pytest.mark.parametrize("line", FATES)
def test_what_became_of_a_rung_is_told(line):
    assert line in part(told(FATES[line]()), "What was applied and taken back")


# --- probes, refusals, people, messages ---


def test_probes_stand_under_the_question_that_they_answer():
    timeline = (
        Timeline(rule(keeps(), rung()))
        .opens()
        .say(K.PROBE_HEALTHY, probe="only_if/0", role="precondition", why="reachable")
    )
    timeline.verifying().answers("verify/0", "unhealthy").say(K.RUNG_FAILED, rung=0).does().verifying(1)
    timeline.answers("verify/0").say(K.MITIGATED, rung=1).answers("recheck/0", "unknown")
    timeline.recovering().answers("recovered/0").say(K.PROBE_UNKNOWN, role="recovered", why="no probe")
    said = part(told(timeline, rule=None), "What the probes said")
    assert [line for line in said.splitlines() if line.endswith("?")] == [
        "May rung 1 begin?",
        "Did rung 1 help?",
        "Did rung 2 help?",
        "Does rung 2 still help?",
        "Is the cause gone?",
    ]
    assert "`only_if/0` | healthy | `reachable`" in said
    assert "- Recovery could not be proven: `no probe`." in said
    assert "could not look when asked last: `recheck/0`. Who: " in tasks(timeline)


def refused(timeline, reason):
    return timeline.say(K.REFUSED, reason=reason, text=f"because of {reason}")


def test_a_refusal_holds_until_something_else_is_the_reason():
    timeline = refused(refused(Timeline().opens(), "brake").later(minutes=1), "cooldown").later(minutes=2)
    refused(timeline.begins().done().later(minutes=3), "brake")
    rows = [" ".join(row.split()) for row in part(told(timeline), "What held it back").splitlines()[2:]]
    assert rows == [
        "| `brake` | 2026-11-21T09:00:00Z | 2026-11-21T09:01:00Z | 1m | `because of brake` |",
        "| `cooldown` | 2026-11-21T09:01:00Z | 2026-11-21T09:03:00Z | 2m | `because of cooldown` |",
        "| `brake` | 2026-11-21T09:06:00Z | still | 30m so far | `because of brake` |",
    ]
    over = refused(Timeline().opens(), "storm").later(minutes=1).over().say(K.CLOSED, outcome="self_resolved")
    assert "| 2026-11-21T09:01:00Z | 1m " in part(told(over), "What held it back")


ASKED = {
    "waits for an answer": lambda t: t,
    "no longer needed": lambda t: t.say(K.HANDED_OVER, reason="x"),
    "asked anew before it could begin": lambda t: t.say(
        K.APPROVAL_REQUESTED, rung=0, until=str(START + 9 * LATER)
    ),
    "nobody answered in time": lambda t: t.say(K.APPROVAL_EXPIRED, request=2),
}


@pytest.mark.parametrize("fate", ASKED)
def test_what_became_of_a_request_is_told(fate):
    timeline = (
        Timeline().opens().say(K.APPROVAL_REQUESTED, rung=0, name="mock mode", until=str(START + 9 * LATER))
    )
    assert f"asked to approve `mock mode` until 2026-11-21T13:30:00Z: {fate}" in told(ASKED[fate](timeline))


def test_a_request_that_waits_is_an_open_action():
    timeline = Timeline().opens().say(K.APPROVAL_REQUESTED, rung=0, until=str(START + 9 * LATER))
    assert "Say until 2026-11-21T13:30:00Z whether `a way out` may begin: `stopgap approve 1`" in tasks(
        timeline
    )


def test_people_are_named_with_their_reasons():
    timeline = incident(Phase.MITIGATED)
    timeline.say(K.APPROVED, by="ann", why="go").say(K.APPROVAL_DENIED, by="bob", why="no")
    timeline.say(K.ACKNOWLEDGED, by="cid").say(
        K.LEASE_EXTENDED, by="dan", why="vendor", until=str(START + LATER)
    )
    timeline.say(K.NOTE_ADDED, by="fay", text="the vendor called").say(
        K.ADOPTED, by="gus", why="tested", mode="auto"
    )
    timeline.person_reverts().say(K.KEPT, by="eve", why="good").say(K.CLOSED, by="eve", outcome="kept")
    rows = [" ".join(row.split()[2:]) for row in part(told(timeline), "People").splitlines()[2:]]
    assert rows == [
        "| `ann` | approved | `go` |",
        "| `bob` | denied | `no` |",
        "| `cid` | acknowledged it | - |",
        "| `dan` | extended the lease until 2026-11-21T09:30:00Z | `vendor` |",
        "| `fay` | noted | `the vendor called` |",
        "| `gus` | let it act, and no longer only watch | `tested` |",
        "| `ann` | had it taken back | - |",
        "| `eve` | kept what is in place | `good` |",
        "| `eve` | closed it: kept | - |",
    ]


def test_messages_say_whom_they_reached_and_whom_not():
    timeline = incident(Phase.MITIGATED).say(K.NOTIFIED, contact="oncall", when="mitigated")
    timeline.say(K.NOTIFY_FAILED, contact="pager", when="every 30m", why="refused")
    said = " ".join(part(told(timeline), "Messages").split())
    assert "| `oncall` | mitigated | sent |" in said
    assert "| `pager` | `every 30m` | **FAILED**: `refused` |" in said
    assert "a message failed: `pager`. Who: whoever runs Stopgap." in tasks(timeline)


# --- what is left ---


def test_who_should_look_is_who_has_it_else_whom_the_rule_tells_else_who_was_told():
    escalating = replace(rule(), escalate=(Escalation("handed_over", ("oncall", "db")),))
    timeline = incident(Phase.MITIGATED, escalating)
    assert "Who: `oncall` and `db`." in tasks(timeline)
    assert "Who: whoever is on call." in tasks(timeline, rule=None)
    assert "Who: `chat`." in tasks(timeline.say(K.NOTIFIED, contact="chat"), rule=None)
    assert "Who: `ann`." in tasks(timeline.say(K.ACKNOWLEDGED, by="ann"))


def test_a_hand_over_gives_the_undo_in_order_and_who_has_it():
    timeline = incident(Phase.MITIGATED).say(
        K.HANDED_OVER,
        reason="unknown_outcome",
        text="nobody can tell",
        undo=["put x back", "then restart"],
        stuck=True,
    )
    said = part(told(timeline), "Handed over")
    assert said.startswith(
        "At 2026-11-21T09:00:00Z, after 0s (`unknown_outcome`): `nobody can tell`. From then on"
    )
    assert "1. `put x back`\n1. `then restart`" in said
    assert said.endswith("Nobody has acknowledged it so far.")
    assert "`stopgap ack 1`" in tasks(timeline)
    assert "`stopgap close 1 --keep --why …`" in tasks(timeline)
    timeline.say(K.ACKNOWLEDGED, by="ann")
    assert part(told(timeline), "Handed over").endswith("`ann` acknowledged it at 2026-11-21T09:00:00Z.")
    timeline.say(K.CLOSED, outcome="handed_over")
    assert "`stopgap ack 1`" not in tasks(timeline)


def test_nobody_acknowledged_what_is_over():
    said = part(told(ends("brake", outcome="self_resolved")), "Handed over")
    assert said.endswith("Nobody acknowledged it.")


SETTLE = {
    "Find out whether this took effect, as nobody can tell: `set x`.": (K.STEP_UNKNOWN, "do"),
    "Find out whether this was taken back, as nobody can tell: `set x`.": (K.STEP_UNKNOWN, "revert"),
    "Take this back by hand, as Stopgap could not: `set x`.": (K.REVERT_FAILED, "revert"),
    "Do this by hand to make effective what was taken back: `restart`.": (K.REVERT_FAILED, "reactivate"),
}


@pytest.mark.parametrize("line", SETTLE)
def test_what_nobody_settled_is_an_open_action(line):
    kind, role = SETTLE[line]
    timeline = Timeline(rule(rung(activate=1))).opens().begins(steps=["set x", "restart"])
    assert line in tasks(timeline.step(kind, role=role))


def test_drifts_and_flaps_are_open_actions():
    timeline = Timeline().opens(follows="INC-0", flaps=2).step(K.DRIFTED, role="revert", detail="mode is y")
    text = told(timeline)
    assert "| `INC-0`: flap 2, it fired again soon after that one was taken back |" in text
    assert "Check what somebody changed meanwhile, it was left alone: `mode is y`." in tasks(timeline)
    assert "Ask why the alert came back once all was taken back" in tasks(timeline)


def test_nothing_left_is_said():
    assert tasks(incident(Phase.CLOSED)).startswith("None: nothing is in place")


def test_the_runbook_is_named():
    runbook = replace(rule(), runbook_url="https://runbooks.example.com/x")
    assert "The runbook is `https://runbooks.example.com/x`." in tasks(incident(Phase.MITIGATED, runbook))


def test_a_rule_that_is_gone_is_said_and_leaves_the_timeline():
    timeline = incident(Phase.MITIGATED).say(K.LEASE_EXTENDED, by="ann", until=str(START + LATER))
    text = told(timeline, rule=None)
    assert "(no longer known; what follows is from the timeline alone)" in text
    assert "its lease ended at 2026-11-21T09:30:00Z" in text


def test_the_follower_is_named():
    timeline = incident(Phase.REVERTING).undoes().undone().does().does()
    assert "| Followed by | `INC-2`: it fired again |" in told(timeline, followed_by="INC-2")
    assert "Ask why the alert came back" in tasks(timeline, followed_by="INC-2")


def test_an_alert_says_since_when_until_when_and_with_which_labels():
    timeline = Timeline().say(
        K.OPENED,
        alerts={
            "a": {"labels": {"alertname": "Down", "job": "api"}, "starts_at": START.isoformat()},
            "b": {"labels": {"alertname": "Slow"}, "starts_at": "then"},
            "c": {"labels": {"alertname": "Old"}, "starts_at": "2026-11-21T08:00:00"},
        },
    )
    timeline.later(60).over("a")
    rows = [" ".join(row.split()) for row in part(told(timeline), "Alerts").splitlines()[2:]]
    assert rows == [
        '| `Down` | 2026-11-21T09:00:00Z | 2026-11-21T09:01:00Z | `job="api"` |',
        "| `Slow` | unknown | still firing | - |",
        "| `Old` | 2026-11-21T08:00:00Z | still firing | - |",
    ]
    timeline.say(K.CLOSED, outcome="handed_over")
    assert "firing when it closed" in told(timeline)


# --- bounds ---


def test_a_long_timeline_is_cut_in_the_middle_and_says_so():
    timeline = Timeline().opens()
    for i in range(5 * (FIRST + LAST)):
        timeline.say(K.PROBE_UNKNOWN, probe="verify/0", role="verify", why=f"answer {i}")
    text = told(timeline)
    rows = part(text, "Timeline").splitlines()[2 : FIRST + LAST + 3]
    assert f"{len(timeline.events) - FIRST - LAST} lines left out" in rows[FIRST]
    assert "`stopgap incidents 1` shows them all" in rows[FIRST]
    assert "`answer 0`" in rows[1]
    assert f"`answer {5 * (FIRST + LAST) - 1}`" in rows[-1]
    assert "1190 more are left out here." in part(text, "What the probes said")
    assert len(text.splitlines()) < 500


def test_many_alerts_and_long_values_are_cut_and_said():
    labels = {"alertname": "Down", "long": "x" * 10_000}
    alerts = {str(i): {"labels": {**labels, "n": str(i)}} for i in range(500)}
    text = told(Timeline().say(K.OPENED, alerts=alerts))
    assert "480 more are left out here." in part(text, "Alerts")
    assert "480 more alerts" in part(text, "Timeline")
    assert len(text) < 60_000


def test_the_last_line_says_whether_there_is_more_to_come():
    assert "the incident goes on, so it is not the last word." in told(incident(Phase.OPEN))
    assert "*Written at 2026-11-21T09:30:00Z from the journal of Stopgap; the incident is closed." in told(
        incident(Phase.CLOSED)
    )


def test_a_repeated_answer_of_the_running_daemon_changes_nothing():
    timeline = undecided()
    before = told(timeline)
    state = timeline.repeats("verify/0", "unknown")
    assert report(Story(state, tuple(timeline.events), timeline.rule, timeline.now + LATER)) == before
    assert "verdict_unknown" in told(handed_over_undecided())

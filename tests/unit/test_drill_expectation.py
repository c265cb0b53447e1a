"""What a timeline says of what was expected of a drill."""

from datetime import UTC, datetime, timedelta

import pytest

from stopgap.drill.expectation import Course, Expectation, Kind, State, in_shadow, judge, passed

START = datetime(2026, 11, 21, 10, tzinfo=UTC)
MITIGATED = Expectation(Kind.EVENT, "mitigated", timedelta(minutes=2))


def line(event, seconds, **detail):
    at = START + timedelta(seconds=seconds)
    return {"seq": 1, "event": event, "at": at.isoformat().replace("+00:00", "Z"), **detail}


def incident(*lines, rule="hotel/pms", phase="mitigated", outcome=None):
    return {"id": "INC-1", "rule": rule, "phase": phase, "outcome": outcome, "timeline": list(lines)}


def closed(*lines, seconds=100, outcome="recovered", **more):
    end = line("closed", seconds, outcome=outcome)
    return incident(*lines, end, phase="closed", outcome=outcome, **more)


def found(one, *incidents, seconds=0, over=False):
    course = Course(START, START + timedelta(seconds=seconds), incidents, over=over)
    (judgement,) = judge([one], course)
    return judgement.state.value, judgement.got


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (0, ("met", "after 0.0s")),
        (41.234, ("met", "after 41.2s")),
        (120, ("met", "after 2m")),
        (120.001, ("missed", "after 2m")),
        (3725, ("missed", "after 1h2m5s")),
    ],
)
def test_an_event_counts_by_when_it_was_written_down(at, says):
    assert found(MITIGATED, incident(line("opened", 0), line("mitigated", at)), seconds=9999) == says


def test_what_has_not_come_is_pending_until_its_time_is_over():
    there = incident(line("opened", 0))
    assert found(MITIGATED, there, seconds=120) == ("pending", "")
    assert found(MITIGATED, there, seconds=121) == ("missed", "did not come")
    assert found(MITIGATED, there, seconds=1, over=True) == ("missed", "did not come")
    assert found(MITIGATED, seconds=1) == ("pending", "")


def test_without_a_time_only_the_end_of_the_watching_is_too_late():
    whenever = Expectation(Kind.EVENT, "mitigated")
    assert found(whenever, incident(), seconds=10**6) == ("pending", "")
    assert found(whenever, incident(), over=True) == ("missed", "did not come")
    assert found(whenever, incident(line("mitigated", 10**5)))[0] == "met"


def test_what_stood_in_the_way_is_named():
    braked = incident(line("refused", 1, reason="brake"))
    assert found(MITIGATED, braked, over=True) == ("missed", "did not come: refused (brake)")
    failed = incident(line("refused", 1, reason="brake"), line("rung_failed", 2, why="x"))
    assert found(MITIGATED, failed, over=True) == ("missed", "did not come: rung_failed")
    recovered = Expectation(Kind.OUTCOME, "recovered")
    assert found(recovered, braked, over=True) == ("missed", "still mitigated: refused (brake)")


def test_a_time_may_count_from_another_event():
    back = Expectation(Kind.EVENT, "reverted", timedelta(seconds=10), since="alert_resolved")
    assert found(back, incident(), seconds=999) == ("pending", "no alert_resolved")
    assert found(back, incident(), over=True) == ("missed", "no alert_resolved")
    over = line("alert_resolved", 50)
    assert found(back, incident(over), seconds=60) == ("pending", "")
    assert found(back, incident(over), seconds=61) == ("missed", "did not come")
    assert found(back, incident(over, line("reverted", 59))) == ("met", "after 9.0s")
    assert found(back, incident(line("reverted", 40), over), seconds=61) == ("missed", "did not come")


def test_a_reason_narrows_an_event_down():
    braked = Expectation(Kind.EVENT, "refused", reason="brake")
    there = incident(line("refused", 1, reason="cooldown"), line("refused", 5, reason="brake"))
    assert found(braked, there) == ("met", "after 5.0s")
    assert found(Expectation(Kind.EVENT, "refused", reason="storm"), there)[0] == "pending"


def test_who_is_told_counts_and_of_what_if_that_is_said():
    there = incident(line("notified", 3, contact="oncall", when="opened"))
    assert found(Expectation(Kind.TOLD, "oncall"), there) == ("met", "after 3.0s")
    assert found(Expectation(Kind.TOLD, "oncall", when="opened"), there)[0] == "met"
    assert found(Expectation(Kind.TOLD, "oncall", when="mitigated"), there)[0] == "pending"
    assert found(Expectation(Kind.TOLD, "lead"), there)[0] == "pending"


def test_what_must_never_come_is_met_only_in_the_end():
    never = Expectation(Kind.NOT, "handed_over")
    assert found(never, incident(), seconds=10**6) == ("pending", "")
    assert found(never, incident(), over=True) == ("met", "did not come")
    there = incident(line("handed_over", 70, reason="ladder_exhausted"))
    assert found(never, there) == ("missed", "after 1m10s (ladder_exhausted)")
    assert found(never, incident(line("handed_over", 70))) == ("missed", "after 1m10s")


def test_what_must_not_come_for_a_while_may_come_later():
    not_soon = Expectation(Kind.NOT, "reverted", timedelta(seconds=60), since="mitigated")
    held = line("mitigated", 10)
    assert found(not_soon, incident(held), seconds=70) == ("pending", "")
    assert found(not_soon, incident(held), seconds=71) == ("met", "did not come")
    assert found(not_soon, incident(held, line("reverted", 80)), seconds=80) == ("met", "did not come")
    assert found(not_soon, incident(held, line("reverted", 60)))[0] == "missed"


def test_an_outcome_is_that_of_all_incidents():
    ends = Expectation(Kind.OUTCOME, "recovered", timedelta(minutes=2))
    assert found(ends) == ("pending", "")
    assert found(ends, over=True) == ("missed", "no incident")
    assert found(ends, incident(), seconds=121) == ("missed", "still mitigated")
    assert found(ends, closed()) == ("met", "recovered, after 1m40s")
    assert found(ends, closed(), incident()) == ("pending", "")
    assert found(ends, closed(seconds=121)) == ("missed", "recovered, after 2m1s")
    other = closed(outcome="handed_over", rule="hotel/other")
    assert found(ends, closed(), other) == ("missed", "handed_over, after 1m40s")


def test_a_rule_narrows_anything_down():
    ours, other = closed(line("mitigated", 1)), closed(outcome="kept", rule="hotel/other")
    assert found(Expectation(Kind.OUTCOME, "recovered", rule="hotel/pms"), other, ours)[0] == "met"
    assert found(Expectation(Kind.EVENT, "mitigated", rule="hotel/other"), other, ours)[0] == "pending"


def test_a_course_is_closed_when_all_its_incidents_are():
    assert not Course(START, START, ()).closed
    assert not Course(START, START, (closed(), incident())).closed
    assert Course(START, START, (closed(), closed())).closed


def test_a_shadow_is_asked_what_it_can_show():
    expected = (
        Expectation(Kind.EVENT, "opened"),
        MITIGATED,
        Expectation(Kind.EVENT, "closed", timedelta(1), since="mitigated"),
        Expectation(Kind.NOT, "handed_over"),
        Expectation(Kind.TOLD, "oncall"),
        Expectation(Kind.OUTCOME, "recovered"),
    )
    asked, unasked = in_shadow(expected)
    assert [one.text for one in asked] == ["shadow_planned", "opened", "never handed_over", "ends shadow"]
    assert [one.expectation for one in unasked] == [expected[1], expected[2], expected[4], expected[5]]
    assert {one.state for one in unasked} == {State.UNASKED}


def test_all_must_be_met_or_unasked_for_a_drill_to_have_passed():
    _, unasked = in_shadow([MITIGATED])
    met = judge([MITIGATED], Course(START, START, (incident(line("mitigated", 1)),)))
    assert passed((*met, *unasked))
    assert not passed(judge([MITIGATED], Course(START, START, (incident(),))))
    assert not passed(judge([MITIGATED], Course(START, START, (incident(),), over=True)))


@pytest.mark.parametrize(
    ("one", "text", "wanted"),
    [
        (MITIGATED, "mitigated", "within 2m"),
        (Expectation(Kind.NOT, "drifted", rule="a/b"), "never drifted, a/b", "at any time"),
        (Expectation(Kind.TOLD, "oncall", when="opened"), "oncall is told of opened", "at any time"),
        (Expectation(Kind.TOLD, "oncall"), "oncall is told", "at any time"),
        (Expectation(Kind.EVENT, "refused", reason="brake"), "refused (brake)", "at any time"),
        (
            Expectation(Kind.OUTCOME, "kept", timedelta(seconds=5), since="opened"),
            "ends kept",
            "within 5s since opened",
        ),
    ],
)
def test_an_expectation_says_what_it_is(one, text, wanted):
    assert (one.text, one.wanted) == (text, wanted)

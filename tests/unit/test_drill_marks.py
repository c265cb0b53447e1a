"""Where it is said that an incident is a drill, and what leaves drills out."""

import io
import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from tests.desk import CLOSED, HELD, NOW, PLAN, RULE, STEP, TIMELINES, FakeEngine, event, opened
from tests.timelines import START, Timeline, rule
from tests.unit.test_metrics import play, value
from tests.unit.test_reconciler import town
from tests.virtual import virtually

from stopgap import log, view
from stopgap.alert import DRILL, Alert, BadAlert, read_alert
from stopgap.audience import hearers
from stopgap.drill import Drills
from stopgap.escalation import Due, docket_of, due
from stopgap.incident import Event, EventKind as K, Phase
from stopgap.journal import CONTROL, Line, Stored
from stopgap.messages import Occasion, compose
from stopgap.metrics import DRILLED, Metrics
from stopgap.report import Story, report
from stopgap.rule import Escalation
from stopgap.transitions import fold

ALERT = {"labels": {"alertname": "Down", DRILL: "q3"}, "annotations": {}, "starts_at": "2026-11-21T10:00:00Z"}
BEGUN = (opened(alerts={"d": ALERT}, drill="q3"), *TIMELINES[HELD][1:])
REAL = {"fingerprint": "r", "labels": {"alertname": "Down"}, "annotations": {}, "starts_at": ""}
OVERTAKEN = (*BEGUN, event(6, K.ALERT_JOINED, 4, **REAL), event(7, K.DRILL_OVERTAKEN, 4, drill="q3"))
TOLD = (Escalation(K.OPENED, ("chat",)), Escalation(K.MITIGATED, ("oncall",)))


def test_the_label_of_drills_is_refused_from_outside():
    raw = {"status": "firing", "labels": ALERT["labels"], "startsAt": "2026-11-21T10:00:00Z"}
    assert read_alert(raw) is BadAlert.RESERVED_LABEL
    assert read_alert({**raw, "status": "resolved"}) is BadAlert.RESERVED_LABEL
    without = read_alert({**raw, "labels": {"alertname": "Down", DRILL: ""}})
    assert isinstance(without, Alert), "an empty label is none"


def test_the_name_of_a_drill_is_that_of_its_alert_until_a_real_one_overtakes_it():
    assert fold(HELD, BEGUN).drill == "q3"
    assert fold(HELD, OVERTAKEN[:-1]).drill == "q3"
    assert fold(HELD, OVERTAKEN).drill == ""
    assert fold(HELD, TIMELINES[HELD]).drill == ""


def test_incident_json_says_it_live_and_closed():
    assert view.brief(fold(HELD, BEGUN))["drill"] == "q3"
    assert view.brief(fold(HELD, TIMELINES[HELD]))["drill"] is None
    row = Stored(CLOSED, "hotel/pms", "v1", "x", "P0", "auto", NOW, "recovered", closed_at=NOW, drill="q3")
    assert view.stored(row)["drill"] == "q3"
    assert view.stored(replace(row, drill=""))["drill"] is None


def test_each_log_line_of_a_drill_says_so():
    stream = io.StringIO()
    log.configure(stream=stream)
    try:
        for timeline in (BEGUN, TIMELINES[HELD]):
            log.observe(Line(HELD, timeline[-1]), fold(HELD, timeline))
    finally:
        structlog.reset_defaults()
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    of_drill, real = map(json.loads, stream.getvalue().splitlines())
    assert of_drill["drill"] == "q3"
    assert "drill" not in real


@pytest.mark.parametrize(
    ("mode", "mark", "first"),
    [
        ("auto", "[DRILL q3] ", "This is a drill: its alert is made up, what is done about it is real."),
        (
            "shadow",
            "[DRILL q3] [SHADOW] ",
            "This is a drill in shadow: its alert is made up, and nothing is done.",
        ),
    ],
)
def test_a_message_says_it_first_in_its_title_and_in_its_body(mode, mark, first):
    timeline = Timeline(rule()).say(K.OPENED, rule="pack/rule", target="app", mode=mode, alerts={"d": ALERT})
    title, body = compose(
        Occasion(timeline.rule, timeline.state, Due("x", K.OPENED, of=1), START, timeline.events[0])
    )
    assert title == f"{mark}[P2] pack/rule on app: opened"
    assert body.splitlines()[0] == first


def test_who_took_it_for_a_drill_hears_that_it_is_none():
    of = replace(RULE, escalate=TOLD)
    assert hearers(of, OVERTAKEN[-1], fold(HELD, OVERTAKEN)) == ("default", "chat", "oncall")
    docket, state = docket_of(OVERTAKEN, HELD, of)
    told = [one for one in due(docket, state, of, NOW) if one.when == K.DRILL_OVERTAKEN]
    assert [one.contact for one in told] == ["default", "chat", "oncall"]
    title, body = compose(Occasion(of, state, told[0], NOW, OVERTAKEN[-1]))
    assert title == "[P0] hotel/pms on fly://hotel: no drill any more, it fires in earnest"
    assert "drill" not in body


def test_who_hears_of_a_standing_that_is_not_reached_hears_nothing_of_it():
    of = replace(RULE, escalate=(*TOLD, Escalation(K.HANDED_OVER, ("lead",))))
    timeline = (opened(alerts={"d": ALERT}), event(2, K.HANDED_OVER), event(3, K.DRILL_OVERTAKEN))
    assert hearers(of, timeline[-1], fold(HELD, timeline)) == ("default", "chat", "lead")


def test_a_report_says_it_in_its_first_line():
    state = fold(HELD, BEGUN)
    text = report(Story(state, BEGUN, RULE, NOW))
    assert text.startswith(f"# DRILL `q3`: Incident `{HELD}`: ")
    assert "`q3`: its alert is made up" in text
    assert "DRILL" not in report(Story(fold(HELD, OVERTAKEN), OVERTAKEN, RULE, NOW)).splitlines()[0]


# --- metrics ---


@pytest.fixture
def metrics():
    made = Metrics(actions=["flag"], probes=["http"], contacts=["default"])
    made.loaded({"hotel/pms": RULE}, NOW)
    return made


def test_a_drill_counts_among_drills_and_its_acts_among_acts(metrics):
    played = (*BEGUN, event(6, K.NOTIFIED, 4, contact="default", when="mitigated"))
    play(metrics, (*played, event(7, K.CLOSED, 5, outcome="recovered")))
    assert value(metrics, "drills_total", result="recovered") == 1
    assert value(metrics, "actions_total", action="flag", result="succeeded") == 1
    assert value(metrics, "messages_sent_total", contact="default", result="succeeded") == 1
    for name, labels in (
        ("incidents_opened_total", {}),
        ("incidents_closed_total", {"outcome": "recovered"}),
        ("time_to_mitigate_seconds_count", {}),
        ("mitigation_effective_total", {"result": "held"}),
    ):
        assert value(metrics, name, rule="hotel/pms", **labels) == 0
    assert value(metrics, "alert_to_action_seconds_count") == 0
    assert value(metrics, "escalations_total", rule="hotel/pms", when="mitigated") is None


def test_a_refusal_of_a_drill_pages_nobody(metrics):
    play(metrics, (BEGUN[0], event(2, K.REFUSED, reason="cooldown")))
    assert value(metrics, "refusals_total", rule="hotel/pms", reason="cooldown") == 0


def test_what_a_drill_could_not_take_back_counts(metrics):
    failed = event(6, K.REVERT_FAILED, 5, **{**STEP, "role": "revert"})
    play(metrics, (*BEGUN, failed))
    assert value(metrics, "reverts_total", rule="hotel/pms", result="failed") == 1


def test_a_drill_that_is_overtaken_counts_as_an_incident_from_then_on(metrics):
    play(metrics, (*OVERTAKEN, event(8, K.CLOSED, 9, outcome="recovered")))
    assert value(metrics, "drills_total", result="overtaken") == 1
    assert value(metrics, "incidents_opened_total", rule="hotel/pms") == 1
    assert value(metrics, "incidents_closed_total", rule="hotel/pms", outcome="recovered") == 1


def test_one_that_made_way_is_overtaken_too(metrics):
    play(metrics, (BEGUN[0], event(2, K.CLOSED, outcome="shadow", overtaken=True)))
    assert value(metrics, "drills_total", result="overtaken") == 1
    assert value(metrics, "drills_total", result="shadow") == 0


def test_all_results_stand_at_zero_from_the_start(metrics):
    assert [value(metrics, "drills_total", result=result) for result in DRILLED] == [0] * len(DRILLED)


def test_the_present_leaves_drills_out_but_not_their_leases(metrics):
    engine = FakeEngine()
    handed_over = (*BEGUN, event(6, K.HANDED_OVER, 5, reason="x"))
    engine.incidents = {HELD: fold(HELD, handed_over)}
    metrics.watch(engine, lambda: 0, dict)
    assert value(metrics, "drills_live") == 1
    assert value(metrics, "incidents", phase="mitigated") == 0
    assert value(metrics, "mitigations_held", rule="hotel/pms") == 0, "or it would keep a real page quiet"
    assert value(metrics, "incidents_handed_over", rule="hotel/pms", acknowledged="false") == 0
    assert value(metrics, "lease_end_timestamp_seconds", rule="hotel/pms") is not None
    assert PLAN["resources"]


# --- what Alertmanager does not know ---


@virtually
async def test_surveys_that_do_not_show_a_drills_alert_neither_end_nor_doubt_it():
    there = await town()
    drills = Drills(there.world.engine, there.world.orders, there.world.clock)
    drills.start()
    await drills.begin("q3", {"alertname": "Down"}, {}, timedelta(hours=1), shadow=False, by="ann")
    await there.world.passes(minutes=10)
    state = there.world.incident
    assert (state.phase, state.firing) == (Phase.MITIGATED, True)
    assert there.reconciler.doubt(state.id) == ""
    await drills.stop()
    await there.restarts()
    Drills(there.world.engine, there.world.orders, there.world.clock).start()
    assert there.reconciler.doubt(state.id) == "", "nobody but we can tell whether it fires"
    await there.world.passes(minutes=10)
    assert there.world.incident.firing


def test_what_concerns_no_incident_is_none_of_the_drills_business():
    drills = Drills(FakeEngine(), None, None)
    drills.observe(Line(CONTROL, Event(K.RELOADED, NOW)), fold(CONTROL, ()))
    assert drills.running == ()

"""What `/metrics` says after which events."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import reduce

import pytest
from tests.desk import HELD, NOW, OPEN, PLAN, RULE, STEP, TIMELINES, FakeEngine, event, opened
from tests.intake import Taken

from stopgap.incident import Event, EventKind as K, Incident
from stopgap.journal import Line
from stopgap.ledger import Brake, BrakeScope
from stopgap.metrics import Metrics
from stopgap.probe import Verdict
from stopgap.rule import Mode
from stopgap.transitions import apply


@pytest.fixture
def metrics():
    made = Metrics(actions=["flag"], probes=["http"], contacts=["default"])
    made.loaded({"hotel/pms": RULE}, NOW)
    return made


def play(metrics: Metrics, events: Sequence[Event], state: Incident | None = None) -> Incident:
    state = state or Incident(HELD)
    for line in events:
        state = apply(state, line)
        metrics.observe(Line(HELD, line), state)
    return state


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"stopgap_{name}", labels)


def test_a_mitigation_is_counted_and_timed_from_its_opening(metrics):
    play(metrics, TIMELINES[HELD])
    assert value(metrics, "incidents_opened_total", rule="hotel/pms") == 1
    assert value(metrics, "actions_total", action="flag", result="succeeded") == 1
    assert value(metrics, "action_duration_seconds_sum", action="flag") == 0.25
    assert value(metrics, "alert_to_action_seconds_sum") == 60
    assert value(metrics, "time_to_mitigate_seconds_sum", rule="hotel/pms") == 180
    assert value(metrics, "mitigation_effective_total", rule="hotel/pms", result="held") == 1


@pytest.mark.parametrize(
    "later",
    [
        [event(6, K.STEP_UNKNOWN, 4, **STEP), event(7, K.STEP_STARTED, 4, **STEP)],
        [event(6, K.STEP_STARTED, 4, **{**STEP, "step": 1})],
        [event(6, K.STEP_STARTED, 4, **{**STEP, "n": 2})],
        [event(6, K.STEP_STARTED, 4, **{**STEP, "role": "revert"})],
    ],
)
def test_only_the_first_act_counts_as_the_answer_to_the_alert(metrics, later):
    play(metrics, [*TIMELINES[HELD], *later])
    assert value(metrics, "alert_to_action_seconds_count") == 1


def test_a_mitigation_that_returns_is_not_timed_again(metrics):
    play(metrics, [*TIMELINES[HELD], event(6, K.MITIGATED, 9, rung=0, verified=True)])
    assert value(metrics, "time_to_mitigate_seconds_count", rule="hotel/pms") == 1


@pytest.mark.parametrize(
    ("kind", "detail", "name", "labels"),
    [
        (K.STEP_FAILED, {**STEP, "seconds": 1}, "actions_total", {"action": "flag", "result": "failed"}),
        (K.STEP_UNKNOWN, STEP, "actions_total", {"action": "flag", "result": "unknown"}),
        (K.STEP_SKIPPED, STEP, "actions_total", {"action": "flag", "result": "skipped"}),
        (
            K.STEP_REVERTED,
            {**STEP, "role": "revert"},
            "reverts_total",
            {"rule": "hotel/pms", "result": "reverted"},
        ),
        (K.DRIFTED, {**STEP, "role": "revert"}, "reverts_total", {"rule": "hotel/pms", "result": "drifted"}),
        (
            K.REVERT_FAILED,
            {**STEP, "role": "revert"},
            "reverts_total",
            {"rule": "hotel/pms", "result": "failed"},
        ),
        (K.REFUSED, {"reason": "brake"}, "refusals_total", {"rule": "hotel/pms", "reason": "brake"}),
        (
            K.HANDED_OVER,
            {"reason": "unsafe_label"},
            "refusals_total",
            {"rule": "hotel/pms", "reason": "unsafe_label"},
        ),
        (K.SHADOW_PLANNED, {}, "refusals_total", {"rule": "hotel/pms", "reason": "shadow"}),
        (K.CLOSED, {"outcome": "kept"}, "incidents_closed_total", {"rule": "hotel/pms", "outcome": "kept"}),
        (K.MITIGATION_LOST, {}, "mitigation_effective_total", {"rule": "hotel/pms", "result": "lost"}),
        (
            K.NOTIFIED,
            {"contact": "default", "when": "mitigated"},
            "messages_sent_total",
            {"contact": "default", "result": "succeeded"},
        ),
        (
            K.NOTIFIED,
            {"contact": "default", "when": "mitigated"},
            "escalations_total",
            {"rule": "hotel/pms", "when": "mitigated"},
        ),
        (
            K.NOTIFY_FAILED,
            {"contact": "default"},
            "messages_sent_total",
            {"contact": "default", "result": "failed"},
        ),
    ],
)
def test_an_event_counts_under_its_name(metrics, kind, detail, name, labels):
    before = value(metrics, name, **labels) or 0
    play(
        metrics,
        [event(9, kind, **detail)],
        reduce(apply, [opened(), event(2, K.RUNG_STARTED, **PLAN)], Incident(HELD)),
    )
    assert value(metrics, name, **labels) == before + 1


def test_a_handing_over_that_is_no_refusal_is_not_counted_as_one(metrics):
    play(metrics, [opened(), event(2, K.HANDED_OVER, reason="verdict_unknown")])
    assert 'reason="verdict_unknown"' not in metrics.render().decode()


def test_what_comes_in_is_counted(metrics):
    metrics.answered(503)
    metrics.took(2, 1, Taken({"hotel/pms": 3}, unmatched=4))
    metrics.rejected("bad_time", 5)
    metrics.noticed(truncated=6, mismatched=7)
    metrics.login_refused()
    metrics.asked("http", Verdict.UNKNOWN)
    metrics.committed(8, 0.5)
    metrics.lagged(0.25, NOW)
    metrics.beat("withheld")
    assert value(metrics, "notifications_total", code="503") == 1
    assert value(metrics, "alerts_received_total", status="firing") == 2
    assert value(metrics, "alerts_matched_total", rule="hotel/pms") == 3
    assert value(metrics, "alerts_unmatched_total") == 4
    assert value(metrics, "alerts_rejected_total", reason="bad_time") == 5
    assert value(metrics, "alerts_truncated_total") == 6
    assert value(metrics, "fingerprint_mismatches_total") == 7
    assert value(metrics, "logins_refused_total") == 1
    assert value(metrics, "probes_total", kind="http", verdict="unknown") == 1
    assert value(metrics, "journal_batch_size_sum") == 8
    assert value(metrics, "event_loop_lag_seconds_sum") == 0.25
    assert value(metrics, "heartbeat_timestamp_seconds") == NOW.timestamp()
    assert value(metrics, "heartbeat_sent_total", result="withheld") == 1
    assert value(metrics, "heartbeat_sent_total", result="failed") == 0


def test_gauges_show_the_present_at_each_scrape(metrics):
    engine = FakeEngine()
    waiting = 3
    metrics.watch(engine, lambda: waiting, lambda: {"hotel/pms": 2})
    assert value(metrics, "incidents", phase="mitigated") == 1
    assert value(metrics, "incidents", phase="reverting") == 0
    assert value(metrics, "mitigations_held", rule="hotel/pms") == 1
    assert value(metrics, "brake_engaged", scope="global") == 0
    assert value(metrics, "journal_queue_length") == 3
    assert value(metrics, "budget_remaining", rule="hotel/pms") == 2
    assert value(metrics, "storm_active") == 0
    engine.stormy = True
    assert value(metrics, "storm_active") == 1
    engine.incidents.clear()
    engine.brakes = (Brake(BrakeScope.GLOBAL, "", "ada", "audit", NOW),)
    assert value(metrics, "mitigations_held", rule="hotel/pms") == 0
    assert value(metrics, "brake_engaged", scope="global") == 1


def test_what_was_handed_over_shows_until_somebody_takes_it_on(metrics):
    engine = FakeEngine()
    metrics.watch(engine, lambda: 0, dict)
    open_, taken = {"acknowledged": "false"}, {"acknowledged": "true"}
    assert value(metrics, "incidents_handed_over", rule="hotel/pms", **open_) == 0
    state = apply(engine.incidents[OPEN], event(3, K.HANDED_OVER, reason="unsafe_label"))
    engine.incidents[OPEN] = state
    assert value(metrics, "incidents_handed_over", rule="hotel/pms", **open_) == 1
    engine.incidents[OPEN] = apply(state, event(4, K.ACKNOWLEDGED, by="ada"))
    assert value(metrics, "incidents_handed_over", rule="hotel/pms", **open_) == 0
    assert value(metrics, "incidents_handed_over", rule="hotel/pms", **taken) == 1


def test_the_lease_that_ends_first_shows_for_a_rule_that_holds_something(metrics):
    engine = FakeEngine()
    metrics.watch(engine, lambda: 0, dict)
    since = NOW - timedelta(minutes=29)  # when the first act began
    end = since + RULE.limits.max_hold
    assert value(metrics, "lease_end_timestamp_seconds", rule="hotel/pms") == end.timestamp()
    state = engine.incidents[HELD]
    engine.incidents["INC-2"] = replace(state, id="INC-2", lease_from=since - timedelta(hours=1))
    assert value(metrics, "lease_end_timestamp_seconds", rule="hotel/pms") == end.timestamp() - 3600
    del engine.incidents["INC-2"]
    engine.rule_of = lambda _: None  # its version was lost
    assert value(metrics, "lease_end_timestamp_seconds", rule="hotel/pms") is None


def test_a_dependency_is_up_unless_something_says_why_not(metrics):
    metrics.watch(FakeEngine(), lambda: 0, dict, lambda: {"store": "", "prometheus": "refused"})
    assert value(metrics, "dependency_up", dependency="store") == 1
    assert value(metrics, "dependency_up", dependency="prometheus") == 0
    assert value(metrics, "dependency_up", dependency="heartbeat") is None


def test_a_standby_says_whether_it_reaches_the_store_until_it_leads_and_has_more_to_say(metrics):
    away = {"store": ""}
    metrics.stand_by(lambda: away)
    assert value(metrics, "dependency_up", dependency="store") == 1
    away["store"] = "the database does not answer"
    assert value(metrics, "dependency_up", dependency="store") == 0
    metrics.watch(FakeEngine(), lambda: 0, dict, lambda: {"store": "", "contacts": ""})
    assert metrics.render().count(b'dependency_up{dependency="store"} 1') == 1
    assert value(metrics, "dependency_up", dependency="contacts") == 1


def test_since_when_letters_wait_is_an_instant_and_0_while_none_does(metrics):
    metrics.waiting_since(NOW)
    assert value(metrics, "inbox_oldest_timestamp_seconds") == NOW.timestamp()
    metrics.waiting_since(None)
    assert value(metrics, "inbox_oldest_timestamp_seconds") == 0


def test_a_failed_reload_shows_until_one_works(metrics):
    before = value(metrics, "config_hash")
    metrics.load_failed()
    assert value(metrics, "config_last_reload_successful") == 0
    metrics.loaded({}, NOW + timedelta(minutes=1))
    assert value(metrics, "config_last_reload_successful") == 1
    assert value(metrics, "config_last_reload_success_timestamp_seconds") == NOW.timestamp() + 60
    assert value(metrics, "config_hash") != before


@dataclass
class Named:
    version: str = "v"


def test_what_the_process_takes_and_how_far_rules_may_go_is_shown(metrics):
    metrics.bound(Mode.SHADOW)
    assert {mode.value: value(metrics, "mode", mode=mode) for mode in Mode} == {
        "auto": 0,
        "approve": 0,
        "shadow": 1,
    }
    assert metrics.registry.get_sample_value("process_resident_memory_bytes") > 10 * 1024**2
    assert metrics.registry.get_sample_value("process_open_fds") > 3


def test_a_flap_is_counted(metrics):
    play(metrics, (opened(),))
    assert value(metrics, "flaps_total", rule="hotel/pms") == 0
    play(metrics, (opened(flaps=1),))
    assert value(metrics, "flaps_total", rule="hotel/pms") == 1


def test_two_hundred_rules_are_too_many_to_start_at_zero():
    metrics = Metrics()
    metrics.watch(FakeEngine(), lambda: 0, dict)
    metrics.loaded({f"p/{n}": Named() for n in range(200)}, NOW)
    assert value(metrics, "incidents_opened_total", rule="p/1") is None
    assert value(metrics, "mitigations_held", rule="p/1") is None
    metrics.loaded({f"p/{n}": Named() for n in range(199)}, NOW)
    assert value(metrics, "incidents_opened_total", rule="p/1") == 0
    assert value(metrics, "mitigations_held", rule="p/1") == 0


def test_promtool_finds_nothing_to_say(metrics):
    metrics.watch(FakeEngine(), lambda: 0, dict)
    play(metrics, TIMELINES[HELD])
    said = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.render(), capture_output=True, timeout=30, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
    assert b"_created" not in metrics.render()

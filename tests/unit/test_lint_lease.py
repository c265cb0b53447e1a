"""What is odd about holding and taking back: what proves recovery, and the times that belong together."""

from datetime import timedelta

import pytest
from tests.lints import CAUSE, FLAG, HTTP, RESTART, alerts, found, of_rule, rule

from stopgap.action import Danger
from stopgap.config.lints.masked_recovery import masked_recovery
from stopgap.config.lints.subject import Subject
from stopgap.config.nature import Nature
from stopgap.matcher import parse_matchers
from stopgap.rule import ProbeSpec, Rule, RungSpec, StepSpec

HELD = f"do: [{FLAG}]\nverify: [{HTTP}]"
CAUSED = f"{HELD}\nrecovered: [{CAUSE}]"


# --- masked-recovery ---


def test_what_only_its_own_alert_takes_back_is_odd_where_the_step_stands(tmp_path):
    body = f"ladder:\n  - {{do: [{RESTART}], verify: [{HTTP}]}}\n  - {{do: [{{wait: 5s}}, {FLAG}], verify: [{HTTP}]}}"
    (text,) = of_rule(tmp_path, body, "masked-recovery")
    assert text.startswith("6:27 rules[0].ladder[1].do[1]: without `recovered`, it is taken back")


@pytest.mark.parametrize(
    "body",
    [
        CAUSED,
        f"{HELD}\non_resolve: keep",
        f"do: [{RESTART}]\nverify: [{HTTP}]",
        f"do: [{RESTART}]\nactivate: [{FLAG}]\nverify: [{HTTP}]",
        f"{HELD}\nrecovered: [{HTTP}, {CAUSE}]",
        f"{HELD}\nrecovered: [{{http: {{url: 'http://x', status: 204}}}}]",
        "ladder: []",
    ],
)
def test_what_the_cause_takes_back_or_nothing_is_not(tmp_path, body):
    assert of_rule(tmp_path, body, "masked-recovery") == []


def test_a_recovery_that_asks_what_the_rung_makes_well_proves_nothing(tmp_path):
    (text,) = of_rule(tmp_path, f"{HELD}\nrecovered: [{HTTP}]", "masked-recovery")
    assert text.startswith("6:17 rules[0].recovered[0]: this asks what the mitigation itself makes well")


def test_of_a_rung_that_is_kept_it_proves_something(tmp_path):
    kept = f"{{do: [{RESTART}], verify: [{HTTP}]}}"
    held = f"{{do: [{FLAG}], verify: [{{http: 'http://y'}}]}}"
    body = f"ladder:\n  - {kept}\n  - {held}\nrecovered: [{HTTP}]"
    assert of_rule(tmp_path, body, "masked-recovery") == []


@pytest.mark.parametrize(
    ("params", "masked"),
    [
        ({"labels": {"alertname": "Down"}}, True),
        ({"labels": "Down"}, True),
        ({"labels": {"alertname": "CauseDown"}}, False),
        ({"labels": "CauseDown"}, False),
    ],
)
def test_to_ask_about_its_own_alert_is_no_question_about_the_cause(params, masked):
    rung = RungSpec("a", (StepSpec("flag", {}, timedelta(seconds=5)),))
    probe = ProbeSpec("alert", params)
    one = Rule("p", "one", "", parse_matchers('alertname=~"Down|Slow"'), recovered=(probe,), ladder=(rung,))
    natures = {("ladder", 0, "do", 0): Nature(Danger.BOUNDED, reverts=True)}
    assert bool(list(masked_recovery(Subject(one, natures)))) is masked


# --- short-hold ---


@pytest.mark.parametrize(
    ("recovered", "said"),
    [
        (
            "promql: 'avg_over_time(x[10m])', is: '< 1', after: 1m",
            "is shorter than the 9m that `recovered` looks back",
        ),
        ("http: 'http://cause', every: 6m", "is shorter than the 6m between two questions"),
        ("http: 'http://cause', for: 10m", "is shorter than the 10m that `for` wants"),
    ],
)
def test_a_hold_that_is_over_before_its_probes_can_tell_is_odd(tmp_path, recovered, said):
    body = f"{HELD}\nrecovered: [{CAUSE}, {{{recovered}}}]"
    (text,) = of_rule(tmp_path, body, "short-hold")
    assert "rules[0].recovered[1]: hold (5m)" in text
    assert said in text
    (text,) = of_rule(tmp_path, f"{body}\nhold: 4m", "short-hold")
    assert text.startswith("7:11 rules[0].hold: hold (4m)")


@pytest.mark.parametrize(
    "more",
    [
        "recovered: [{promql: 'avg_over_time(x[10m])', is: '< 1', after: 5m}]",
        "recovered: [{promql: 'avg_over_time(x[10m])', is: '< 1'}]\nhold: 10m",
        "recovered: [{http: 'http://cause', every: 5m}]",
        "recovered: [{http: 'http://cause', every: 6m}]\non_resolve: keep",
        "recovered: [{http: 'http://cause', every: 6m}]\nhold: 0",
    ],
)
def test_a_hold_that_is_long_enough_is_not(tmp_path, more):
    assert of_rule(tmp_path, f"{HELD}\n{more}", "short-hold") == []


# --- short-lease ---


def test_a_lease_that_ends_before_the_hold_is_odd(tmp_path):
    assert of_rule(tmp_path, f"{CAUSED}\nhold: 5h", "short-lease") == [
        "7:11 rules[0].hold: hold (5h) is not shorter than max_hold (4h)"
    ]
    (text,) = of_rule(tmp_path, f"{CAUSED}\nmax_hold: 5m", "short-lease")
    assert text.startswith("7:15 rules[0].max_hold:")
    assert of_rule(tmp_path, f"{CAUSED}\nmax_hold: 6m", "short-lease") == []
    assert of_rule(tmp_path, f"do: [{RESTART}]\nverify: [{HTTP}]\nhold: 5h", "short-lease") == []


def test_an_approval_that_may_take_longer_than_what_it_approves_is_odd(tmp_path):
    (text,) = of_rule(tmp_path, f"{CAUSED}\napproval: 6h", "short-lease")
    assert text.startswith("7:15 rules[0].approval: a person has longer to approve it (6h)")
    assert of_rule(tmp_path, f"{CAUSED}\napproval: 4h", "short-lease") == []


# --- what the pack's alerts say of the times ---

SLOW = alerts('alert: Down, expr: "rate(x[10m]) > 1", for: 5m, keep_firing_for: 1m')


def test_a_cooldown_that_is_over_while_the_alert_tells_of_the_past_is_odd(tmp_path):
    (text,) = of_rule(tmp_path, CAUSED, "short-cooldown", alerts=SLOW)
    assert text == (
        "3:12 rules[0].match: cooldown (10m) is shorter than the 16m for which `Down` tells of what is over"
        " (its ranges, for and keep_firing_for)"
    )
    (text,) = of_rule(tmp_path, f"{CAUSED}\nguard: {{cooldown: 15m}}", "short-cooldown", alerts=SLOW)
    assert text.startswith("7:23 rules[0].guard.cooldown: cooldown (15m)")


@pytest.mark.parametrize(
    ("body", "file"),
    [
        (f"{CAUSED}\nguard: {{cooldown: 16m}}", SLOW),
        (f"{CAUSED}\nguard: {{cooldown: 0s}}", SLOW),
        (CAUSED, alerts('alert: Down, expr: "up == 0", for: 10m')),
        (CAUSED, alerts('alert: Other, expr: "rate(x[1h]) > 1"')),
        (CAUSED, alerts("alert: Down")),
        (CAUSED, alerts("alert: Down, expr: up, for: long")),
        ("ladder: []", SLOW),
    ],
)
def test_a_cooldown_that_outlasts_the_alert_is_not(tmp_path, body, file):
    assert of_rule(tmp_path, body, "short-cooldown", alerts=file) == []


def test_the_cooldown_of_a_pack_is_said_of_the_rule_that_it_is_too_short_for(tmp_path):
    files = {
        "p/pack.yaml": "name: p\ndefaults: {cooldown: 12m}",
        "p/zz.yaml": SLOW,
        "p/a.yaml": rule(CAUSED),
    }
    (problem,) = found(tmp_path, files, "short-cooldown")
    assert (problem.path.rpartition("/")[2], problem.key) == ("a.yaml", "rules[0].match")
    assert problem.text.startswith("cooldown (12m)")


PENDING = alerts("alert: Down, expr: up == 0, for: 15m")


def test_a_flap_window_in_which_no_alert_can_fire_again_is_odd(tmp_path):
    (text,) = of_rule(tmp_path, CAUSED, "short-flap-window", alerts=PENDING)
    assert text.startswith("3:12 rules[0].match: flap_window (15m) is not longer than `for` of `Down` (15m)")
    (text,) = of_rule(tmp_path, f"{CAUSED}\nflap_window: 1m", "short-flap-window", alerts=PENDING)
    assert text.startswith("7:18 rules[0].flap_window:")


@pytest.mark.parametrize(
    "body",
    [
        f"{CAUSED}\nflap_window: 16m",
        f"{CAUSED}\nflap_window: 0",
        f"do: [{RESTART}]\nverify: [{HTTP}]",
    ],
)
def test_a_flap_window_that_is_longer_or_not_wanted_is_not(tmp_path, body):
    assert of_rule(tmp_path, body, "short-flap-window", alerts=PENDING) == []

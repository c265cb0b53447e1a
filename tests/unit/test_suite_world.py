"""What the world and people of a test can do to a rule."""

import pytest
from tests.suites import missed, one, pack, played

CACHE = "env:/etc/app.env#CACHE"


@pytest.fixture
def shop(tmp_path):
    return pack(tmp_path)


def plays(place, body):
    result = one(place, body)
    assert result.passed, [(failure.line, failure.miss) for failure in result.failures] + list(result.story)
    return result


# --- acts ---


def test_an_act_that_takes_time_ends_then_and_one_that_takes_too_long_is_unknown(shop):
    plays(
        shop,
        """
alerts: [{fire: Slow}]
world: [{action: restart, takes: 40s, times: 1}]
expect: [{at: 39s, phase: mitigating}, {at: 40s, phase: verifying}]
""",
    )
    plays(
        shop,
        """
alerts: [{fire: Slow}]
world: [{action: flag, takes: 31s, times: 1}]
expect: [{at: 30s, events: step_unknown}]
""",
    )


def test_a_temporary_failure_may_pass_a_permanent_one_may_not(tmp_path):
    rules = """
rules:
  - name: one
    match: alertname="Slow"
    do: [{restart: "systemd://app", retries: 2}]
"""
    place = pack(tmp_path, rules)
    plays(
        place,
        """
alerts: [{fire: Slow}]
world: [{action: restart, fails: busy, times: 2}]
expect: [{at: 10s, phase: mitigated, steps: [restart, restart, restart], events: [step_failed, step_failed]}]
""",
    )
    plays(
        place,
        """
alerts: [{fire: Slow}]
world: [{action: restart, fails: gone, permanent: true}, {at: 5m, action: restart, works: true}]
expect: [{at: 10s, handed_over: true, events: [step_failed, rung_failed]}]
""",
    )


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        (
            "done",
            "{at: 20s, phase: mitigated, events: [step_unknown, step_succeeded], not_events: [rung_failed]}",
        ),
        ("not_done", "{at: 20s, phase: mitigated, events: [step_unknown, step_started, step_succeeded]}"),
        ("unclear", "{at: 20s, phase: mitigated, events: [step_unknown, step_started, step_succeeded]}"),
    ],
)
def test_an_act_without_an_answer_is_settled_by_what_can_be_seen(shop, unknown, expected):
    plays(
        shop,
        f"""
alerts: [{{fire: Slow}}]
world: [{{action: "flag:", unknown: {unknown}, times: 1}}]
expect: [{expected}]
""",
    )


def test_what_is_not_idempotent_and_cannot_be_told_is_left_to_a_person(shop):
    plays(
        shop,
        """
alerts: [{fire: Slow}]
world: [{action: restart, unknown: unclear}]
expect: [{at: 5m, handed_over: true, reason: unknown_outcome}]
""",
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_daemon_that_dies_in_the_middle_of_an_act_goes_on(shop, when):
    result = plays(
        shop,
        f"""
alerts: [{{fire: Slow}}]
world: [{{action: "flag:", takes: 2s, crash: {when}, times: 1}}]
expect: [{{at: 30s, phase: mitigated, incidents: 1, values: {{"{CACHE}": long}}}}]
""",
    )
    steps = [
        line
        for line in result.seen.story(result.seen.lines[next(iter(result.seen.states))][0].at)
        if "flag" in line
    ]
    assert len(steps) == (2 if when == "before" else 1)


def test_a_daemon_that_dies_while_it_holds_goes_on_holding(shop):
    plays(
        shop,
        """
alerts: [{fire: Slow}, {at: 3m, resolve: Slow}]
world: [{at: 1m, crash: now}, {at: 4m, crash: now}]
expect: [{at: 2m, phase: mitigated}, {at: 5m30s, phase: recovering}, {at: 6m, phase: closed, outcome: recovered}]
""",
    )


def test_a_value_that_somebody_changes_is_left_alone_and_the_others_go_back(shop):
    plays(
        shop,
        f"""
alerts: [{{fire: Slow}}, {{at: 3m, resolve: Slow}}]
world:
  - {{values: {{"{CACHE}": short, "env:/etc/app.env#KEY": old}}}}
  - {{at: 2m, values: {{"{CACHE}": medium}}}}
expect: [{{at: 6m, events: [drifted, closed], values: {{"{CACHE}": medium, "env:/etc/app.env#KEY": old}}}}]
""",
    )


def test_a_revert_may_fail_and_an_observation_too(shop):
    plays(
        shop,
        """
alerts: [{fire: Slow}, {at: 3m, resolve: Slow}]
world: [{action: flag, on: revert, fails: read only, permanent: true}]
expect: [{at: 6m, handed_over: true, reason: revert_failed, events: [revert_failed], held: [CACHE, KEY]}]
""",
    )
    plays(
        shop,
        """
alerts: [{fire: Slow}]
world: [{action: flag, on: observe, fails: not found}]
expect: [{at: 0s, events: [step_failed, rung_failed]}]
""",
    )


# --- probes and queries ---


def test_a_value_of_a_query_is_judged_by_the_condition_of_the_probe(shop):
    plays(
        shop,
        """
alerts: [{fire: Slow}]
world:
  - {query: max(slow), value: 3}
  - {at: 25s, query: max(slow), value: [0, 0.5]}
expect: [{at: 24s, phase: verifying, events: probe_unhealthy}, {at: 25s, phase: mitigated}]
""",
    )
    plays(
        shop,
        """
alerts: [{fire: Slow}]
world: [{query: slow, value: none}]
expect: [{at: 31s, phase: verifying, events: probe_unknown, told: {default: rung_held}}]
""",
    )


def test_without_a_recovered_the_alert_itself_is_asked_in_the_prometheus_of_the_play(tmp_path):
    rules = """
rules:
  - name: one
    match: alertname="Slow"
    target: app
    do: [{flag: {at: "env:///etc/app.env", set: {A: b}}}]
    hold: 1m
"""
    place = pack(tmp_path, rules)
    plays(
        place,
        """
alerts:
  - {fire: Slow, labels: {job: a}, name: a}
  - {at: 5s, fire: Slow, labels: {job: b}, name: b}
  - {at: 2m, resolve: a}
  - {at: 3m, resolve: b}
world: [{query: 'up{job="a"}', value: 1}, {at: 3m, query: 'up{job="b"}', value: 0}, {at: 10m, query: 'up{job="b"}', value: 1}]
expect: [{at: 2m30s, phase: mitigated}, {at: 9m, phase: recovering}, {at: 12m, phase: closed, incidents: 1}]
""",
    )


def test_a_rung_is_skipped_where_its_precondition_does_not_hold(shop):
    plays(
        shop,
        """
alerts: [{fire: Slow}]
world: [{probe: //ready/, is: unhealthy}, {probe: "tcp spare", is: unhealthy}]
expect: [{at: 1m, handed_over: true, refused: precondition_failed, told: {oncall: handed_over}}]
""",
    )


def test_a_population_is_measured_by_a_query(tmp_path):
    rules = """
rules:
  - name: one
    match: alertname="Slow"
    target: "{{ labels.instance }}"
    do: [{flag: {at: "env:///etc/{{ labels.instance }}.env", set: {A: b}}}]
    guard: {blast_radius: {total: count(up), max: 50%}}
"""
    place = pack(tmp_path, rules)
    plays(
        place,
        """
alerts: [{fire: Slow, each: {instance: [a, b, c]}}]
world: [{query: count(up), value: 4}]
expect: [{at: 0s, incidents: 3, refused: blast_radius}, {at: 0s, target: a, phase: mitigated}]
""",
    )
    plays(
        place,
        """
alerts: [{fire: Slow, labels: {instance: a}}]
expect: [{at: 0s, refused: blast_radius}]
""",
    )


# --- alerts ---


def test_labels_come_from_the_matchers_from_the_file_and_from_the_alert(shop):
    (result,) = played(
        shop,
        """
labels: {zone: eu, severity: critical}
tests:
  - name: labels
    alerts: [{fire: Slow, labels: {zone: us}, annotations: {summary: slow}}]
    expect: [{at: 0s, severity: P1, incidents: 1}]
""",
    )
    (state,) = result.seen.states.values()
    assert result.passed
    assert state.labels == {"alertname": "Slow", "job": "shop", "severity": "critical", "zone": "us"}
    assert state.annotations == {"summary": "slow"}


def test_alertmanager_repeats_what_fires_so_that_new_rules_take_it(shop):
    body = """
vars: {hold: 1m}
repeat: 1h
alerts: [{fire: Slow}, {at: 3m, resolve: Slow}, {at: 5m, fire: Slow}]
people: [{at: 10m, close: anna, keep: true, why: mine}]
expect: [{at: 3h, incidents: 2, outcome: kept}]
"""
    plays(shop, body)


def test_a_reload_puts_other_rules_in_force(shop):
    plays(
        shop,
        """
alerts: [{fire: Slow}, {at: 3m, resolve: Slow}, {at: 30m, fire: Slow}, {at: 31m, resolve: Slow}]
world: [{at: 10m, reload: {hold: 10m}}]
expect: [{at: 6m, incidents: 1, phase: closed}, {at: 40m, incidents: 2, phase: recovering}, {at: 42m, phase: closed}]
""",
    )


# --- people ---


def test_people_answer_brake_and_take_back(shop):
    plays(
        shop,
        """
mode: approve
alerts: [{fire: Slow}]
people:
  - {at: 1m, ack: anna}
  - {at: 2m, approve: anna}
  - {at: 3m, brake: ben, rule: calm, for: 1h}
  - {at: 4m, note: ben, why: looking}
  - {at: 10m, extend: ben, for: 2h}
  - {at: 20m, revert: anna}
  - {at: 30m, release: ben, rule: calm}
expect:
  - {at: 1m, phase: waiting, told: {default: approval_requested}}
  - {at: 3m, phase: mitigated}
  - {at: 21m, phase: open, held: [], steps: [take back flag], events: [acknowledged, note_added, lease_extended]}
""",
    )


def test_an_order_that_is_not_possible_fails_the_test_unless_it_says_so(shop):
    body = """
alerts: [{fire: Slow}]
people: [{at: 1m, approve: anna}]
expect: [{at: 2m, phase: mitigated}]
"""
    result = one(shop, body)
    assert list(missed(result)) == ["people"]
    assert "approve was refused: " in missed(result)["people"]
    assert not one(shop, body.replace("anna}", "anna, refused: another reason}")).passed
    assert one(shop, body.replace("anna}", "anna, refused: waits for}")).passed
    possible = one(shop, body.replace("approve: anna", "ack: anna, refused: never"))
    assert missed(possible) == {"people": "ack was possible"}
    nobody = one(shop, body.replace("fire: Slow", "fire: Other"))
    assert "no incident fits" in missed(nobody)["people"]


# --- what nobody asked about ---


def test_a_fact_of_which_nobody_asked_fails_the_test(shop):
    result = one(
        shop,
        """
alerts: [{fire: Slow}]
world:
  - {probe: //raedy/, is: unhealthy}
  - {query: fast, value: 1}
  - {action: reboot, fails: x}
  - {action: flag, on: revert, fails: x}
  - {values: {"env:/etc/app.env#CASH": short}}
expect: [{at: 1m, phase: mitigated}]
""",
    )
    said = [failure.miss.got for failure in result.failures]
    assert said == [
        "no probe that was asked has these words: //raedy/",
        "no query that was asked has these words: fast",
        "no step that ran has these words: reboot",
        "no step that was taken back has these words: flag",
        "no step asked for this resource: env:/etc/app.env#CASH",
    ]
    assert [failure.line for failure in result.failures] == [5, 6, 7, 8, 9]


# --- secrets, vars, modes ---


def test_secrets_need_no_environment_and_are_masked(shop):
    result = plays(
        shop,
        """
alerts: [{fire: Slow}]
expect: [{at: 1m, values: {"env:/etc/app.env#KEY": "**********"}}]
""",
    )
    assert "placeholder" not in str(result.seen.lines)


def test_shadow_does_nothing_and_says_what_it_would_do(shop):
    plays(
        shop,
        """
mode: shadow
alerts: [{fire: Slow}]
expect: [{at: 1m, reason: shadow, events: shadow_planned, not_events: [step_started]}]
""",
    )


def test_a_rule_on_probation_is_held_in_shadow(shop):
    plays(
        shop,
        """
probation: 1h
alerts: [{fire: Slow}, {at: 10m, resolve: Slow}, {at: 2h, fire: Slow}]
expect: [{at: 1m, not_events: [step_started]}, {at: 2h1m, phase: mitigated}]
""",
    )


def test_a_test_begins_when_it_says(tmp_path):
    rules = """
rules:
  - name: one
    match: alertname="Slow"
    do: [{restart: "systemd://app"}]
    guard: {windows: {deny: ["Fri 16:00-24:00 UTC"]}}
"""
    plays(
        pack(tmp_path, rules),
        """
start: 2026-01-09T15:59:00Z
alerts: [{at: 2m, fire: Slow}]
expect: [{at: 2m, refused: outside_window}, {at: 8h2m, phase: mitigated}]
""",
    )

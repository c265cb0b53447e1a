"""What a test of a rule can expect, and what it says when that is not so."""

import pytest
from tests.suites import CALM, missed, one, pack

HAPPY = """
alerts: [{fire: Slow}, {at: 10m, resolve: Slow}]
world: [{values: {"env:/etc/app.env#CACHE": short}}]
expect:
"""


@pytest.fixture
def shop(tmp_path):
    return pack(tmp_path)


def expecting(shop, *lines):
    return one(shop, HAPPY + "".join(f"  - {line}\n" for line in lines))


def test_all_that_holds_passes(shop):
    result = expecting(
        shop,
        '{at: 0s, phase: verifying, steps: ["flag: set CACHE=long", restart], rung: cache, incidents: 1}',
        '{at: 11s, phase: mitigated, held: ["*#CACHE", "*#KEY"], told: {oncall: mitigated}, severity: P2, flaps: 0}',
        '{at: 11s, values: {"env:/etc/app.env#CACHE": long}, handed_over: false, events: [opened, mitigated]}',
        "{at: 12m, phase: closed, outcome: recovered, held: [], steps: [take back flag, restart], told: {oncall: closed}}",
        '{at: 12m, values: {"env:/etc/app.env#CACHE": short}, not_told: {lead: anything}, not_refused: cooldown}',
    )
    assert result.passed, result.failures


@pytest.mark.parametrize(
    ("line", "key", "got"),
    [
        ("{at: 0s, phase: mitigated}", "phase", "verifying"),
        ("{at: 12m, outcome: reverted}", "outcome", "recovered"),
        ("{at: 1m, outcome: reverted}", "outcome", "none"),
        ("{at: 1m, reason: cooldown}", "reason", "none"),
        ("{at: 1m, handed_over: true}", "handed_over", "false"),
        ("{at: 1m, severity: P0}", "severity", "P2"),
        ("{at: 1m, flaps: 1}", "flaps", "0"),
        ("{at: 1m, rung: more}", "rung", "cache"),
        ("{at: 1m, incidents: 2}", "incidents", "1"),
        ("{at: 1m, held: []}", "held", "env:/etc/app.env#CACHE, env:/etc/app.env#KEY"),
        ('{at: 1m, held: ["*#CACHE", "*#OTHER"]}', "held", "env:/etc/app.env#CACHE, env:/etc/app.env#KEY"),
        ("{at: 1m, steps: [restart, flag]}", "steps", None),
        ("{at: 1m, not_steps: [restart]}", "not_steps", "restart: restart systemd:app.service"),
        ("{at: 1m, events: [mitigated, opened]}", "events", None),
        ("{at: 1m, not_events: [mitigated, closed]}", "not_events", "mitigated"),
        ("{at: 1m, refused: [cooldown]}", "refused", "none"),
        ("{at: 1m, told: {lead: mitigated}}", "told.lead", "none"),
        ("{at: 1m, told: {oncall: [mitigated, after 5m]}}", "told.oncall", "mitigated"),
        ("{at: 1m, not_told: {oncall: mitigated}}", "not_told.oncall", "mitigated"),
        ("{at: 1m, not_told: {oncall: anything}}", "not_told.oncall", "mitigated"),
        ("{at: 1m, not_told: {onkall: anything}}", "not_told.onkall", "no rule tells onkall of anything"),
        (
            "{at: 1m, not_told: {lead: [closed, closde]}}",
            "not_told.lead",
            "no event, and no clock of a rule: closde",
        ),
        (
            "{at: 1m, not_told: {lead: after 6m}}",
            "not_told.lead",
            "no event, and no clock of a rule: after 6m",
        ),
        (
            '{at: 1m, values: {"env:/etc/app.env#CACHE": short}}',
            "values.env:/etc/app.env#CACHE",
            "long",
        ),
        ("{at: 1m, rule: other, phase: open}", "incident", "only shop/calm on app"),
        ("{at: 1m, target: db, phase: open}", "incident", "only shop/calm on app"),
        ("{at: 1m, incident: 2, phase: open}", "incident", "only shop/calm on app"),
    ],
)
def test_what_does_not_hold_is_said_with_what_was_got(shop, line, key, got):
    result = expecting(shop, line)
    assert list(missed(result)) == [key]
    assert got is None or missed(result)[key] == got


@pytest.mark.parametrize(
    ("alert", "why"),
    [
        ("fire: Slw", 'no rule takes Slw: shop/calm wants alertname="Slow", and it has alertname="Slw"'),
        (
            "fire: Slow, labels: {job: pay}",
            'no rule takes Slow: shop/calm wants job="shop", and it has job="pay"',
        ),
    ],
)
def test_an_alert_that_opens_nothing_is_said_with_what_the_nearest_rule_misses(shop, alert, why):
    result = one(shop, f"alerts: [{{{alert}}}]\nexpect: [{{at: 1m, phase: mitigated}}]")
    assert missed(result) == {"incident": f"none opened; {why}"}


def test_a_label_that_a_rule_leaves_a_choice_of_is_missed_where_a_test_gives_none(tmp_path):
    shop = pack(tmp_path, CALM.replace('job="shop"', 'job=~"shop.*"'))
    result = one(shop, "alerts: [{fire: Slow}]\nexpect: [{at: 1m, rule: calm, target: app}]")
    (miss,) = (failure.miss for failure in result.failures)
    assert miss.expected == "one of calm on app"
    assert miss.got.endswith('shop/calm wants job=~"shop.*", and it has no label job')


def test_a_failure_points_to_its_line_and_tells_the_timeline_until_then(shop):
    result = expecting(
        shop, "{at: 11s, phase: mitigated}", "{at: 1m,\n     phase: open}", "{at: 2m, rung: more}"
    )
    assert [(one.line, one.at) for one in result.failures] == [(8, "1m"), (9, "2m")]
    assert result.story[0].split() == ["0s", "opened"]
    assert result.story[-1].split()[:2] == ["1m10s", "probe_healthy"] or "mitigated" in "".join(result.story)
    assert not any(line.strip().startswith("2m") for line in result.story)


def test_of_several_incidents_the_newest_is_meant_unless_one_is_named(shop):
    body = """
alerts:
  - {fire: Slow}
  - {at: 5m, resolve: Slow}
  - {at: 8m, fire: Slow}
expect:
  - {at: 9m, incidents: 2, phase: mitigated, flaps: 1}
  - {at: 9m, incident: 1, phase: closed, rule: calm}
  - {at: 9m, incident: 2, rule: shop/calm, target: app, phase: mitigated}
"""
    result = one(shop, body)
    assert result.passed, result.failures
    wrong = one(shop, body.replace("incidents: 2", "incidents: 1"))
    assert any(" 2 opened" in line for line in wrong.story)


def test_what_happens_at_an_instant_is_there_when_it_is_looked_at(shop):
    result = one(
        shop,
        """
alerts: [{fire: Slow}]
world: [{at: 70s, probe: //ready/, is: unhealthy}, {query: slow, value: 0}, {at: 70s, query: slow, value: 2}]
expect:
  - {at: 70s, events: [probe_healthy, probe_healthy, probe_unhealthy, probe_unhealthy]}
""",
    )
    assert result.passed, result.failures


def test_a_beginning_in_another_zone_is_the_same_instant(shop):
    result = one(shop, "start: 2026-01-05T11:30:00+02:00" + HAPPY + "  - {at: 0s, phase: verifying}\n")
    ((name, (opened, *_)),) = result.seen.lines.items()
    assert (name.startswith("INC-20260105-093000"), opened.at.isoformat()) == (
        True,
        "2026-01-05T09:30:00+00:00",
    )


def test_an_alert_that_fires_again_may_say_something_else(shop):
    body = """
alerts: [{fire: Slow, labels: {zone: eu}}, {at: 1m, resolve: Slow}, {at: 1h, fire: Slow, annotations: {summary: again}}]
expect: [{at: 2h, incidents: 2}]
"""
    first, second = one(shop, body).seen.states.values()
    assert (first.annotations, second.annotations) == ({}, {"summary": "again"})
    assert second.labels == first.labels

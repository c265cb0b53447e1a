"""Coverage: what of each rule the tests came to."""

from tests.suites import one, pack

from stopgap.suite.coverage import Coverage

RULES = """
rules:
  - name: careful
    match: alertname="Slow"
    target: app
    yield_to: [calm]
    ladder:
      - {name: ask, approval: 5m, do: [{flag: {at: "env:///etc/app.env", set: {A: b}}}]}
    guard: {cooldown: 10m, windows: {deny: ["Fri 16:00-24:00 UTC"]}, blast_radius: {total: 10, max: 2}}
    escalate: [{when: opened, notify: [oncall]}, {every: 30m, even_if: mitigated, notify: [lead]}]
  - {name: calm, match: alertname="Calm", ladder: []}
"""


def test_it_counts_what_a_rule_says_itself_and_what_was_reached(tmp_path):
    place = pack(tmp_path, RULES)
    result = one(
        place,
        """
alerts: [{fire: Slow}]
people: [{at: 1m, approve: anna}]
expect: [{at: 2m, phase: mitigated, held: ["#A"]}, {at: 31m, told: {lead: every 30m even if mitigated}}]
""",
    )
    assert result.passed, result.failures
    coverage = Coverage()
    coverage.know(result.seen.rules.values())
    coverage.add(result.seen)
    assert coverage.rules["shop/careful"].kinds == {
        "rungs": {"ask": True},
        "taken back": {"ask": False},
        "guards": {
            "cooldown": False,
            "budget_rule": False,
            "circuit_open": False,
            "outside_window": False,
            "blast_radius": False,
            "yielded": False,
            "approval": True,
        },
        "escalations": {"opened → oncall": True, "every 30m even if mitigated → lead": True},
    }
    assert coverage.rules["shop/calm"].kinds == {
        "rungs": {},
        "taken back": {},
        "guards": {},
        "escalations": {},
    }


def test_what_a_second_test_reaches_is_added(tmp_path):
    place = pack(tmp_path, RULES)
    coverage = Coverage()
    for lines in (
        "alerts: [{fire: Slow}, {at: 5m, resolve: Slow}]\npeople: [{at: 1m, approve: anna}]\nexpect: [{at: 20m, phase: closed}]",
        "start: 2026-01-09T17:00:00Z\nalerts: [{fire: Slow}]\nexpect: [{at: 1m, refused: outside_window}]",
    ):
        result = one(place, lines)
        assert result.passed, result.failures
        coverage.know(result.seen.rules.values())
        coverage.add(result.seen)
    reached = coverage.rules["shop/careful"]
    assert reached.backs == {"ask": True}
    assert reached.guards["outside_window"]

"""The file of a drill: what it may say, and what is said about a wrong one."""

from datetime import timedelta

import pytest

from stopgap.config import load
from stopgap.demo.lab import shipped_rules
from stopgap.drill.expectation import Expectation, Kind
from stopgap.drill.script import read_script
from stopgap.errors import ConfigError
from stopgap.stock import bare_context, build_catalog

WHOLE = """
name: pms-down
proves: Mock mode is on within two minutes
alert:
  labels: {alertname: PMSCircuitBreakerOpen, shard: 010}
  annotations: {summary: it is a drill}
before: Stop the PMS.
for: 5m
until: mitigated
after: Start it again.
limit: 20m
expect:
  - {event: mitigated, within: 2m, since: opened, rule: hotel/pms}
  - {told: oncall, when: mitigated}
  - {outcome: recovered}
  - {not: refused, reason: brake}
"""


@pytest.fixture
def wrong(tmp_path):
    """Return what is said about a file, by line and column."""

    def read(text):
        file = tmp_path / "x.drill.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_script(file)
        return [str(problem).removeprefix(str(file)) for problem in caught.value.problems]

    return read


def test_a_drill_is_what_its_file_says(tmp_path):
    file = tmp_path / "x.drill.yaml"
    file.write_text(WHOLE)
    script = read_script(file)
    assert (script.name, script.until, script.before) == ("pms-down", "mitigated", "Stop the PMS.")
    assert (script.lasts, script.limit) == (timedelta(minutes=5), timedelta(minutes=20))
    assert script.labels == {"alertname": "PMSCircuitBreakerOpen", "shard": "010"}
    assert script.expect == (
        Expectation(Kind.EVENT, "mitigated", timedelta(minutes=2), since="opened", rule="hotel/pms"),
        Expectation(Kind.TOLD, "oncall", when="mitigated"),
        Expectation(Kind.OUTCOME, "recovered"),
        Expectation(Kind.NOT, "refused", reason="brake"),
    )


def test_the_smallest_drill_has_defaults(tmp_path):
    file = tmp_path / "x.drill.yaml"
    file.write_text("{name: x, proves: y, alert: {labels: {alertname: A}}, expect: [{event: opened}]}")
    script = read_script(file)
    assert (script.lasts, script.limit) == (timedelta(minutes=10), timedelta(hours=1))
    assert (script.until, script.before, script.after, script.annotations) == ("", "", "", {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("proves:", "prooves:", "unknown key `prooves`, did you mean `proves`?"),
        ("until: mitigated", "until: mitigatd", "did you mean `mitigated`?"),
        ("outcome: recovered", "outcome: recoverd", "did you mean `recovered`?"),
        ("for: 5m", "for: 5h", "longer than 4h"),
        ("for: 5m", "for: 5 minutes", "is not a duration"),
        ("for: 5m", "for: 30m", "the alert fires longer than the drill is watched, raise `limit`"),
        ("within: 2m", "within: 21m", "longer than the drill is watched, raise `limit`"),
        ("limit: 20m", "limit: 2d", "longer than 1d"),
        ("shard: 010", "stopgap_drill: x", "is set by Stopgap itself: remove it"),
        ("{event: mitigated,", "{event: mitigated, told: me,", "exactly one of event, not, told, outcome"),
        ("{told: oncall, when: mitigated}", "{when: mitigated}", "exactly one of event, not, told, outcome"),
        ("{outcome: recovered}", "{outcome: recovered, reason: x}", "`reason` goes with `event` and `not`"),
        ("{outcome: recovered}", "{outcome: recovered, when: closed}", "`when` goes with `told`"),
        ("{outcome: recovered}", "{outcome: recovered, since: opened}", "`since` goes with `within`"),
        ("hotel/pms", "pms", "is not well formed"),
        ("name: pms-down", "name: ../x", "is not well formed"),
        ("  labels: {alertname: PMSCircuitBreakerOpen, shard: 010}", "  labels: {}", "no labels"),
    ],
)
def test_each_mistake_is_named_with_its_place_and_cure(wrong, old, new, said):
    assert old in WHOLE
    (problem,) = wrong(WHOLE.replace(old, new))
    assert said in problem
    line = next(i for i, text in enumerate(WHOLE.splitlines(), 1) if old in text)
    assert problem.startswith(f":{line}:")


def test_an_empty_file_and_one_that_is_no_yaml_are_said_to_be_so(wrong, tmp_path):
    assert "the file is empty" in wrong("")[0]
    assert wrong("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_script(tmp_path / "nowhere")


DRILLS = sorted(shipped_rules().glob("*/drills/*.drill.yaml"))


def test_the_three_game_days_of_the_handbook_ship():
    assert [path.name.removesuffix(".drill.yaml") for path in DRILLS] == [
        "database-unavailable",
        "latency-spike",
        "pms-down",
    ]


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.name)
def test_each_shipped_drill_is_taken_by_a_rule_and_names_people_whom_it_tells(path):
    script = read_script(path)
    loaded = load(shipped_rules(), build_catalog(bare_context()), environ={})
    (rule,) = loaded.index.find(script.labels)
    told = {name for step in rule.escalate for name in step.notify}
    assert {one.word for one in script.expect if one.kind is Kind.TOLD} <= told
    assert script.name == path.name.removesuffix(".drill.yaml")


def test_drills_are_no_rules_wherever_they_stand(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.yaml").write_text("rules: [{name: a, match: 'alertname=\"A\"', ladder: []}]")
    (tmp_path / "shop" / "a.drill.yaml").write_text("name: x")
    (tmp_path / "b.drill.yml").write_text("name: x")
    loaded = load(tmp_path, build_catalog(bare_context()), environ={})
    assert [rule.id for rule in loaded.rules] == ["shop/a"]

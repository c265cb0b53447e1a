"""What rules would have done: small histories, replayed to the live engine, and what is counted of it."""

from datetime import timedelta

import pytest
from tests.backtesting import DAY, START, alert, at, ends, fires
from tests.suites import pack

from stopgap.backtest.assumed import Assumed
from stopgap.backtest.compare import differences
from stopgap.backtest.history import HistoryError, Period
from stopgap.backtest.replay import Replay, read as read_history
from stopgap.backtest.result import Hold, Score
from stopgap.backtest.shape import compared, shape
from stopgap.config import load
from stopgap.probe import Verdict
from stopgap.simulate.environ import PLACEHOLDER, Environ
from stopgap.simulate.stage import Stage
from stopgap.stock import build_catalog

RULES = """
rules:
  - name: mock
    match: alertname="Down"
    target: "{{ labels.instance }}"
    ladder:
      - name: mock mode
        do: [{flag: {at: "env:///etc/{{ labels.instance }}.env", set: {MODE: mock}}}]
        verify: [{http: {url: "http://127.0.0.1:8000/ready"}, after: 5s, within: 60s}]
    recovered: [{http: {url: "http://127.0.0.1:8000/cause"}}]
    escalate: [{when: mitigated, notify: [default]}]
"""
A, B, C = alert(instance="a"), alert(instance="b"), alert("Slow", instance="a")


class Told:
    """A history that is at hand."""

    name = "a history"
    caveats = ("it is made up",)

    def __init__(self, *transitions):
        self._transitions = transitions

    async def transitions(self, period, progress):
        for one in self._transitions:
            yield one


@pytest.fixture
def rulebook(tmp_path):
    """Loads rules of one pack, `shop`."""

    def load_(text=RULES, site="contacts: {default: {url_env: CHAT}}\n"):
        directory = tmp_path / f"rules{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        (directory / "site.yaml").write_text(site)
        (directory / "shop.yaml").write_text(text)
        return load(directory, Stage(build_catalog).catalog, environ=Environ(CHAT="json://x")).rulebook

    return load_


def backtest(book, *transitions, assumed=Assumed(), period=DAY):  # noqa: B008 - a frozen value
    replay = Replay(transitions, period, assumed)
    shares = []
    tally = replay.run(build_catalog, book, lambda _pack, _name: True, shares.append)
    assert shares[-1] == 1.0
    return replay.result("rules/", Told(), book, tally)


def stretches(result):
    """Return the courses of all incidents, in minutes from the start; what takes no time is left out."""

    def minutes(instant):
        return round((instant - START).total_seconds() / 60, 1)

    return [
        [
            (one.standing.value, minutes(one.since), minutes(one.until))
            for one in trace.stretches
            if minutes(one.since) < minutes(one.until)
        ]
        for trace in result.traces
    ]


def test_an_incident_is_counted_from_its_alert_to_its_end(rulebook):
    result = backtest(rulebook(), fires("09:10", A), ends("10:10", A))
    score = result.rules["shop/mock"]
    assert (score.incidents, score.mitigations, score.mitigated, score.reverts, score.unfinished) == (
        1,
        1,
        1,
        1,
        0,
    )
    assert score.outcomes == {"recovered": 1}
    assert score.messages == {"default": 1}
    assert score.refusals == {}
    hold = score.longest_hold
    assert (hold.target, hold.lasted, hold.since) == ("a", timedelta(hours=1, minutes=5), at("09:10"))
    assert score.held == hold.lasted
    assert (score.headroom.left, str(score.headroom.of), score.headroom.at) == (2, "3/1h", at("09:10"))
    assert stretches(result) == [[("mitigating", 10, 10.1), ("mitigated", 10.1, 75)]]
    assert (result.alerts.transitions, result.alerts.distinct, result.alerts.unmatched) == (2, 1, 0)


def test_what_no_rule_takes_is_counted_once_per_alert(rulebook):
    other = alert("Other")
    result = backtest(rulebook(), fires("+0", other), ends("09:20", other), fires("09:30", other))
    assert (result.alerts.unmatched, result.alerts.distinct, result.alerts.already) == (1, 1, 1)
    assert shape(result)["alerts"]["untaken"] == ["Other"]
    assert result.total.incidents == 0
    assert result.total.headroom.at is None


def test_an_incident_that_goes_on_at_the_end_is_held_until_then(rulebook):
    result = backtest(rulebook(), fires("09:10", A))
    assert (result.total.unfinished, result.total.past_max_hold) == (1, 1)
    assert result.total.longest_hold.lasted == timedelta(hours=23, minutes=50)
    assert stretches(result)[0][-1] == ("mitigated", 10.1, 1440)


def test_an_alert_that_begins_and_ends_at_one_instant_is_over(rulebook):
    result = backtest(rulebook(), fires("09:10", A), fires("09:10", B), ends("09:10", A), ends("10:00", B))
    assert result.rules["shop/mock"].incidents == 2
    assert result.rules["shop/mock"].outcomes == {"self_resolved": 1, "recovered": 1}


def test_budgets_refuse_and_the_least_headroom_is_none(rulebook):
    crowd = [alert(instance=f"i{i}") for i in range(4)]
    result = backtest(rulebook(), *(fires(f"09:0{i}", one) for i, one in enumerate(crowd)))
    score = result.rules["shop/mock"]
    assert score.refusals == {"budget_rule": 1}
    assert (score.mitigations, score.headroom.left, score.headroom.at) == (4, 0, at("09:02"))
    assert ("waiting", 3, 60) in stretches(result)[3]
    assert result.total.headroom.left == 17


def test_probes_that_would_have_been_unhealthy_end_with_a_person(rulebook):
    result = backtest(rulebook(), fires("09:10", A), ends("09:40", A), assumed=Assumed(Verdict.UNHEALTHY))
    score = result.rules["shop/mock"]
    assert (score.mitigated, score.failed, score.handed_over, score.reverts) == (0, 1, 1, 1)
    assert score.hand_overs == {"ladder_exhausted": 1}
    assert stretches(result)[0][-1][0] == "handed_over"
    assert "each verify probe was unhealthy" in result.assumed[1]


def test_probes_that_could_not_have_said_leave_it_held_and_hand_over(rulebook):
    result = backtest(rulebook(), fires("09:10", A), ends("11:00", A), assumed=Assumed(Verdict.UNKNOWN))
    score = result.rules["shop/mock"]
    assert score.hand_overs == {"verdict_unknown": 1}
    assert score.longest_hold.lasted == timedelta(hours=1, minutes=55)


CAREFUL = RULES.replace("    target:", "    mode: MODE\n    target:", 1)


def test_a_rule_in_shadow_plans_and_acts_only_when_asked_to(rulebook):
    book = rulebook(CAREFUL.replace("MODE\n", "shadow\n"))
    story = fires("09:10", A), ends("09:40", A)
    watched, acted = backtest(book, *story), backtest(book, *story, assumed=Assumed(act=True))
    assert (watched.total.shadows, watched.total.mitigations) == (1, 0)
    assert (acted.total.shadows, acted.total.mitigations) == (0, 1)
    assert any("kept to it" in text for text in watched.assumed)
    assert any("as if it were auto" in text for text in acted.assumed)


def test_nobody_approves_unless_people_are_assumed_to(rulebook):
    book = rulebook(CAREFUL.replace("MODE\n", "approve\n"))
    story = fires("09:10", A), ends("10:40", A)
    alone, answered = backtest(book, *story), backtest(book, *story, assumed=Assumed(approve=True))
    assert alone.total.refusals == {"mode_approve": 1, "approval_expired": 1}
    assert alone.total.hand_overs == {"approval_expired": 1}
    assert (answered.total.mitigations, answered.total.handed_over) == (1, 0)


TWO = (
    RULES
    + """
  - name: slow
    match: alertname="Slow"
    target: TARGET
    ladder:
      - {name: other, do: [{flag: {at: "env:///etc/a.env", set: {MODE: mock}}}]}
"""
)


def test_two_rules_that_want_one_target_are_an_overlap(rulebook):
    result = backtest(
        rulebook(TWO.replace("TARGET", "a")), fires("09:10", A), fires("09:20", C), ends("10:00", C)
    )
    (overlap, resource) = result.overlaps
    assert (overlap.kind, overlap.of, overlap.rules) == ("target", "a", ("shop/mock", "shop/slow"))
    assert (overlap.times, overlap.first_at) == (1, at("09:20"))
    assert resource.kind == "resource"


def test_two_rules_that_want_one_resource_are_an_overlap_too(rulebook):
    result = backtest(
        rulebook(TWO.replace("TARGET", "other")), fires("09:10", A), fires("09:20", C), ends("10:00", C)
    )
    (overlap,) = result.overlaps
    assert (overlap.kind, overlap.of) == ("resource", "env:/etc/a.env#MODE")
    assert result.total.refusals == {"resource_held": 1}
    assert stretches(result)[0] == [("waiting", 20, 60)]


def test_many_targets_at_once_are_a_storm(rulebook):
    crowd = [alert(instance=f"i{i:02d}") for i in range(15)]
    result = backtest(
        rulebook(), *(fires("09:00", one) for one in crowd), *(ends("09:30", one) for one in crowd)
    )
    (storm,) = result.storms
    assert storm.targets == 15
    assert storm.since - at("09:00") < timedelta(seconds=10)
    assert storm.until is not None
    assert result.total.refusals["storm"] > 0


def test_a_population_that_nobody_can_measure_is_assumed_to_be_large_and_a_number_counts(rulebook):
    radius = RULES + "    guard: {blast_radius: {total: TOTAL, max: 50%}}\n"
    story = [fires("09:00", A), fires("09:01", B)]
    asked = backtest(rulebook(radius.replace("TOTAL", "count(up)")), *story)
    given = backtest(rulebook(radius.replace("TOTAL", "3")), *story)
    assert (asked.total.mitigations, asked.total.refusals) == (2, {})
    assert (given.total.mitigations, given.total.refusals) == (1, {"blast_radius": 1})
    assert any("blast radius" in text for text in asked.assumed)
    assert not any("blast radius" in text for text in given.assumed)


def test_an_alert_that_comes_back_soon_is_a_flap(rulebook):
    result = backtest(rulebook(), fires("09:10", A), ends("09:20", A), fires("09:30", A), ends("09:40", A))
    assert (result.total.incidents, result.total.flaps, result.total.mitigations) == (2, 1, 2)


def test_no_secret_is_needed():
    environ = Environ(HOME="/x")
    assert environ["HOME"] == environ.get("HOME") == "/x"
    assert environ.get("STOPGAP_SECRET_KEY") == environ["STOPGAP_SECRET_KEY"] == PLACEHOLDER
    assert environ.get("STOPGAP_SECRET_KEY_FILE") is None
    assert environ.get("OTHER", "no") == "no"
    with pytest.raises(KeyError):
        environ["OTHER"]


def test_a_secret_may_be_a_whole_address(tmp_path):
    rule = """
rules:
  - name: hook
    match: alertname="A"
    do: [{http: {url: "{{ secrets.hook }}", method: POST}}]
"""
    place = pack(tmp_path, rule, "name: shop\nsecrets: [hook]\n")
    assert load(place, Stage(build_catalog).catalog, environ=Environ()).rules


async def test_a_history_that_is_too_long_is_an_error_that_says_the_cure(monkeypatch):
    monkeypatch.setattr("stopgap.backtest.replay.MOST", 2)
    story = [fires("09:10", A), ends("09:20", A), fires("09:30", A)]
    assert len(await read_history(Told(*story[:2]), DAY, print)) == 2
    with pytest.raises(HistoryError, match="choose a shorter time with --from and --to"):
        await read_history(Told(*story), DAY, print)


async def test_alerts_of_drills_are_no_history():
    made_up = alert(stopgap_drill="pms-down")
    assert await read_history(Told(fires("09:10", made_up), ends("09:20", made_up)), DAY, print) == []


def test_what_is_bounded_is_said(rulebook, monkeypatch):
    for name in ("MOST_TRACES", "MOST_OVERLAPS", "MOST_STORMS"):
        monkeypatch.setattr(f"stopgap.backtest.tally.{name}", 0)
    crowd = [alert(instance=f"i{i:02d}") for i in range(15)]
    story = [fires("09:10", A), fires("09:20", C), ends("10:00", C), *(fires("11:00", one) for one in crowd)]
    result = backtest(rulebook(TWO.replace("TARGET", "a")), *story)
    assert result.left_out == {"overlaps": 2, "storms": 1, "incidents in the picture": 17}
    assert (result.traces, result.storms, result.overlaps) == ([], [], [])


# --- two sets of rules ---


def test_only_what_differs_is_told_of_two_sets_of_rules(rulebook):
    story = [fires("09:10", A), ends("09:40", A), fires("12:00", C)]
    old = backtest(rulebook(TWO.replace("TARGET", "x").replace("name: mock\n", "name: gone\n")), *story)
    new = backtest(rulebook(TWO.replace("TARGET", "x")), *story)
    found = [(one.rule, one.of, one.old, one.new) for one in differences(old, new)]
    assert ("shop/gone", "rule", "there", None) in found
    assert ("shop/mock", "rule", None, "there") in found
    assert ("shop/mock", "outcomes recovered", 0, 1) in found
    assert ("shop/gone", "longest_hold", "35m", "0s") in found
    assert not [one for one in found if one[0] in ("all", "shop/slow")]
    assert differences(new, new) == ()
    told = compared(old, new, differences(old, new))
    assert told["differences"][0]["rule"] == "shop/gone"
    assert told["new"] == shape(new)


# --- the json ---


def test_the_json_has_a_documented_shape(rulebook):
    result = backtest(rulebook(), fires("09:10", A), ends("10:10", A), period=Period(START, at("18:00")))
    told = shape(result)
    keys = "rules_from source since until alerts total rules overlaps storms assumed caveats left_out"
    assert " ".join(told) == keys
    assert (told["since"], told["until"]) == ("2026-10-05T09:00:00Z", "2026-10-05T18:00:00Z")
    assert " ".join(told["rules"]["shop/mock"]) == (
        "incidents flaps mitigations mitigated failed reverts handed_over past_max_hold unfinished shadows "
        "refusals hand_overs outcomes messages held_seconds longest_hold budget"
    )
    assert told["rules"]["shop/mock"]["budget"] == {
        "least_left": 2,
        "of": "3/1h",
        "at": "2026-10-05T09:10:00Z",
    }
    assert told["total"]["longest_hold"]["seconds"] == 3900.0
    quiet = shape(backtest(rulebook()))
    assert quiet["rules"]["shop/mock"]["longest_hold"] is None


def test_scores_add_up():
    short, long = (Hold(timedelta(hours=n), f"INC-{n}", "t", START) for n in (1, 2))
    total = Score(incidents=1, refusals={"storm": 1}, longest_hold=long, held=timedelta(hours=2))
    total.add(
        Score(incidents=2, refusals={"storm": 2, "brake": 1}, longest_hold=short, held=timedelta(hours=1))
    )
    total.add(Score())
    assert total == Score(
        incidents=3, refusals={"storm": 3, "brake": 1}, longest_hold=long, held=timedelta(hours=3)
    )

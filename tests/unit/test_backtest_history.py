"""Histories: what sources tell becomes transitions, in the order of time, within a period."""

import gzip
import json
from datetime import timedelta

import pytest
from tests.backtesting import DAY, START, alert, at, read, told

from stopgap.backtest.evented import Evented
from stopgap.backtest.history import Episodes, HistoryError, Period
from stopgap.backtest.recorded import Recorded, Samples, selector
from stopgap.errors import ProbeError
from stopgap.matcher import parse_matchers
from stopgap.prometheus import Ranged, RuleHealth, Series
from stopgap.rule import Rule

A, B = alert(instance="a"), alert(instance="b")


# --- episodes ---


def test_repeats_of_what_is_known_change_nothing():
    episodes = Episodes(DAY)
    found = [
        *episodes.fires(A, at("09:10")),
        *episodes.fires(A, at("09:20")),
        *episodes.ends(A.fingerprint, at("09:30")),
    ]
    found += episodes.ends(A.fingerprint, at("09:40"))
    assert told(found) == [(10, "+", "a"), (30, "-", "a")]
    assert found[1].alert.ends_at == at("09:30")


def test_what_fired_before_the_period_begins_with_it_and_what_was_over_by_then_is_left_out():
    episodes, before = Episodes(DAY), START - timedelta(hours=3)
    found = [*episodes.fires(A, before), *episodes.fires(B, before), *episodes.ends(B.fingerprint, before)]
    assert found == []
    assert told(episodes.ends(A.fingerprint, at("09:05"))) == [(0, "+", "a"), (5, "-", "a")]


def test_what_is_told_late_counts_as_told_just_now_and_nothing_counts_after_the_end():
    episodes = Episodes(DAY)
    found = [*episodes.fires(A, at("09:10")), *episodes.ends(A.fingerprint, at("09:05"))]
    found += episodes.fires(B, DAY.until + timedelta(seconds=1))
    assert told(found) == [(10, "+", "a"), (10, "-", "a")]


def test_the_share_of_a_period_is_bounded():
    assert DAY.share(START - timedelta(days=1)) == 0
    assert DAY.share(DAY.until + timedelta(days=1)) == 1
    assert Period(START, START).share(START) == 1


# --- samples of Prometheus ---


def series(instance, *minutes, step=1):
    return Series(
        {"__name__": "ALERTS", "alertname": "Down", "alertstate": "firing", "instance": instance},
        tuple((START + timedelta(minutes=minute)).timestamp() for minute in minutes),
    )


def end(minutes):
    return (START + timedelta(minutes=minutes)).timestamp()


def test_an_alert_is_over_at_the_first_step_without_a_sample():
    found = Samples(60).take([series("a", 1, 2, 3, 7, 8)], end(20), Episodes(DAY))
    assert told(found) == [(1, "+", "a"), (4, "-", "a"), (7, "+", "a"), (9, "-", "a")]


def test_what_fires_at_the_end_of_a_piece_goes_on_in_the_next():
    samples, episodes = Samples(60), Episodes(DAY)
    first = samples.take([series("a", 8, 9, 10), series("b", 9)], end(10), episodes)
    second = samples.take([series("a", 11)], end(20), episodes)
    third = samples.take([series("a", 21, 22)], end(30), episodes)
    assert told(first) == [(8, "+", "a"), (9, "+", "b"), (10, "-", "b")]
    assert told(second) == [(12, "-", "a")]
    assert told(third) == [(21, "+", "a"), (23, "-", "a")]


def test_a_hole_up_to_the_gap_is_bridged():
    found = Samples(180).take([series("a", 1, 2, 5, 9)], end(20), Episodes(DAY))
    assert told(found) == [(1, "+", "a"), (8, "-", "a"), (9, "+", "a"), (12, "-", "a")]


def test_alerts_have_neither_name_nor_state_of_the_series_and_get_the_external_labels_that_they_lack():
    samples = Samples(60, {"cluster": "eu", "instance": "x"})
    (found, _) = samples.take([series("a", 1)], end(20), Episodes(DAY))
    assert found.alert.labels == {"alertname": "Down", "instance": "a", "cluster": "eu"}


@pytest.mark.parametrize(
    ("matchers", "wanted"),
    [
        (['alertname="A"', 'alertname=~"B|C",job="x"'], 'ALERTS{alertstate="firing",alertname=~"A|(?:B|C)"}'),
        (['alertname="a.b\\"c"'], 'ALERTS{alertstate="firing",alertname=~"a\\\\.b\\"c"}'),
        (['alertname="A"', 'job="x"'], 'ALERTS{alertstate="firing"}'),
        (['alertname!="A"'], 'ALERTS{alertstate="firing"}'),
        ([f'alertname="{"x" * 4000}{i}"' for i in range(10)], 'ALERTS{alertstate="firing"}'),
        ([], 'ALERTS{alertstate="firing"}'),
    ],
)
def test_only_alerts_are_asked_for_that_the_rules_can_match_by_name(matchers, wanted):
    rules = [Rule("p", str(i), "", parse_matchers(text)) for i, text in enumerate(matchers)]
    assert selector(rules) == wanted


class Answering:
    """A Prometheus with one alert that fires in the minutes given; `refuses` says no to so many questions."""

    def __init__(self, *minutes, refuses=0, crowd=1, interval=60, longest=10**9):
        self.minutes, self.refuses, self.crowd, self.interval, self.longest = (
            minutes,
            refuses,
            crowd,
            interval,
            longest,
        )
        self.asked = []

    async def presence(self, expression, start, end_, step, *, timeout):
        self.asked.append(((end_ - start) // step) + 1)
        if self.refuses or (end_ - start) / step > self.longest:
            self.refuses -= bool(self.refuses)
            raise ProbeError("too much")
        inside = [m for m in self.minutes if start <= START + timedelta(minutes=m) <= end_]
        return Ranged(tuple(series(f"i{i}", *inside) for i in range(self.crowd)), ("half",))

    async def rules(self, timeout, name=None):
        if self.interval is None:
            raise ProbeError("no rules")
        interval = timedelta(seconds=self.interval)
        return (RuleHealth("Down", "g", {}, "ok", "", None, START, interval, "inactive", ()),)


def recorded(prometheus, step=None):
    return Recorded(prometheus, "http://p", (), step, {})


def test_a_long_time_is_asked_for_in_pieces_that_grow_while_answers_are_small():
    prometheus = Answering(*range(100, 130))
    history = recorded(prometheus, timedelta(seconds=5))
    assert told(read(history, Period(START, START + timedelta(days=10))))[-1] == (129 + 5 / 60, "-", "i0")
    assert prometheus.asked[:5] == [720, 1440, 2880, 5760, 10_000]
    assert max(prometheus.asked) == 10_000
    assert sum(prometheus.asked) == 10 * 24 * 720 + 1


def test_pieces_shrink_when_the_answers_are_large():
    prometheus = Answering(*range(1440), crowd=400)
    assert len(read(recorded(prometheus))) == 800
    assert prometheus.asked[0] > prometheus.asked[1]


def test_a_question_that_is_too_much_is_asked_in_smaller_pieces():
    prometheus = Answering(*range(100, 130), longest=100)
    assert told(read(recorded(prometheus))) == [(100, "+", "i0"), (130, "-", "i0")]


def test_a_prometheus_that_never_answers_is_an_error_that_says_what_was_asked():
    with pytest.raises(HistoryError, match="too much, asked for 2026-10-05 09:00Z and 1 steps"):
        read(recorded(Answering(refuses=99)))


def test_the_step_is_the_interval_of_the_rules_and_is_said():
    prometheus = Answering(1, interval=120)
    history = recorded(prometheus)
    read(history)
    assert prometheus.asked == [720, 1]
    assert "every 2m" in history.caveats[0]
    assert history.caveats[-1] == "Prometheus warned: half"


def test_without_the_rules_a_step_must_be_given():
    with pytest.raises(HistoryError, match="--step"):
        read(recorded(Answering(interval=None)))
    assert read(recorded(Answering(interval=None), timedelta(minutes=1))) == []


# --- events ---


def stamp(minutes):
    return (START + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def pairs(**labels):
    return {"labels": [{"key": key, "value": value} for key, value in labels.items()]}


def event(minutes, data):
    """Constructed after the protobuf schema of Alertmanager's event recorder; Debian's Alertmanager has none."""
    return {"@timestamp": stamp(minutes), "instance": "am-1", "data": data}


def first_form(kind, minutes, instance, *, resolved=False):
    """Labels are lists of pairs, and all but `alertCreated` wrap the alert in `details`."""
    one = {
        "labels": pairs(alertname="Down", instance=instance),
        "annotations": pairs(summary="s"),
        "resolved": resolved,
    }
    return event(minutes, {kind: {"alert": one if kind == "alertCreated" else {"hash": "1", "details": one}}})


def second_form(kind, minutes, instance, *, resolved=False):
    one = {"labels": {"alertname": "Down", "instance": instance}, "resolved": resolved}
    return event(minutes, {kind: {"alert": one}})


def lines(path, *told_):
    path.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in told_))
    return path


@pytest.mark.parametrize("form", [first_form, second_form])
def test_the_event_recorders_alerts_fire_when_they_come_and_end_when_they_go(tmp_path, form):
    path = lines(
        tmp_path / "events.jsonl",
        event(0, {"alertmanagerStartupEvent": {"version": "0.34.0"}}),
        form("alertCreated", 1, "a"),
        form("alertGrouped", 2, "a"),
        form("alertGrouped", 3, "b"),
        form("alertResolved", 9, "a", resolved=True),
        form("alertGrouped", 12, "a"),
    )
    assert told(read(Evented((path,)))) == [(1, "+", "a"), (3, "+", "b"), (9, "-", "a"), (12, "+", "a")]


def test_a_notification_tells_of_the_alerts_that_it_names_with_their_labels(tmp_path):
    firing = {"labels": {"alertname": "Down", "instance": "a"}}
    over = {"labels": {"alertname": "Down", "instance": "b"}, "resolved": True}
    path = lines(
        tmp_path / "events.jsonl",
        second_form("alertCreated", 1, "b"),
        event(5, {"notification": {"firingAlerts": [firing, {"hash": "2"}], "resolvedAlerts": [over]}}),
    )
    assert told(read(Evented((path,)))) == [(1, "+", "b"), (5, "+", "a"), (5, "-", "b")]


def test_several_files_are_merged_by_time_whoever_wrote_them_and_may_be_compressed(tmp_path):
    one = lines(
        tmp_path / "a.jsonl", second_form("alertCreated", 1, "a"), second_form("alertCreated", 7, "c")
    )
    two = tmp_path / "b.jsonl.gz"
    two.write_bytes(gzip.compress(json.dumps(second_form("alertGrouped", 3, "b")).encode()))
    assert told(read(Evented((one, two)))) == [(1, "+", "a"), (3, "+", "b"), (7, "+", "c")]


def test_bodies_of_the_webhook_are_a_history_too(tmp_path):
    def body(status, began, ended=None):
        one = {"status": status, "labels": {"alertname": "Down"}, "annotations": {}, "startsAt": stamp(began)}
        return {"version": "4", "alerts": [one | ({"endsAt": stamp(ended)} if ended else {})]}

    path = lines(tmp_path / "bodies.jsonl", body("firing", 1), body("firing", 1), body("resolved", 1, 9))
    assert told(read(Evented((path,)))) == [(1, "+", "Down"), (9, "-", "Down")]


def test_lines_that_are_none_are_counted_and_said(tmp_path):
    path = lines(
        tmp_path / "events.jsonl",
        second_form("alertCreated", 1, "a"),
        "\n{half a li\n",
        "[]\n",
        {"alerts": [{"status": "?"}]},
        event(3, {"alertCreated": {"alert": {"labels": "a=b"}}}),
        {"@timestamp": "today", "data": {}},
    )
    history = Evented((path,))
    assert told(read(history)) == [(1, "+", "a")]
    assert history.caveats[-1].startswith("5 of 6 lines are not JSON")


def test_a_file_that_holds_no_event_is_an_error_that_says_what_was_expected(tmp_path):
    with pytest.raises(HistoryError, match="none of 2 lines is an event of Alertmanager's recorder"):
        read(Evented((lines(tmp_path / "x.jsonl", {"a": 1}, {"b": 2}),)))
    with pytest.raises(HistoryError, match="cannot be read: No such file"):
        read(Evented((tmp_path / "absent",)))
    (tmp_path / "broken.gz").write_bytes(b"no gzip")
    with pytest.raises(HistoryError, match=r"broken\.gz cannot be read: Not a gzipped file"):
        read(Evented((tmp_path / "broken.gz",)))
    whole = gzip.compress(b"{}\n" * 1000)
    (tmp_path / "bits.gz").write_bytes(whole[:12] + b"\xff" * 8 + whole[20:])
    with pytest.raises(HistoryError, match=r"bits.gz cannot be read: Error"):
        read(Evented((tmp_path / "bits.gz",)))


def test_what_an_event_says_of_itself_outranks_its_kind(tmp_path):
    path = lines(
        tmp_path / "e.jsonl",
        second_form("alertGrouped", 1, "a", resolved=True),
        second_form("alertCreated", 2, "b"),
    )
    assert told(read(Evented((path,)))) == [(2, "+", "b")]


def test_events_before_and_after_the_period_are_folded_or_left_out(tmp_path):
    later = (DAY.until - START).total_seconds() / 60 + 5
    path = lines(
        tmp_path / "e.jsonl", second_form("alertCreated", -600, "a"), second_form("alertCreated", later, "b")
    )
    assert told(read(Evented((path,)))) == [(0, "+", "a")]


def test_one_event_of_a_clock_that_is_far_ahead_ends_no_history(tmp_path):
    ahead = 60 * 24 * 365
    path = lines(
        tmp_path / "e.jsonl",
        first_form("alertCreated", 1, "a"),
        first_form("alertCreated", ahead, "b"),
        first_form("alertResolved", 9, "a", resolved=True),
    )
    assert told(read(Evented((path,)))) == [(1, "+", "a"), (9, "-", "a")]

"""Alerts: what Alertmanager sends is read to the letter, and what it never sends is refused without harm."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from stopgap.alert import LARGEST_ALERT, Alert, BadAlert, fingerprint, read_alert, read_notification
from stopgap.errors import BadNotification

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.json"))


def body(**changes: Any) -> bytes:
    raw = {
        "version": "4",
        "receiver": "r",
        "groupKey": "{}:{}",
        "externalURL": "http://am",
        "truncatedAlerts": 0,
        "alerts": [],
    }
    return orjson.dumps({key: value for key, value in (raw | changes).items() if value is not ...})


def raw_alert(**changes: Any) -> dict[str, Any]:
    raw = {
        "status": "firing",
        "labels": {"alertname": "Down", "job": "api"},
        "annotations": {"summary": "s"},
        "startsAt": "2026-11-21T00:04:04.079Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prom/graph",
    }
    return {key: value for key, value in (raw | changes).items() if value is not ...}


def good(**changes: Any) -> Alert:
    alert = read_alert(raw_alert(**changes))
    assert isinstance(alert, Alert), alert
    return alert


def test_there_are_samples_to_read() -> None:
    assert len(SAMPLES) == 16


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_captured_body_is_read_with_the_senders_own_fingerprints(path: Path) -> None:
    raw = orjson.loads(path.read_bytes())
    notification = read_notification(path.read_bytes())
    assert notification.receiver == raw["receiver"]
    assert notification.group_key == raw["groupKey"]
    assert notification.external_url == raw["externalURL"]
    assert notification.truncated == raw["truncatedAlerts"]
    assert len(notification.alerts) == len(raw["alerts"]) > 0
    for one in notification.alerts:
        alert = read_alert(one)
        assert isinstance(alert, Alert)
        assert alert.fingerprint == one["fingerprint"]
        assert alert.fingerprint_matches
        assert alert.labels == one["labels"]
        assert alert.annotations == one["annotations"]
        assert alert.firing is (one["status"] == "firing")
        assert (alert.ends_at is None) is alert.firing
        assert Alert.from_json(orjson.loads(orjson.dumps(alert.as_json()))) == alert


def test_a_truncated_body_says_so_and_its_top_level_status_is_ignored() -> None:
    path = next(path for path in SAMPLES if "RESOLVED_while_other" in path.stem)
    notification = read_notification(path.read_bytes())
    assert notification.truncated > 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        ("{}".encode("utf-16"), "not valid JSON"),
        (b'{"version":NaN}', "not valid JSON"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[" * 2000 + b"]" * 2000, "not valid JSON"),
        (body() + b"x", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"4"', "not a JSON object"),
        (b"{}", "`payload` was replaced"),
        (body(version=...), "`payload` was replaced"),
        (body(version="1"), "Grafana"),
        (body(version=4), "version is not text"),
        (body(version="5"), "version is '5'"),
        (body(version="\x1b[31m\n" + "é" * 500), "version is '\\x1b[31m\\n"),
        (body(version={"a": [1]}), "version is not text"),
        (body(alerts=None), "`alerts` is not a list"),
        (body(alerts={}), "`alerts` is not a list"),
        (body(receiver=...), "`receiver` or `groupKey`"),
        (body(groupKey=3), "`receiver` or `groupKey`"),
        (body(groupKey="x" * 70_000), "too long"),
        (body(externalURL="x" * 70_000), "too long"),
    ],
)
def test_a_bad_envelope_is_refused_in_short_printable_words(content: bytes, words: str) -> None:
    with pytest.raises(BadNotification) as caught:
        read_notification(content)
    text = str(caught.value)
    assert words in text
    assert len(text.encode()) <= 200
    assert text.isprintable()


def test_duplicate_keys_take_the_last_and_huge_integers_do_no_harm() -> None:
    content = (
        b'{"version":"1","version":"4","receiver":"a","receiver":"b","groupKey":"","alerts":[],"x":'
        + b"9" * 300
        + b"}"
    )
    assert read_notification(content).receiver == "b"


@pytest.mark.parametrize(
    ("sent", "read"),
    [(3, 3), (0, 0), (-1, 0), (None, 0), ("7", 0), (True, 0), ([], 0), (1.5, 1), (1e300, 2**31), (..., 0)],
)
def test_the_count_of_truncated_alerts_is_read_leniently(sent: Any, read: int) -> None:
    assert read_notification(body(truncatedAlerts=sent)).truncated == read


def test_unknown_fields_and_a_missing_external_url_are_fine() -> None:
    assert read_notification(body(externalURL=..., notification_reason="x", status=3)).external_url == ""


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, BadAlert.NOT_AN_OBJECT),
        ([], BadAlert.NOT_AN_OBJECT),
        ("x", BadAlert.NOT_AN_OBJECT),
        (raw_alert(status=...), BadAlert.BAD_STATUS),
        (raw_alert(status="Firing"), BadAlert.BAD_STATUS),
        (raw_alert(status=[]), BadAlert.BAD_STATUS),
        (raw_alert(labels=...), BadAlert.BAD_LABELS),
        (raw_alert(labels={}), BadAlert.BAD_LABELS),
        (raw_alert(labels={"a": ""}), BadAlert.BAD_LABELS),
        (raw_alert(labels={"": "a"}), BadAlert.BAD_LABELS),
        (raw_alert(labels={"a": 1}), BadAlert.BAD_LABELS),
        (raw_alert(labels={1: "a"}), BadAlert.BAD_LABELS),
        (raw_alert(labels=["a"]), BadAlert.BAD_LABELS),
        (raw_alert(labels={"a": "\ud800"}), BadAlert.BAD_LABELS),
        (raw_alert(annotations=["a"]), BadAlert.BAD_ANNOTATIONS),
        (raw_alert(annotations={"a": None}), BadAlert.BAD_ANNOTATIONS),
        (raw_alert(annotations={"a": "\ud800"}), BadAlert.BAD_ANNOTATIONS),
        (raw_alert(generatorURL="\ud800"), BadAlert.BAD_ANNOTATIONS),
        (raw_alert(startsAt=...), BadAlert.BAD_TIME),
        (raw_alert(startsAt=17), BadAlert.BAD_TIME),
        (raw_alert(startsAt="yesterday"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="20261121T000000Z"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="2026-11-21T00:00:00"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="2026-13-21T00:00:00Z"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="2026-11-21T24:00:00Z"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="2026-11-21T00:00:00.1234567890Z"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="2026-11-21T00:00:00Z\n"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="2026-11-21T00:00:00+24:00"), BadAlert.BAD_TIME),
        (raw_alert(startsAt="2" * 100_000), BadAlert.BAD_TIME),
        (raw_alert(endsAt={"a": 1}), BadAlert.BAD_TIME),
        (raw_alert(labels={"a": "x" * LARGEST_ALERT}), BadAlert.TOO_LARGE),
        (raw_alert(labels={f"a{n}": "x" for n in range(2000)}), BadAlert.TOO_LARGE),
        (raw_alert(annotations={"a": "é" * (LARGEST_ALERT // 2)}), BadAlert.TOO_LARGE),
        (raw_alert(generatorURL="x" * (LARGEST_ALERT + 1)), BadAlert.TOO_LARGE),
    ],
)
def test_a_bad_alert_is_refused_by_name(raw: Any, reason: BadAlert) -> None:
    assert read_alert(raw) is reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T00:00:00Z", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-21T01:02:03.123456789+02:00", datetime(2026, 11, 20, 23, 2, 3, 123456, tzinfo=UTC)),
        ("2026-11-21T00:00:00.1-00:30", datetime(2026, 11, 21, 0, 30, 0, 100000, tzinfo=UTC)),
        ("0001-01-01T00:00:00+01:00", datetime.min.replace(tzinfo=UTC)),
        ("0000-12-31T23:00:00-01:00", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-01:00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_any_rfc_3339_instant_is_read_in_utc_without_overflow(text: str, expected: datetime) -> None:
    assert good(startsAt=text).starts_at == expected
    assert good(startsAt=text).starts_at.utcoffset() == UTC.utcoffset(None)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0000-12-31T23:00:00-01:00", None, "", ...]
)
def test_an_end_in_the_year_one_is_no_end(text: Any) -> None:
    assert good(endsAt=text).ends_at is None


def test_a_resolved_alert_has_its_end() -> None:
    alert = good(status="resolved", endsAt="2026-11-21T00:05:00Z")
    assert not alert.firing
    assert alert.ends_at == datetime(2026, 11, 21, 0, 5, tzinfo=UTC)
    assert Alert.from_json(alert.as_json()) == alert


def test_empty_labels_are_dropped_and_do_not_change_the_identity() -> None:
    assert good(labels={"alertname": "Down", "job": "api", "x": ""}).fingerprint == good().fingerprint
    assert "x" not in good(labels={"a": "b", "x": ""}).labels


def test_missing_annotations_and_url_are_empty() -> None:
    alert = good(annotations=None, generatorURL=None)
    assert (alert.annotations, alert.generator_url) == ({}, "")
    assert good(annotations=...).annotations == {}


def test_a_fingerprint_is_fnv_1a_over_the_labels_sorted_by_their_bytes() -> None:
    assert fingerprint({}) == "cbf29ce484222325"
    assert (
        fingerprint({"exp": "none", "foo": "bar"})
        == fingerprint({"foo": "bar", "exp": "none"})
        == "0a5f6a104e00d2f3"
    )
    assert good(labels={"é": "1", "z": "2", "🙂": "3"}).fingerprint == fingerprint(
        {"🙂": "3", "z": "2", "é": "1"}
    )


def test_a_foreign_fingerprint_is_noticed_and_a_missing_one_is_not() -> None:
    assert not good(fingerprint="0" * 16).fingerprint_matches
    assert not good(fingerprint=7).fingerprint_matches
    assert good().fingerprint_matches
    assert good(fingerprint="0" * 16) == good()


def test_values_of_5_kb_and_with_nul_are_legal() -> None:
    value = "\0\n🙂" * 1500
    assert good(labels={"a": value}).labels["a"] == value

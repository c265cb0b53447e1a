"""Alerts: no bytes and no JSON make reading raise anything but BadNotification."""

import contextlib
from typing import Any

import orjson
from hypothesis import given, strategies as st

from stopgap.alert import Alert, BadAlert, read_alert, read_notification
from stopgap.errors import BadNotification

TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MAPS = st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=4)
TIMES = st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,10})?(Z|[+-][0-2][0-9]:[0-6][0-9])",
    fullmatch=True,
)
ALERTS: st.SearchStrategy[Any] = JSON | st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["firing", "resolved"]) | JSON,
        "labels": MAPS | JSON,
        "annotations": MAPS | JSON,
        "startsAt": TIMES | JSON,
        "endsAt": TIMES | JSON,
        "generatorURL": TEXT | JSON,
        "fingerprint": TEXT | JSON,
    },
)
BODIES: st.SearchStrategy[Any] = JSON | st.fixed_dictionaries(
    {"version": st.just("4") | JSON},
    optional={
        "receiver": TEXT | JSON,
        "groupKey": TEXT | JSON,
        "externalURL": TEXT | JSON,
        "truncatedAlerts": JSON,
        "alerts": st.lists(ALERTS, max_size=3) | JSON,
    },
)


def encodable(value: Any) -> bytes:
    with contextlib.suppress(TypeError):  # a lone surrogate
        return orjson.dumps(value)
    return b"{}"


def check(text: str) -> None:
    assert len(text.encode()) <= 200
    assert text.isprintable()


def read_all(body: bytes) -> None:
    try:
        notification = read_notification(body)
    except BadNotification as wrong:
        check(str(wrong))
        return
    for raw in notification.alerts:
        alert = read_alert(raw)
        assert (
            isinstance(alert, BadAlert)
            or Alert.from_json(orjson.loads(orjson.dumps(alert.as_json()))) == alert
        )


@given(BODIES)
def test_any_json_is_read_or_refused(value: Any) -> None:
    read_all(encodable(value))


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    read_all(body)


@given(BODIES, st.binary(max_size=3), st.integers(0, 200))
def test_a_damaged_body_is_read_or_refused(value: Any, damage: bytes, at: int) -> None:
    body = encodable(value)
    read_all(body[:at] + damage + body[at + len(damage) :])


@given(ALERTS)
def test_any_value_is_an_alert_or_a_reason(raw: Any) -> None:
    alert = read_alert(raw)
    assert isinstance(alert, BadAlert) or len(alert.fingerprint) == 16

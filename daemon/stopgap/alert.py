"""Alert: one alert as Alertmanager sends it, and the notification that carries many.

The body is version "4" of Alertmanager's webhook. Top-level `status` and `common*` are ignored: they are computed after truncation
and may contradict the alerts. A bad envelope is refused as a whole; a bad alert is refused alone, by name, so that the good ones
beside it are not lost.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeGuard

import orjson

from stopgap.errors import BadNotification
from stopgap.value import cheaply_made

LARGEST_ALERT = (
    65_536  # bytes of names and values of the labels; the same again for annotations and the generator's URL
)
LARGEST_ENVELOPE = 65_536  # characters of the receiver, of the group key and of the external URL, each
MOST_LABELS = 1024  # per alert; annotations too
DRILL = "stopgap_drill"
"""The label of a drill's alert, whose value is the drill's name. Nobody outside may set it: Stopgap alone makes such alerts."""
_MOST_TRUNCATED = 2**31
_CACHED = 2048  # bytes of a label set that is worth remembering
_LONGEST_TIME = 40  # characters
_ZERO = datetime.min.replace(tzinfo=UTC)  # Go's zero time: "no end"


class BadAlert(StrEnum):
    """Why one alert of a good notification is not taken; the label of a metric."""

    NOT_AN_OBJECT = "not_an_object"
    BAD_STATUS = "bad_status"
    BAD_LABELS = "bad_labels"
    BAD_ANNOTATIONS = "bad_annotations"
    BAD_TIME = "bad_time"
    TOO_LARGE = "too_large"
    RESERVED_LABEL = "reserved_label"


@cheaply_made
@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. Its identity is its label set, of which `fingerprint` is Alertmanager's own hash, computed by us."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    firing: bool
    generator_url: str
    fingerprint: str
    fingerprint_matches: bool = field(
        default=True, compare=False
    )  # whether the sender computed the same, if it sent one

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes back: the form in the journal."""
        return {
            **self.as_seen(),
            "ends_at": None if self.ends_at is None else self.ends_at.isoformat(),
            "firing": self.firing,
            "generator_url": self.generator_url,
            "fingerprint": self.fingerprint,
        }

    def as_seen(self) -> dict[str, Any]:
        """Return what a timeline says of it."""
        return {
            "labels": self.labels,
            "annotations": self.annotations,
            "starts_at": self.starts_at.isoformat(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Alert":
        """Rebuild an alert from the journal."""
        ends_at = stored["ends_at"]
        return cls(
            labels=stored["labels"],
            annotations=stored["annotations"],
            starts_at=datetime.fromisoformat(stored["starts_at"]),
            ends_at=None if ends_at is None else datetime.fromisoformat(ends_at),
            firing=stored["firing"],
            generator_url=stored["generator_url"],
            fingerprint=stored["fingerprint"],
        )


@cheaply_made
@dataclass(frozen=True, slots=True)
class Notification:
    """One webhook body: the envelope, and the alerts as they came, for `read_alert`. `truncated` > 0 means: poll."""

    receiver: str  # as sent: regex-escaped
    group_key: str
    external_url: str
    truncated: int
    alerts: list[Any]


def read_notification(body: bytes) -> Notification:
    """Read the envelope of a webhook body. Raises BadNotification, and nothing else, for any bytes."""
    try:
        raw = orjson.loads(body)
    except ValueError:
        raise BadNotification("the body is not valid JSON in UTF-8") from None
    if not isinstance(raw, dict):
        raise BadNotification("the body is not a JSON object: expected Alertmanager's webhook, version 4")
    _check_version(raw)
    alerts = raw.get("alerts")
    if not isinstance(alerts, list):
        raise BadNotification("`alerts` is not a list: expected Alertmanager's webhook, version 4")
    receiver, group_key = raw.get("receiver"), raw.get("groupKey")
    if not isinstance(receiver, str) or not isinstance(group_key, str):
        raise BadNotification(
            "`receiver` or `groupKey` is missing: expected Alertmanager's webhook, version 4"
        )
    external_url = raw.get("externalURL")
    external_url = external_url if isinstance(external_url, str) else ""
    if max(len(receiver), len(group_key), len(external_url)) > LARGEST_ENVELOPE:
        raise BadNotification("`receiver`, `groupKey` or `externalURL` is too long")
    return Notification(receiver, group_key, external_url, _truncated(raw.get("truncatedAlerts")), alerts)


def _check_version(raw: dict[str, Any]) -> None:
    version = raw.get("version")
    if version == "4":
        return
    if version is None:
        raise BadNotification(
            "no `version`: not Alertmanager's webhook, or its `payload` was replaced in the receiver"
        )
    if version == "1":
        raise BadNotification(
            'version "1" is Grafana\'s webhook: only Alertmanager\'s version "4" is understood'
        )
    named = ascii(version[:8])[:40] if isinstance(version, str) else "not text"
    raise BadNotification(f'version is {named}: only Alertmanager\'s version "4" is understood')


def _truncated(raw: object) -> int:
    """Read `truncatedAlerts` leniently: anything that is not a positive number is 0."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return 0
    return max(0, int(min(raw, _MOST_TRUNCATED)))


def read_alert(raw: object) -> Alert | BadAlert:
    """Read one alert of a notification, or say why it is not taken. Never raises.

    Empty labels are dropped, as Alertmanager does. A missing `endsAt`, or one in the year 1, is no end. An alert with the label of
    drills is refused: whoever can post notifications must neither forge a drill nor end one.
    """
    if not isinstance(raw, dict):
        return BadAlert.NOT_AN_OBJECT
    if raw.get("status") not in ("firing", "resolved"):  # a set would raise on a list
        return BadAlert.BAD_STATUS
    labels = _read_labels(raw.get("labels"))
    if isinstance(labels, BadAlert):
        return labels
    annotations = raw.get("annotations") or {}
    if not _is_text_map(annotations):
        return BadAlert.BAD_ANNOTATIONS
    return _build(raw, labels, annotations)


def _build(raw: dict[str, Any], labels: dict[str, str], annotations: dict[str, str]) -> Alert | BadAlert:
    url = raw.get("generatorURL")
    url = url if isinstance(url, str) else ""
    key, notes = _flat(sorted(labels.items())), _flat(annotations.items(), url)
    if key is None:
        return BadAlert.BAD_LABELS
    if notes is None:
        return BadAlert.BAD_ANNOTATIONS
    if max(len(key), len(notes)) > LARGEST_ALERT or max(len(labels), len(annotations)) > MOST_LABELS:
        return BadAlert.TOO_LARGE
    starts_at, ends_at = (
        _read_time(raw.get("startsAt")),
        _read_time(raw.get("endsAt") or "0001-01-01T00:00:00Z"),
    )
    if starts_at is None or ends_at is None:
        return BadAlert.BAD_TIME
    ours = _hash(key)
    return Alert(
        labels=labels,
        annotations=annotations,
        starts_at=starts_at,
        ends_at=None if ends_at.year == 1 else ends_at,
        firing=raw["status"] == "firing",
        generator_url=url,
        fingerprint=ours,
        fingerprint_matches=raw.get("fingerprint", ours) == ours,
    )


def _read_labels(raw: object) -> dict[str, str] | BadAlert:
    if not _is_text_map(raw):
        return BadAlert.BAD_LABELS
    labels = {name: value for name, value in raw.items() if value} if "" in raw.values() else raw
    if DRILL in labels:
        return BadAlert.RESERVED_LABEL
    return labels if labels and "" not in labels else BadAlert.BAD_LABELS


def _is_text_map(raw: object) -> TypeGuard[dict[str, str]]:
    return isinstance(raw, dict) and all(
        type(name) is str and type(value) is str for name, value in raw.items()
    )


def _flat(pairs: Iterable[tuple[str, str]], more: str = "") -> bytes | None:
    """Join names and values, each ended by 0xff (which UTF-8 never holds); None where something is not encodable text."""
    try:
        return b"".join([part.encode() + b"\xff" for pair in pairs for part in pair]) + more.encode()
    except UnicodeEncodeError:
        return None


@lru_cache(16_384)
def _fnv1a(key: bytes) -> str:
    """Hash by FNV-1a, 64 bits (prometheus/common: model.LabelSet.Fingerprint), as 16 hexadecimal digits."""
    found = 0xCBF29CE484222325
    for byte in key:
        found = ((found ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{found:016x}"


def _hash(key: bytes) -> str:
    return _fnv1a(key) if len(key) <= _CACHED else _fnv1a.__wrapped__(key)


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return Alertmanager's fingerprint of a label set: 16 hexadecimal digits. Python sorts text as Go sorts its UTF-8."""
    return _hash(_flat(sorted(labels.items())) or b"")


_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


def _read_time(raw: object) -> datetime | None:
    return _parse_time(raw) if isinstance(raw, str) and len(raw) <= _LONGEST_TIME else None


@lru_cache(16_384)
def _parse_time(text: str) -> datetime | None:
    """Read RFC 3339, to the microsecond; None if it is not. What lies beyond the years 1 to 9999 is moved to their edge."""
    if not _RFC3339.fullmatch(text):
        return None
    if text.startswith("0000"):  # Go's zero time, seen from west of Greenwich
        return _ZERO
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return local.astimezone(UTC)
    except OverflowError:
        return _ZERO if local.year == 1 else datetime.max.replace(tzinfo=UTC)

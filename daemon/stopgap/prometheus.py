"""Prometheus: instant and range queries and the health of its alerting rules over HTTP, and in a few words why there is no answer.

An empty vector is success without elements, not an error; what that means is the asker's affair. Any `warnings` mean that the
answer may be partial (a failed remote read, a truncated result); `infos` of newer servers are style remarks and are dropped.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import orjson

from stopgap.endpoint import Endpoint, Question, Reply, instant, shown
from stopgap.errors import ProbeError

_LARGEST = 8 * 1024 * 1024  # bytes of one answer, about 60 000 elements
_LARGEST_RANGE = 8 * 1024 * 1024  # bytes of one answer, about 500 000 samples
_LARGEST_RULES = 32 * 1024 * 1024  # bytes: all alerting rules with their active alerts
_LONGEST_INTERVAL = 10 * 365 * 86400.0  # seconds


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a vector; a scalar has no labels. The value may be NaN or infinite."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What an instant query returned: with a warning in it nothing is proven."""

    elements: tuple[Element, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a range: at which instants (seconds since 1970) it has a sample; what they say is left out."""

    labels: Mapping[str, str]
    instants: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ranged:
    """What a range query returned: with a warning in it, something may be missing."""

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleAlert:
    """One alert of a rule as Prometheus sees it: its labels lack `external_labels` and alert relabelling."""

    labels: Mapping[str, str]
    state: str  # pending or firing


@dataclass(frozen=True, slots=True)
class RuleHealth:
    """One alerting rule: what it found when it was last evaluated, when that was, and whether it worked.

    The values of `labels` may be templates of Prometheus. `asked_at` is its own clock, so that `age` needs no clock of ours.
    """

    name: str
    group: str
    labels: Mapping[str, str]
    health: str  # ok, err or unknown
    last_error: str
    evaluated_at: datetime | None  # None: never
    asked_at: datetime
    interval: timedelta  # between two evaluations
    state: str  # inactive, pending or firing
    alerts: tuple[RuleAlert, ...]

    @property
    def age(self) -> timedelta | None:
        """Return how long ago it was evaluated, None when it never was; `asked_at` is in whole seconds, so it may be one less."""
        return None if self.evaluated_at is None else max(self.asked_at - self.evaluated_at, timedelta())


class Prometheus:
    """The Prometheus that all questions go to, or none. `session` is asked at every call; nothing is opened before."""

    def __init__(self, url: str | None, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._endpoint = Endpoint("Prometheus", url, session) if url else None

    async def query(self, expression: str, *, timeout: timedelta) -> Answer:  # noqa: ASYNC109 - bounds two attempts together
        """Evaluate an expression now (`POST /api/v1/query`).

        Raises ProbeError with a short reason for everything but a vector or a scalar.
        """
        form = {"query": expression, "timeout": f"{timeout.total_seconds():.3f}"}
        question = Question("/api/v1/query", _LARGEST, form=form, cure="aggregate the query")
        return await self._configured().ask(question, _answer, timeout)

    async def presence(
        self,
        expression: str,
        start: datetime,
        end: datetime,
        step: timedelta,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the same
    ) -> Ranged:
        """Return which series an expression has, and when (`POST /api/v1/query_range`).

        Raises ProbeError; more than 11 000 steps are refused by Prometheus.
        """
        form = {
            "query": expression,
            "start": f"{start.timestamp():.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": f"{step.total_seconds():.3f}",
            "timeout": f"{timeout.total_seconds():.3f}",
        }
        question = Question("/api/v1/query_range", _LARGEST_RANGE, form=form, cure="ask for a shorter time")
        return await self._configured().ask(question, _ranged, timeout)

    async def rules(self, timeout: timedelta, name: str | None = None) -> tuple[RuleHealth, ...]:  # noqa: ASYNC109 - the same
        """Return the alerting rules (`GET /api/v1/rules`), those called `name` or all. Raises ProbeError, for warnings too."""
        query = [("type", "alert")]
        if name is not None:
            query.append(("rule_name[]", name))  # an older Prometheus ignores it, and returns all
        question = Question("/api/v1/rules", _LARGEST_RULES, query)
        found = await self._configured().ask(question, _rules, timeout)
        return tuple(rule for rule in found if name is None or rule.name == name)

    async def number(self, query: str, timeout: timedelta) -> float:  # noqa: ASYNC109 - the same
        """Return the one number that a query is answered with. Raises ProbeError for anything but one finite number."""
        answer = await self.query(query, timeout=timeout)
        if answer.warnings:
            raise ProbeError(f"Prometheus warns: {answer.warnings[0]}")
        if len(answer.elements) != 1:
            raise ProbeError(f"{shown(query)} returned {len(answer.elements)} numbers, wanted one")
        value = answer.elements[0].value
        if not math.isfinite(value):
            raise ProbeError(f"{shown(query)} = {value}")
        return value

    def _configured(self) -> Endpoint:
        if self._endpoint is None:
            raise ProbeError("no Prometheus is configured: start with --prometheus URL")
        return self._endpoint


def _success(reply: Reply) -> tuple[Any, tuple[str, ...]]:
    """Return data and warnings of an answer, by the envelope of Prometheus' HTTP API. Raises ProbeError for an error."""
    try:
        envelope = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        envelope = None
    if not isinstance(envelope, dict) or "status" not in envelope:
        raise ProbeError(
            f"Prometheus answered {reply.status} with {shown(reply.body.decode('utf-8', 'replace')) or 'nothing'}"
        )
    if envelope["status"] != "success":
        kind, text = envelope.get("errorType", "error"), envelope.get("error", "")
        raise ProbeError(f"Prometheus answered {reply.status}: {shown(f'{kind}: {text}')}")
    warnings = envelope.get("warnings") or []
    return envelope.get("data"), tuple(map(str, warnings if isinstance(warnings, list) else [warnings]))


def _answer(reply: Reply) -> Answer:
    found, warnings = _success(reply)
    try:
        return Answer(_elements(found["resultType"], found["result"]), warnings)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProbeError("Prometheus' answer has not the form of its HTTP API") from None


def _elements(kind: str, result: Any) -> tuple[Element, ...]:
    """Read a result; values are strings (`NaN`, `+Inf`), the timestamp is the evaluation's and says nothing of the age."""
    match kind:
        case "scalar":
            return (Element({}, float(result[1])),)
        case "vector":
            if any("histogram" in one for one in result):
                raise ProbeError(
                    "the query returns a histogram: use histogram_quantile() or histogram_count()"
                )
            return tuple(Element(dict(one["metric"]), float(one["value"][1])) for one in result)
        case "matrix":
            raise ProbeError("the query returns a range: use an instant vector, without [...]")
        case _:
            raise ProbeError(f"the query returns a {shown(str(kind))}: use one that returns numbers")


def _ranged(reply: Reply) -> Ranged:
    found, warnings = _success(reply)
    try:
        return Ranged(tuple(_series(one) for one in found["result"]), warnings)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProbeError("Prometheus' answer has not the form of its HTTP API") from None


def _series(one: Any) -> Series:
    return Series(_texts(one["metric"]), tuple([float(at) for at, _ in one.get("values") or ()]))


def _rules(reply: Reply) -> tuple[RuleHealth, ...]:
    found, warnings = _success(reply)
    if warnings:
        raise ProbeError(f"Prometheus warns: {shown(warnings[0])}")
    if reply.at is None:
        raise ProbeError("Prometheus' answer has no date: a proxy before it must hand the header `Date` on")
    try:
        return tuple(
            _rule(rule, group, reply.at)
            for group in found["groups"]
            for rule in group["rules"]
            if rule.get("type", "alerting") == "alerting"
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProbeError("Prometheus' answer has not the form of its HTTP API") from None


def _rule(rule: Any, group: Any, asked_at: datetime) -> RuleHealth:
    evaluated_at = instant(rule["lastEvaluation"])
    return RuleHealth(
        name=str(rule["name"]),
        group=str(group["name"]),
        labels=_texts(rule.get("labels")),
        health=str(rule["health"]),
        last_error=shown(str(rule.get("lastError", ""))),
        evaluated_at=None if evaluated_at.year == 1 else evaluated_at,  # Go's zero time
        asked_at=asked_at,
        interval=timedelta(seconds=min(max(float(group["interval"]), 0.0), _LONGEST_INTERVAL)),
        state=str(rule["state"]),
        alerts=tuple(RuleAlert(_texts(one["labels"]), str(one["state"])) for one in rule.get("alerts") or ()),
    )


def _texts(labels: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in (labels or {}).items()}

"""Alert: the probe that asks Prometheus whether an alert is over, and whether that can be believed."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from stopgap.action import Params
from stopgap.context import Context
from stopgap.duration import print_duration, span
from stopgap.errors import ProbeError
from stopgap.probe import Finding
from stopgap.probes.answers import healthy, one_line, unhealthy, unknown
from stopgap.prometheus import Answer, RuleHealth

_MOST = 1024  # labels
_INTERVALS = 3  # between evaluations, after which a rule is stale
_LEAST = timedelta(minutes=1)  # a rule is never stale before
_NAME = "alertname"


def _named(labels: Any) -> Any:
    """Let a bare name stand for its label."""
    return labels if isinstance(labels, Mapping) else {_NAME: labels}


def _checked(labels: dict[str, str]) -> dict[str, str]:
    if not labels.get(_NAME):
        raise ValueError("the alert has no name: write alertname: …")
    if len(labels) > _MOST:
        raise ValueError(f"{len(labels)} labels are too many")
    return labels


class AlertParams(Params):
    """`labels`: of the alert, `alertname` among them; `job`: whose targets must be up (default: the label; "": nobody's)."""

    scalar: ClassVar[str] = "labels"
    verbatim: ClassVar[frozenset[str]] = frozenset({"labels"})

    labels: Annotated[
        dict[str, str],
        BeforeValidator(_named, json_schema_input_type=str | dict[str, str]),
        AfterValidator(_checked),
        Field(description="Labels of the alert as Alertmanager shows them, `alertname` among them."),
    ]
    job: Annotated[
        str | None,
        Field(description='Whose targets must be up; by default the label job; "": nobody\'s.'),
    ] = None

    @property
    def asked_job(self) -> str:
        """Return the job whose targets are asked about, or ""."""
        return self.labels.get("job", "") if self.job is None else self.job


class Alert:
    """Asks Prometheus. Healthy when no such alert fires or is pending, its rule works, and every target of its job is up.

    An alert that is gone proves little by itself: a rule that fails or is no longer evaluated, a target that is down and a series
    that vanished look the same. So its rule must be known, `health: ok` and evaluated within three intervals (or a minute), and
    each `up` of its job must be 1. Unhealthy while it fires; all else, a pending alert too, is unknown.

    A label that the alert in Prometheus does not have tells nothing apart, because external labels and relabelling come later on
    the way to Alertmanager: give the labels as Alertmanager shows them.

    ```yaml
    - alert: PMSCircuitBreakerOpen
    - {alert: {labels: {alertname: HighErrorRate, service: api}, job: agente-hotel}, every: 30s}
    ```
    """

    name: ClassVar[str] = "alert"
    after: ClassVar[float] = 0.0
    params: type[AlertParams] = AlertParams

    def __init__(self, context: Context) -> None:
        self._prometheus = context.prometheus

    def describe(self, params: AlertParams) -> str:
        """Show the alert and the job."""
        job = params.asked_job
        return one_line(f"alert {_show(params)} is over" + (f", job {job} is up" if job else ""))

    async def ask(self, params: AlertParams, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Ask for the rules, then for `up`. Raises ProbeError when Prometheus gives no answer."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                rules = await self._prometheus.rules(timeout, params.labels[_NAME])
                doubt = judge(rules, params)
                if doubt is not None or not params.asked_job:
                    return doubt or healthy(f"{_show(params)} is over")
                answer = await self._prometheus.query(
                    f"up{{job={_quoted(params.asked_job)}}}", timeout=timeout
                )
        except TimeoutError:
            raise ProbeError(f"Prometheus did not answer within {print_duration(timeout)}") from None
        return judge_up(answer, params)


def judge(rules: Sequence[RuleHealth], params: AlertParams) -> Finding | None:
    """Judge the rules of the alert's name; None when the alert is over as far as they tell."""
    name = _show(params)
    ours = [rule for rule in rules if _may_be(_fixed(rule.labels), params.labels)]
    if not ours:
        return unknown(f"{name}: Prometheus has no such rule")
    for rule in ours:
        if doubt := _doubt(rule):
            return unknown(f"{name}: its rule {doubt}")
    alerts = [one for rule in ours for one in rule.alerts if _may_be(one.labels, params.labels)]
    firing = sum(one.state == "firing" for one in alerts)
    if firing:
        return unhealthy(f"{name} fires" + (f" {firing} times" if firing > 1 else ""))
    return unknown(f"{name} is {one_line(alerts[0].state, 20)}") if alerts else None


def judge_up(answer: Answer, params: AlertParams) -> Finding:
    """Judge the `up` of the alert's job, the alert being over."""
    name, job = _show(params), one_line(params.asked_job, 80)
    if answer.warnings:
        return unknown(f"{name} is over, but Prometheus warns: {answer.warnings[0]}")
    if not answer.elements:
        return unknown(f"{name} is over, but no target of job {job} is known")
    down = [one.labels.get("instance", "?") for one in answer.elements if one.value != 1]
    if down:
        where = f"{len(down)} of {len(answer.elements)} targets of job {job}"
        return unknown(f"{name} is over, but {where} are not up: {one_line(down[0], 80)}")
    return healthy(f"{name} is over, all targets of job {job} are up ({len(answer.elements)})")


def _doubt(rule: RuleHealth) -> str:
    """Say why what a rule found does not count, or nothing."""
    if rule.health != "ok":
        return f"is not healthy: {rule.last_error or rule.health}"
    limit = max(_INTERVALS * rule.interval, _LEAST)
    if rule.age is None:
        return "was never evaluated"
    return f"was evaluated {span(rule.age)} ago, wanted {span(limit)}" if rule.age > limit else ""


def _may_be(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether no label that both have differs."""
    return all(wanted.get(name, value) == value for name, value in labels.items())


def _fixed(labels: Mapping[str, str]) -> dict[str, str]:
    """Leave out what a rule's label only becomes with the alert."""
    return {name: value for name, value in labels.items() if "{{" not in value}


def _quoted(text: str) -> str:
    """Write a text as PromQL does."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _show(params: AlertParams) -> str:
    rest: Iterable[tuple[str, str]] = ((n, v) for n, v in sorted(params.labels.items()) if n != _NAME)
    shown = ", ".join(f'{name}="{value}"' for name, value in rest)
    return one_line(params.labels[_NAME] + (f"{{{shown}}}" if shown else ""), 120)

"""Promql: the probe that asks Prometheus what it measures."""

import math
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from stopgap.action import Params
from stopgap.context import Context
from stopgap.probe import Finding
from stopgap.probes.answers import healthy, one_line, unhealthy, unknown
from stopgap.probes.condition import Condition, Is
from stopgap.prometheus import Answer, Element


def _numeric(condition: Condition) -> Condition:
    if isinstance(condition.wanted, str):
        raise ValueError(f"{condition} compares a text, and PromQL returns numbers: write '== 1'")  # noqa: TRY004 - pydantic's
    return condition


class PromqlParams(Params):
    """`query`: an instant query; `is`: what every element of its answer must be."""

    scalar: ClassVar[str] = "query"
    siblings: ClassVar[frozenset[str]] = frozenset({"is"})

    query: Annotated[
        str, Field(min_length=1, max_length=10_000, description="An instant query, without the comparison.")
    ]
    is_: Annotated[
        Is,
        AfterValidator(_numeric),
        Field(alias="is", description="What every element of the answer must be: == 1, < 0.5."),
    ]


class Promql:
    """Asks Prometheus now, and compares. Healthy when every element returned satisfies `is`, unhealthy when one does not.

    Keep the comparison out of the query: `up == 1` returns nothing when it is false, and no data is unknown, as are NaN, warnings,
    errors and an absent Prometheus. `is` has no default, because a question without it could never be unhealthy. The first
    question waits 30 s (`after`), so that it does not judge what was measured before the step: make that longer than
    the scrape interval and the longest range in the query together.

    ```yaml
    - {promql: 'max(pms_mock_mode)', is: '== 1'}
    - {promql: 'sum(rate(http_errors_total[1m]))', is: '< 0.5', after: 90s, within: 3m}
    ```
    """

    name: ClassVar[str] = "promql"
    after: ClassVar[float] = 30.0
    params: type[PromqlParams] = PromqlParams

    def __init__(self, context: Context) -> None:
        self._prometheus = context.prometheus

    def describe(self, params: PromqlParams) -> str:
        """Show the query and the condition."""
        return f"promql {one_line(params.query)} {params.is_}"

    async def ask(self, params: PromqlParams, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Ask once. Raises ProbeError when Prometheus gives no answer."""
        return judge(await self._prometheus.query(params.query, timeout=timeout), params)


def judge(answer: Answer, params: PromqlParams) -> Finding:
    """Judge an answer: one element that fails outweighs another that is NaN, a warning outweighs all."""
    query, condition = one_line(params.query, 120), params.is_
    if answer.warnings:
        return unknown(f"{query}: Prometheus warns: {answer.warnings[0]}")
    if not answer.elements:
        return unknown(f"{query}: no data")
    nans = [one for one in answer.elements if math.isnan(one.value)]
    failing = [one for one in answer.elements if not math.isnan(one.value) and not condition.holds(one.value)]
    count = len(answer.elements)
    if failing:
        return unhealthy(f"{_of(len(failing), count)}{query} = {_show(failing[0])}, wanted {condition}")
    if nans:
        return unknown(f"{_of(len(nans), count)}{query} = {_show(nans[0])}, wanted {condition}")
    return healthy(f"{_of(count, count)}{query} = {_show(answer.elements[0])}, wanted {condition}")


def _of(some: int, count: int) -> str:
    return "" if count == 1 else f"{some} of {count} elements: "


def _show(element: Element) -> str:
    """Show a value, and which series it is when it has labels."""
    labels = ", ".join(
        f"{name}={value!r}" for name, value in sorted(element.labels.items()) if name != "__name__"
    )
    return f"{element.value:.15g}" + (f" {{{one_line(labels, 80)}}}" if labels else "")

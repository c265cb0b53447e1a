"""Script: the file of a drill: the alert that is made up, what a person breaks and mends by hand, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from stopgap.alert import DRILL
from stopgap.config.codes import Wrong
from stopgap.config.complaint import complain
from stopgap.config.findings import At, Findings, did_you_mean
from stopgap.config.keys import Keys, Name, Text, TimeLimit
from stopgap.config.node import Mark, Node, Path as Place
from stopgap.config.source import read_file
from stopgap.drill.expectation import Expectation, Kind
from stopgap.drill.running import LONGEST
from stopgap.duration import print_duration
from stopgap.errors import ConfigError
from stopgap.incident import EventKind as K, Outcome

LASTS, WATCHED = timedelta(minutes=10), timedelta(hours=1)
LONGEST_WATCH = timedelta(hours=24)
MOST = 50  # expectations
_WORDS = tuple(kind.value for kind in Kind)


def _event(word: str) -> str:
    if word not in set(K):
        near = did_you_mean(word, K, "write one such as opened, mitigated, reverted or handed_over")
        raise ValueError(f"`{word[:40]}` is no event: {near}")
    return word


def _outcome(word: str) -> str:
    if word not in set(Outcome):
        raise ValueError(f"`{word[:40]}` is no outcome: {did_you_mean(word, Outcome)}")
    return word


def _unmarked(labels: dict[str, str]) -> dict[str, str]:
    if DRILL in labels:
        raise ValueError(f"`{DRILL}` is set by Stopgap itself: remove it")
    if not labels:
        raise ValueError("no labels: write those by which a rule takes the alert")
    return labels


def _bounded(longest: timedelta) -> AfterValidator:
    def check(duration: timedelta) -> timedelta:
        if duration > longest:
            raise ValueError(f"longer than {print_duration(longest)}")
        return duration

    return AfterValidator(check)


_ENDS = [outcome.value for outcome in Outcome]
Event = Annotated[str, AfterValidator(_event), WithJsonSchema({"enum": [event.value for event in K]})]
RuleId = Annotated[str, StringConstraints(pattern=r"^[^/\s]{1,200}/[^/\s]{1,200}$")]


class AlertKeys(Keys):
    """The alert that is made up."""

    labels: Annotated[
        dict[str, str],
        AfterValidator(_unmarked),
        Field(description="Labels by which a rule takes the alert."),
    ]
    annotations: Annotated[dict[str, str], Field(description="Annotations that people read.")] = Field(
        default_factory=dict
    )


class ExpectKeys(Keys):
    """One expectation: exactly one of `event`, `not`, `told` and `outcome`, and what narrows it down."""

    event: Annotated[Event | None, Field(description="This event is in the timeline.")] = None
    not_: Annotated[Event | None, Field(alias="not", description="This event is not in the timeline.")] = None
    told: Annotated[Name | None, Field(description="This contact is told something.")] = None
    outcome: Annotated[
        Annotated[str, AfterValidator(_outcome), WithJsonSchema({"enum": _ENDS})] | None,
        Field(description="The incident is closed with this outcome."),
    ] = None
    within: Annotated[
        TimeLimit | None, Field(description="So soon after the alert fired, or after `since`.")
    ] = None
    since: Annotated[Event | None, Field(description="The event from which on time is counted.")] = None
    reason: Annotated[Name | None, Field(description="The reason that the event gives.")] = None
    when: Annotated[Event | None, Field(description="The event of which the contact is told.")] = None
    rule: Annotated[
        RuleId | None, Field(description="The rule (pack/name), where several take the alert.")
    ] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.named) != 1:
            raise ValueError(f"exactly one of {', '.join(_WORDS)} must stand here")
        ((kind, _),) = self.named
        if self.reason and kind not in (Kind.EVENT, Kind.NOT):
            raise ValueError("`reason` goes with `event` and `not`")
        if self.when and kind is not Kind.TOLD:
            raise ValueError("`when` goes with `told`: the event that somebody is told of")
        if self.since and not self.within and kind is not Kind.NOT:
            raise ValueError("`since` goes with `within`")
        return self

    @property
    def named(self) -> list[tuple[Kind, str]]:
        """Return what is expected, in the words of the file."""
        given = zip(Kind, (self.event, self.not_, self.told, self.outcome), strict=True)
        return [(kind, word) for kind, word in given if word is not None]

    @property
    def expectation(self) -> Expectation:
        """Return the expectation."""
        ((kind, word),) = self.named
        return Expectation(
            kind, word, self.within, self.since or "", self.reason or "", self.when or "", self.rule or ""
        )


class ScriptKeys(Keys):
    """The whole file."""

    name: Annotated[Name, Field(description="What the drill is called.")]
    proves: Annotated[Text, Field(description="In a sentence, what is known when it succeeds.")]
    alert: Annotated[AlertKeys, Field(description="The alert that is made up.")]
    before: Annotated[Text | None, Field(description="What a person breaks before it begins.")] = None
    for_: Annotated[
        TimeLimit, _bounded(LONGEST), Field(alias="for", description="How long the alert fires at most.")
    ] = LASTS
    until: Annotated[Event | None, Field(description="The event at which the alert is over earlier.")] = None
    after: Annotated[Text | None, Field(description="What a person mends once the alert is over.")] = None
    limit: Annotated[
        TimeLimit, _bounded(LONGEST_WATCH), Field(description="How long the drill is watched at most.")
    ] = WATCHED
    expect: Annotated[
        tuple[ExpectKeys, ...],
        Field(min_length=1, max_length=MOST, description="What must come of it."),
    ]


@dataclass(frozen=True, slots=True)
class Script:
    """A drill as its file says it. The alert fires for `lasts` at most, and only until the event `until` where that is named."""

    name: str
    proves: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    expect: tuple[Expectation, ...]
    lasts: timedelta = LASTS
    until: str = ""
    before: str = ""
    after: str = ""
    limit: timedelta = WATCHED


def read_script(path: Path) -> Script:
    """Read the file of a drill. Raises ConfigError with everything that is wrong."""
    findings = Findings()
    node = read_file(path, findings)
    keys = _keys(node, findings) if node is not None else None
    if node is None and not findings.errors:
        findings.error(Mark(str(path)), "the file is empty", "write a drill", code=Wrong.MISSING_KEY)
    if findings.errors or keys is None:
        raise ConfigError(findings.errors)
    return Script(
        name=keys.name,
        proves=keys.proves,
        labels=keys.alert.labels,
        annotations=keys.alert.annotations,
        expect=tuple(one.expectation for one in keys.expect),
        lasts=keys.for_,
        until=keys.until or "",
        before=keys.before or "",
        after=keys.after or "",
        limit=keys.limit,
    )


def _keys(node: Node, findings: Findings) -> ScriptKeys | None:
    at = At(node, findings)
    try:
        keys = ScriptKeys.model_validate(node.exact().plain())
    except ValidationError as wrong:
        complain(wrong, ScriptKeys, at)
        return None
    if keys.for_ > keys.limit:
        at.error(
            ("for",), "the alert fires longer than the drill is watched", "raise `limit`", code=Wrong.TIMING
        )
    for i, one in enumerate(keys.expect):
        if one.within is not None and one.within > keys.limit:
            place: Place = ("expect", i, "within")
            at.error(place, "longer than the drill is watched", "raise `limit`", code=Wrong.TIMING)
    return keys

"""Guards: the keys that bound what a rule may do, in a rule and in the defaults of its pack and of the site."""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from stopgap.config.keys import Keys, Text, TimeLimit, Whole, listed
from stopgap.duration import Duration
from stopgap.rate import Rate, RateText
from stopgap.rule import AtOnce, Limits, Mode
from stopgap.window import WindowText

DEFAULT = Limits()
MOST_AT_ONCE = 1000
SHORT_FORMS: Mapping[str, str] = {"circuit": "failures", "storm": "targets"}
"""Guards that may be written as their most important key alone."""

_SHARE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?%")
_POPULATION = "write how many there are, or a query that counts them"
_TOTAL_WRITTEN = {"type": ["string", "integer"], "minLength": 1, "minimum": 1}
_MOST_WRITTEN = {
    "type": ["string", "integer"],
    "pattern": r"^\s*(?:0*[1-9][0-9]{0,8}|[0-9]{1,6}(?:\.[0-9]{1,6})? ?%)\s*$",
    "minimum": 1,
    "patternErrorMessage": "write a count such as 2, or a share such as 30%",
}


def _in_short(word: str) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, dict) else {word: value}


def _one_or_more(rate: Rate) -> Rate:
    if rate.count < 1:
        raise ValueError(f"`{rate}` counts to nothing: write 1 or more")
    return rate


def _total(value: Any) -> str | int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isdecimal():
        text = int(text[:18])
    if isinstance(text, bool | float) or not isinstance(text, str | int) or text == "":
        raise ValueError(f"{_shown(value)} is neither a whole number nor a query: {_POPULATION}")
    if isinstance(text, int) and text < 1:
        raise ValueError(f"{_shown(value)} is a population of none: {_POPULATION}")
    return text


def _most(value: Any) -> int | Fraction:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    share = _SHARE.fullmatch(text)
    if share is None:
        if not re.fullmatch("[0-9]{1,9}", text):
            raise ValueError(f"{_shown(value)} is neither a count nor a share: write 2 or 30%")
        if int(text) == 0:
            raise ValueError("`0` lets nothing be done: write 1 or more, or a share such as 30%")
        return int(text)
    part = Fraction(share[1]) / 100
    if not 0 < part < 1:
        text = "a limit of 100 % is none" if part else "`0%` lets nothing be done"
        raise ValueError(f"{text}: write a share between the two, such as 30%")
    return part


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"`{str(value)[:60]}`"


def _given(value: Any) -> Any:
    if value is None:
        raise ValueError("nothing stands here: write {total: …, max: 30%}")
    return value


def _term(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(  # noqa: TRY004 - pydantic takes ValueError
            f"`{str(value).lower()}` is not a duration: write how long a person has, such as 15m "
            "(`mode: approve` asks before every rung)"
        )
    return value["timeout"] if isinstance(value, dict) and set(value) == {"timeout"} else value


class _Term(Keys):
    """The long form of a term."""

    timeout: Annotated[TimeLimit, Field(description="How long a person has.")]


class CircuitKeys(Keys):
    """When incidents that did not hold stop the next ones; `2/6h` for short."""

    failures: Annotated[
        RateText,
        AfterValidator(_one_or_more),
        Field(description="So many incidents that did not hold, in so long."),
    ] = DEFAULT.circuit.failures
    lasts: Annotated[
        TimeLimit,
        Field(
            description="How long nothing more is done, unless a person acknowledges the waiting incident."
        ),
    ] = DEFAULT.circuit.lasts


class StormKeys(Keys):
    """From how many targets on it is a storm; `10/5m` for short."""

    targets: Annotated[
        RateText,
        AfterValidator(_one_or_more),
        Field(description="More distinct targets than this, in so long, are a storm."),
    ] = Rate(DEFAULT.storm.targets, DEFAULT.storm.window)
    below: Annotated[
        Annotated[Whole, Field(ge=1)] | None,
        Field(
            description="It is over with fewer targets than this; half of `targets` when nothing is written."
        ),
    ] = None
    calm: Annotated[
        TimeLimit, Field(description="How long there must be fewer than `below`, until it is over.")
    ] = DEFAULT.storm.calm


Windows = Annotated[tuple[WindowText, ...], BeforeValidator(listed)]


class WindowsKeys(Keys):
    """When rungs may start."""

    allow: Annotated[
        Windows, Field(description="Rungs start only inside one of these; without any, always.")
    ] = ()
    deny: Annotated[Windows, Field(description="Rungs never start inside one of these.")] = ()


class BlastRadiusKeys(Keys):
    """How much of how many. Defaults may hold one of the two; a rule needs both in the end."""

    total: Annotated[
        Annotated[str | int, PlainValidator(_total), WithJsonSchema(_TOTAL_WRITTEN)] | None,
        Field(description="How many there are: a number, or the PromQL query that counts them."),
    ] = None
    max: Annotated[
        Annotated[int | Fraction, PlainValidator(_most), WithJsonSchema(_MOST_WRITTEN)] | None,
        Field(
            description="How many of them may be held or acted upon at once: a number, or a share such as 30%."
        ),
    ] = None


class GuardKeys(Keys):
    """A rule's guards."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("hold", "max_hold", "flap_window", "unknown_for", "mode", "approval", "yield_to"),
        "write it beside `guard`",
    )

    cooldown: Annotated[
        Duration,
        Field(
            description="Pause after an incident of this rule on this target that did not hold; not after a flap."
        ),
    ] = DEFAULT.cooldown
    budget: Annotated[RateText, Field(description="Rungs that the rule may start in any such time.")] = (
        DEFAULT.budget
    )
    budget_global: Annotated[
        RateText, Field(description="Rungs that all rules together may start in any such time.")
    ] = DEFAULT.budget_global
    circuit: Annotated[
        CircuitKeys,
        BeforeValidator(_in_short("failures"), json_schema_input_type=RateText | CircuitKeys),
        Field(
            description="So many incidents of this rule on this target that did not hold: nothing more is done."
        ),
    ] = CircuitKeys()
    storm: Annotated[
        StormKeys,
        BeforeValidator(_in_short("targets"), json_schema_input_type=RateText | StormKeys),
        Field(
            description="More distinct targets than this: nothing new is started, and one message says so."
        ),
    ] = StormKeys()
    windows: Annotated[WindowsKeys, Field(description="When rungs may start.")] = WindowsKeys()
    blast_radius: Annotated[
        BlastRadiusKeys | None,
        BeforeValidator(_given, json_schema_input_type=BlastRadiusKeys),
        Field(
            description="How many of a population may be held or acted upon at once; an unknown total refuses."
        ),
    ] = None
    protected: Annotated[
        tuple[Text, ...],
        BeforeValidator(listed),
        Field(description="Patterns (`db-*`) of targets and resources that are never touched; lists add up."),
    ] = DEFAULT.protected


class TermKeys(Keys):
    """What a rule has beside its guards, and its pack and site may set for it."""

    guard: Annotated[GuardKeys, Field(description="What bounds it; every guard is on with its default.")] = (
        GuardKeys()
    )
    mode: Annotated[
        Mode,
        Field(
            description="auto acts, approve asks a person before each rung, shadow only says what it would do."
        ),
    ] = Mode.AUTO
    hold: Annotated[
        Duration, Field(description="How long the cause must be gone until all is taken back.")
    ] = DEFAULT.hold
    max_hold: Annotated[
        TimeLimit, Field(description="The lease: when it is over, a person hears of it each hour.")
    ] = DEFAULT.max_hold
    flap_window: Annotated[
        Duration, Field(description="Firing again so soon after it was taken back is a flap.")
    ] = DEFAULT.flap_window
    unknown_for: Annotated[
        Duration, Field(description="How long unknown answers are asked again until a person gets it.")
    ] = DEFAULT.unknown_for
    approval: Annotated[
        TimeLimit,
        BeforeValidator(_term, json_schema_input_type=TimeLimit | _Term),
        Field(description="How long a person has to approve where a rung does not say so; silence means no."),
    ] = DEFAULT.approval


class DefaultKeys(TermKeys, GuardKeys):
    """What a pack sets for all its rules; the keys of `guard` may stand in it and beside it."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("actions_at_once", "probes_at_once"),
            "it is for the whole daemon: write it under `defaults` of site.yaml",
        ),
        "yield_to": "write it in a rule",
    }


AtOnceCount = Annotated[Whole, Field(ge=1, le=MOST_AT_ONCE)]


class SiteDefaultKeys(DefaultKeys):
    """What a site sets for all rules, and for the daemon."""

    elsewhere: ClassVar[Mapping[str, str]] = {"yield_to": "write it in a rule"}

    actions_at_once: Annotated[
        AtOnceCount, Field(description="How many acts the whole daemon does at the same time.")
    ] = AtOnce().actions
    probes_at_once: Annotated[
        AtOnceCount, Field(description="How many probes the whole daemon asks at the same time.")
    ] = AtOnce().probes

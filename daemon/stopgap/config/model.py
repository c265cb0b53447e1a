"""Model: the keys that rules, packs and sites have, and their types. What an action or a probe takes, its own Params say."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from stopgap.config.findings import did_you_mean
from stopgap.duration import Duration
from stopgap.incident import EventKind
from stopgap.rule import Mode, OnFailure
from stopgap.template import Template

LATER: Mapping[str, str] = {
    "approval": "approvals",
    "only_if": "preconditions",
    "go_on": "climbing on after success",
    "once": "rungs that run once",
    "budget": "budgets",
    "budget_global": "budgets",
    "circuit": "the circuit",
    "storm": "storm mode",
    "windows": "time windows",
    "blast_radius": "blast radius",
    "protected": "protected targets",
    "yield_to": "yielding",
    "message": "messages of escalations",
    "after": "escalation by time",
    "every": "escalation by time",
    "even_if": "escalation by time",
    "manual": "manual steps",
}
"""Keys and steps that the design has and this version has not: refused by name, so that no rule is obeyed by half."""

SHORTEST_EVERY = timedelta(milliseconds=100)
MOST_RETRIES = 10


def _listed(value: Any) -> Any:
    """Let one stand for a list of one."""
    return [value] if isinstance(value, str | Template) else value


def _event(word: str) -> str:
    if word not in set(EventKind):
        near = did_you_mean(
            word, EventKind, "write one such as mitigated, handed_over, mitigation_lost or closed"
        )
        raise ValueError(f"`{word[:40]}` is no event: {near}")
    return word


def _not_hasty(every: timedelta) -> timedelta:
    if every < SHORTEST_EVERY:
        raise ValueError("oftener than every 100ms")
    return every


def _some_time(timeout: timedelta) -> timedelta:
    if timeout <= timedelta():
        raise ValueError("no time at all: write 5s, 30s or the like")
    return timeout


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Severities = Mapping[str, Annotated[str, StringConstraints(pattern="^P[0-3]$")]]
Secret = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$")]
TimeLimit = Annotated[Duration, AfterValidator(_some_time)]


class Keys(BaseModel):
    """Keys that stand together. `later` are those that only later versions have here."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    later: ClassVar[frozenset[str]] = frozenset()


class StepKeys(Keys):
    """One step: its action, and the keys beside it."""

    later = frozenset({"approval", "only_if", "once"})

    action: str
    params: Any
    timeout: TimeLimit | None = None
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES)] = 0
    optional: bool = False
    title: Annotated[str, Field(max_length=200)] = ""


class ProbeKeys(Keys):
    """One probe, and the keys beside it."""

    probe: str
    params: Any
    after: Duration | None = None
    within: TimeLimit = timedelta(seconds=60)
    for_: Annotated[Duration, Field(alias="for")] = timedelta()
    every: Annotated[Duration, AfterValidator(_not_hasty)] | None = None
    timeout: TimeLimit = timedelta(seconds=5)


class RungKeys(Keys):
    """One rung."""

    later = frozenset({"approval", "only_if", "go_on", "once"})

    name: Annotated[str, Field(max_length=100)] = ""
    do: Annotated[tuple[StepKeys, ...], Field(min_length=1)]
    activate: tuple[StepKeys, ...] = ()
    verify: tuple[ProbeKeys, ...] = ()
    on_failure: OnFailure = OnFailure.REVERT
    on_resolve: OnFailure = OnFailure.REVERT


class GuardKeys(Keys):
    """A rule's guards."""

    later = frozenset({"budget", "budget_global", "circuit", "storm", "windows", "blast_radius", "protected"})

    cooldown: Duration | None = None


class EscalationKeys(Keys):
    """Whom to tell, and when."""

    later = frozenset({"after", "every", "even_if", "message"})

    when: Annotated[str, AfterValidator(_event)]
    notify: Annotated[Texts, Field(min_length=1)]


class DefaultKeys(Keys):
    """What a pack may set for all its rules."""

    later = GuardKeys.later | {"approval", "yield_to"}

    guard: GuardKeys = GuardKeys()
    mode: Mode = Mode.AUTO
    hold: Duration | None = None
    max_hold: TimeLimit | None = None
    flap_window: Duration | None = None
    unknown_for: Duration | None = None


class RuleKeys(DefaultKeys):
    """One rule, as its document says it: the short form is a ladder by now."""

    later = DefaultKeys.later | RungKeys.later

    pack: Name
    name: Name
    match: Annotated[Texts, Field(min_length=1)]
    target: Template | str | None = None
    per: Texts = ()
    summary: Annotated[str, Field(max_length=1000)] = ""
    runbook_url: Annotated[str, Field(max_length=2000)] = ""
    recovered: tuple[ProbeKeys, ...] = ()
    ladder: tuple[RungKeys, ...]
    escalate: tuple[EscalationKeys, ...] = ()
    severities: Severities = Field(default_factory=dict)
    vars: Mapping[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class ContactKeys(Keys):
    """A contact: the environment variable with its Apprise URLs, or the name before `_FILE` of one that names a file."""

    url_env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class MessageKeys(Keys):
    """A message for people outside; sent by later versions."""

    subject: str = ""
    body: str


class SiteKeys(Keys):
    """`site.yaml`: what all packs of a site share."""

    contacts: Mapping[Name, ContactKeys] = Field(default_factory=dict)
    messages: Mapping[Name, MessageKeys] = Field(default_factory=dict)
    vars: Mapping[str, str] = Field(default_factory=dict)


class PackKeys(SiteKeys):
    """`pack.yaml`."""

    name: Name
    match: Texts = ()
    secrets: Annotated[tuple[Secret, ...], BeforeValidator(_listed)] = ()
    severities: Severities = Field(default_factory=dict)
    defaults: DefaultKeys = DefaultKeys()

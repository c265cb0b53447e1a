"""Model: the keys that rules, packs and sites have, and their types. What an action or a probe takes, its own Params say."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from stopgap.config.escalations import EscalationKeys
from stopgap.config.guards import DefaultKeys, GuardKeys, SiteDefaultKeys, TermKeys
from stopgap.config.keys import Keys, Name, Texts, TimeLimit, listed
from stopgap.duration import Duration
from stopgap.rule import OnFailure
from stopgap.template import Template

SHORTEST_EVERY = timedelta(milliseconds=100)
MOST_RETRIES = 10


def _not_hasty(every: timedelta) -> timedelta:
    if every < SHORTEST_EVERY:
        raise ValueError("oftener than every 100ms")
    return every


def _approval(value: Any) -> Any:
    """Read `true`, `10m` and `{timeout: 10m}` alike, and `false` as none."""
    if value is None:
        raise ValueError("nothing stands here: write true, or how long a person has, such as 10m")
    if value is True or value == "true":
        return {}
    if value is False or value == "false":
        return None
    return value if isinstance(value, dict) else {"timeout": value}


Severities = Mapping[str, Annotated[str, StringConstraints(pattern="^P[0-3]$")]]
SeverityNames = Mapping[
    Literal["P0", "P1", "P2", "P3"],
    Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")],
]
Secret = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$")]
_RUNG_ONLY = ("only_if", "approval", "go_on", "once", "verify", "activate", "on_failure", "on_resolve")


class StepKeys(Keys):
    """One step: its action, and the keys beside it."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        _RUNG_ONLY, "it is for the whole rung: write it beside `do`"
    )

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


class ApprovalKeys(Keys):
    """How long a person has to approve; None: as the defaults say."""

    timeout: TimeLimit | None = None


class RungKeys(Keys):
    """One rung."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(GuardKeys.model_fields, "write it under `guard` of the rule"),
        **dict.fromkeys(TermKeys.model_fields, "it is for the whole rule: write it beside `ladder`"),
    }

    name: Annotated[str, Field(max_length=100)] = ""
    do: Annotated[tuple[StepKeys, ...], Field(min_length=1)]
    activate: tuple[StepKeys, ...] = ()
    verify: tuple[ProbeKeys, ...] = ()
    only_if: tuple[ProbeKeys, ...] = ()
    approval: Annotated[ApprovalKeys | None, BeforeValidator(_approval)] = None
    go_on: bool = False
    once: bool | None = None  # None: if a step of it is destructive
    on_failure: OnFailure = OnFailure.REVERT
    on_resolve: OnFailure = OnFailure.REVERT


class MessageKeys(Keys):
    """What people read; an empty subject is the usual one."""

    subject: str = ""
    body: Annotated[str, StringConstraints(min_length=1)]


class RuleKeys(TermKeys):
    """One rule, as its document says it: the short form is a ladder by now, and `approval` is what rungs have by default."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(GuardKeys.model_fields, "write it under `guard`")

    pack: Name
    name: Name
    match: Annotated[Texts, Field(min_length=1)]
    target: Template | str | None = None
    per: Texts = ()
    summary: Annotated[str, Field(max_length=1000)] = ""
    runbook_url: Annotated[str, Field(max_length=2000)] = ""
    recovered: tuple[ProbeKeys, ...] = ()
    ladder: tuple[RungKeys, ...]
    yield_to: Texts = ()
    escalate: tuple[EscalationKeys, ...] = ()
    severities: Severities = Field(default_factory=dict)
    severity_names: SeverityNames = Field(default_factory=dict)
    messages: Mapping[Name, MessageKeys] = Field(default_factory=dict)
    vars: Mapping[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class ContactKeys(Keys):
    """A contact: the environment variable with its Apprise URLs, or the name before `_FILE` of one that names a file."""

    url_env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class SharedKeys(Keys):
    """What `site.yaml` and `pack.yaml` both have."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        SiteDefaultKeys.model_fields, "write it under `defaults`"
    )

    contacts: Mapping[Name, ContactKeys] = Field(default_factory=dict)
    messages: Mapping[Name, MessageKeys] = Field(default_factory=dict)
    vars: Mapping[str, str] = Field(default_factory=dict)


class SiteKeys(SharedKeys):
    """`site.yaml`: what all packs of a site share."""

    defaults: SiteDefaultKeys = SiteDefaultKeys()


class PackKeys(SharedKeys):
    """`pack.yaml`."""

    name: Name
    match: Texts = ()
    secrets: Annotated[tuple[Secret, ...], BeforeValidator(listed)] = ()
    severities: Severities = Field(default_factory=dict)
    severity_names: SeverityNames = Field(default_factory=dict)
    defaults: DefaultKeys = DefaultKeys()

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


_MESSAGES = "What people read, by name; declaration, update and resolution replace the usual ones."
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
    timeout: Annotated[
        TimeLimit | None,
        Field(description="How long it may take; without it as long as is usual for this action."),
    ] = None
    retries: Annotated[
        int,
        Field(
            ge=0, le=MOST_RETRIES, description="How often it is tried again when it is known to have failed."
        ),
    ] = 0
    optional: Annotated[bool, Field(description="Whether the rung goes on when this step fails.")] = False
    title: Annotated[str, Field(max_length=200, description="What people read instead of what it does.")] = ""


class ProbeKeys(Keys):
    """One probe, and the keys beside it."""

    probe: str
    params: Any
    after: Annotated[
        Duration | None,
        Field(description="How long it waits before it is asked first: 30s for promql, 0 for others."),
    ] = None
    within: Annotated[
        TimeLimit, Field(description="For `verify` only: how long it has to become healthy.")
    ] = timedelta(seconds=60)
    for_: Annotated[
        Duration, Field(alias="for", description="How long it must be healthy without a break.")
    ] = timedelta()
    every: Annotated[
        Annotated[Duration, AfterValidator(_not_hasty)] | None,
        Field(
            description="How often it is asked: 5s while verifying; a minute while holding or recovering, and when `hold` is over."
        ),
    ] = None
    timeout: Annotated[
        TimeLimit, Field(description="How long one answer may take; no answer is unknown.")
    ] = timedelta(seconds=5)


class ApprovalKeys(Keys):
    """How long a person has to approve; None: as the defaults say."""

    timeout: Annotated[
        TimeLimit | None, Field(description="How long a person has; without it as the defaults say.")
    ] = None


class RungKeys(Keys):
    """One rung."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(GuardKeys.model_fields, "write it under `guard` of the rule"),
        **dict.fromkeys(TermKeys.model_fields, "it is for the whole rule: write it beside `ladder`"),
    }

    name: Annotated[
        str, Field(max_length=100, description="What people call it; a flap starts at the rung of this name.")
    ] = ""
    do: Annotated[
        tuple[StepKeys, ...], Field(min_length=1, description="Steps, in order; a failed one fails the rung.")
    ]
    activate: Annotated[
        tuple[StepKeys, ...],
        Field(description="Steps that make the change effective: after `do`, and again after the revert."),
    ] = ()
    verify: Annotated[
        tuple[ProbeKeys, ...],
        Field(description="Probes of the effect: all must be healthy, then it is held."),
    ] = ()
    only_if: Annotated[
        tuple[ProbeKeys, ...],
        Field(description="Probes that must all be healthy right before it starts, else it is skipped."),
    ] = ()
    approval: Annotated[
        ApprovalKeys | None,
        BeforeValidator(_approval, json_schema_input_type=bool | TimeLimit | ApprovalKeys),
        Field(
            description="A person must say yes within this time (true: the default time); silence means no."
        ),
    ] = None
    go_on: Annotated[bool, Field(description="Apply it, hold it, and climb on whatever its probes say.")] = (
        False
    )
    once: Annotated[
        bool | None,
        Field(description="At most once along a chain of flaps; by default if a step of it is destructive."),
    ] = None
    on_failure: Annotated[OnFailure, Field(description="What happens to what a failed rung did.")] = (
        OnFailure.REVERT
    )
    on_resolve: Annotated[OnFailure, Field(description="What happens to what held, after recovery.")] = (
        OnFailure.REVERT
    )


class MessageKeys(Keys):
    """What people read; an empty subject is the usual one."""

    subject: Annotated[str, Field(description="Its first line; empty: the usual one.")] = ""
    body: Annotated[
        str,
        StringConstraints(min_length=1),
        Field(description="Its text, with fields such as {{ incident.id }}, {{ target }} or {{ since }}."),
    ]


class RuleKeys(TermKeys):
    """One rule, as its document says it: the short form is a ladder by now, and `approval` is what rungs have by default."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(GuardKeys.model_fields, "write it under `guard`")

    pack: Name
    name: Annotated[Name, Field(description="What the rule is called; its id is pack/name.")]
    match: Annotated[
        Texts,
        Field(min_length=1, description="Alertmanager matchers of the alerts that it takes; all must hold."),
    ]
    target: Annotated[
        Template | str | None,
        Field(description="What is acted upon; by default the alert's label service, job or instance."),
    ] = None
    per: Annotated[Texts, Field(description="Labels that are added to the target, such as instance.")] = ()
    summary: Annotated[str, Field(max_length=1000, description="In a sentence, what the rule does.")] = ""
    runbook_url: Annotated[
        str, Field(max_length=2000, description="Where a person reads what to do, if it does not help.")
    ] = ""
    recovered: Annotated[
        tuple[ProbeKeys, ...],
        Field(description="Probes of the CAUSE: healthy for `hold`, then all is taken back."),
    ] = ()
    ladder: Annotated[
        tuple[RungKeys, ...],
        Field(description="Ways out, the gentlest first. []: a rule that only tells people."),
    ]
    yield_to: Annotated[
        Texts, Field(description="Rules whose incident on the same target goes first; it waits for them.")
    ] = ()
    escalate: Annotated[tuple[EscalationKeys, ...], Field(description="Whom to tell, and when.")] = ()
    severities: Severities = Field(default_factory=dict)
    severity_names: SeverityNames = Field(default_factory=dict)
    messages: Annotated[Mapping[Name, MessageKeys], Field(description=_MESSAGES)] = Field(
        default_factory=dict
    )
    vars: Mapping[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class ContactKeys(Keys):
    """A contact: the environment variable with its Apprise URLs, or the name before `_FILE` of one that names a file."""

    url_env: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"),
        Field(description="The environment variable with its Apprise URLs; with _FILE appended, of a file."),
    ]


class SharedKeys(Keys):
    """What `site.yaml` and `pack.yaml` both have."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        SiteDefaultKeys.model_fields, "write it under `defaults`"
    )

    contacts: Annotated[
        Mapping[Name, ContactKeys],
        Field(description="Who can be told, by name; `default` hears what nobody may miss."),
    ] = Field(default_factory=dict)
    messages: Annotated[Mapping[Name, MessageKeys], Field(description=_MESSAGES)] = Field(
        default_factory=dict
    )
    vars: Annotated[
        Mapping[str, str],
        Field(
            description="Values for {{ vars.name }}; --var and --vars outrank those of the site, then the pack's."
        ),
    ] = Field(default_factory=dict)


class SiteKeys(SharedKeys):
    """`site.yaml`: what all packs of a site share."""

    defaults: Annotated[
        SiteDefaultKeys, Field(description="What all rules have unless their pack or they say otherwise.")
    ] = SiteDefaultKeys()


class PackKeys(SharedKeys):
    """`pack.yaml`."""

    name: Annotated[Name, Field(description="What the pack is called; without it as its folder.")]
    match: Annotated[Texts, Field(description="Matchers that hold for each rule of the pack.")] = ()
    secrets: Annotated[
        tuple[Secret, ...],
        BeforeValidator(listed),
        Field(
            description="Names for {{ secrets.name }}, from STOPGAP_SECRET_NAME or STOPGAP_SECRET_NAME_FILE."
        ),
    ] = ()
    optional_secrets: Annotated[
        tuple[Secret, ...],
        BeforeValidator(listed),
        Field(
            description="The same, for what not every site has: a rung is skipped whose secret is not set."
        ),
    ] = ()
    severities: Annotated[
        Severities, Field(description="P0 to P3 for the values of the alerts' label `severity`.")
    ] = Field(default_factory=dict)
    severity_names: Annotated[
        SeverityNames, Field(description="What P0 to P3 are called in messages, such as SEV-1.")
    ] = Field(default_factory=dict)
    defaults: Annotated[
        DefaultKeys, Field(description="What all rules of the pack have unless they say otherwise.")
    ] = DefaultKeys()

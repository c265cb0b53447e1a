"""Form: what a file of tests may say: alerts, the world, people, and what is expected, each at an instant from the beginning on."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from stopgap.config.findings import did_you_mean
from stopgap.config.keys import Keys, Text, Texts, listed
from stopgap.duration import Duration, print_duration
from stopgap.guard import Reason
from stopgap.incident import EventKind as K, Outcome, Phase
from stopgap.probe import Verdict
from stopgap.rule import Mode
from stopgap.simulate.scene import Crash, Hidden, On

LONGEST = timedelta(days=31)
MOST, MOST_TESTS = 1000, 1000  # entries of a list, tests of a file
MOST_EACH = 1000  # alerts of one entry

WORLD = ("probe", "query", "values", "action", "crash", "reload")
PEOPLE = (
    "ack",
    "approve",
    "deny",
    "revert",
    "extend",
    "close",
    "retry",
    "done",
    "note",
    "adopt",
    "brake",
    "release",
)


def _instant(at: timedelta) -> timedelta:
    if at > LONGEST:
        raise ValueError(f"later than {print_duration(LONGEST)} after the beginning")
    return at


def _one_of(word: str, words: Any, what: str) -> str:
    if word not in set(words):
        raise ValueError(
            f"`{word[:40]}` is no {what}: {did_you_mean(word, words, 'see the words in rules/README.md')}"
        )
    return word


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("say which time that is: 2026-01-05T09:00:00Z")
    return at.astimezone(UTC)


def _numbers(value: Any) -> Any:
    """Read `1`, `[1, 2]` and `none`, which is no data."""
    if value == "none":
        return ()
    return [value] if isinstance(value, str | int | float) else value


At = Annotated[Duration, AfterValidator(_instant)]
Event = Annotated[
    str, AfterValidator(lambda word: _one_of(word, K, "event")), WithJsonSchema({"enum": [*map(str, K)]})
]
Why = Annotated[
    str,
    AfterValidator(lambda word: _one_of(word, Reason, "reason")),
    WithJsonSchema({"enum": [*map(str, Reason)]}),
]
_NOTHING: tuple[Any, ...] = (None, (), {})
Labels = dict[str, str]
Many = Annotated[int, Field(ge=0, le=100_000)]
Listed = Annotated[tuple[Event, ...], BeforeValidator(listed)]
Reasons = Annotated[tuple[Why, ...], BeforeValidator(listed)]


def _alone(keys: Keys, names: tuple[str, ...]) -> str:
    """Return which of some keys stands there. Raises ValueError unless it is exactly one."""
    given = [name for name in names if getattr(keys, name) is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of {', '.join(names)} must stand here")
    return given[0]


class AlertKeys(Keys):
    """An alert that fires, or is over."""

    at: Annotated[At, Field(description="When, from the beginning of the test on.")] = timedelta()
    fire: Annotated[Text | None, Field(description="The name of the alert, or of one that fired before.")] = (
        None
    )
    resolve: Annotated[
        Text | None, Field(description="The alert that is over, by its `name` or its alert name.")
    ] = None
    name: Annotated[Text | None, Field(description="What the test calls it; else its alert name.")] = None
    labels: Annotated[
        Labels, Field(description="Its labels, beside those of the file and the rule's matchers.")
    ] = Field(default_factory=dict)
    annotations: Annotated[Labels, Field(description="Its annotations.")] = Field(default_factory=dict)
    each: Annotated[
        dict[str, tuple[str, ...]],
        Field(description="A label and its values: so many alerts, told in one message.", max_length=1),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if _alone(self, ("fire", "resolve")) == "resolve" and (
            self.labels or self.annotations or self.each or self.name
        ):
            raise ValueError("`resolve` names an alert that fired: it takes nothing but `at`")
        if sum(map(len, self.each.values())) > MOST_EACH:
            raise ValueError(f"more than {MOST_EACH} alerts")
        return self


class WorldKeys(Keys):
    """A fact about the outside, from an instant on."""

    at: Annotated[At, Field(description="From when on; what holds at this instant is asked with it.")] = (
        timedelta()
    )
    probe: Annotated[Text | None, Field(description="A piece of the probe's words; `*` is anything.")] = None
    is_: Annotated[Verdict | None, Field(alias="is", description="What the probe answers.")] = None
    why: Annotated[Text | None, Field(description="Why the probe says so.")] = None
    query: Annotated[Text | None, Field(description="A piece of a query that Prometheus is asked.")] = None
    value: Annotated[
        tuple[float, ...] | None,
        BeforeValidator(_numbers, json_schema_input_type=float | Literal["none"] | tuple[float, ...]),
        Field(description="What Prometheus answers: a number, several, or none."),
    ] = None
    values: Annotated[dict[str, str] | None, Field(description="What resources are at.")] = None
    action: Annotated[
        Text | None, Field(description="A piece of the step's words: kind and description.")
    ] = None
    on: Annotated[On | None, Field(description="What of the step: its run, which is meant otherwise, …")] = (
        None
    )
    takes: Annotated[Duration | None, Field(description="How long the act takes.")] = None
    fails: Annotated[Text | None, Field(description="Why the act fails, known not done.")] = None
    permanent: Annotated[bool | None, Field(description="Whether trying again is in vain.")] = None
    unknown: Annotated[Hidden | None, Field(description="The act never answers; what became of it.")] = None
    crash: Annotated[
        Crash | Literal["now"] | None,
        Field(description="The daemon dies: now, or with an action before or after its effect."),
    ] = None
    times: Annotated[Annotated[int, Field(ge=1)] | None, Field(description="How often this happens.")] = None
    works: Annotated[bool | None, Field(description="The act works again.")] = None
    reload: Annotated[
        dict[str, str] | None, Field(description="The rules are loaded anew, with these vars.")
    ] = None

    @property
    def about(self) -> str:
        """Return the key that says what kind of fact it is."""
        kinds = tuple(kind for kind in WORLD if kind != "crash" or self.action is None)
        return _alone(self, kinds)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        about = self.about
        if (about == "probe") is not (self.is_ is not None):
            raise ValueError("`probe` and `is` go together: healthy, unhealthy or unknown")
        if (about == "query") is not (self.value is not None):
            raise ValueError("`query` and `value` go together: a number, a list of them, or none")
        acts = {
            key
            for key in ("on", "takes", "fails", "permanent", "unknown", "times", "works")
            if getattr(self, key)
        }
        if acts and about != "action":
            raise ValueError(f"`{min(acts)}` goes with `action`")
        if about == "action" and not acts - {"on", "times", "permanent"} and self.crash is None:
            raise ValueError("say what becomes of the act: takes, fails, unknown, crash, or works: true")
        if (self.crash == "now") is not (about == "crash"):
            raise ValueError("`crash: now` stands alone; with an action it is `before` or `after` its effect")
        return self


class _Which(Keys):
    """Which incident is meant: the newest one, unless something narrows it down."""

    at: Annotated[At, Field(description="When, from the beginning of the test on.")]
    rule: Annotated[Text | None, Field(description="The incident of this rule of the pack.")] = None
    target: Annotated[str | None, Field(description="The incident on this target.")] = None
    incident: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="Which of them, counted from 1 as they opened; else the last."),
    ] = None


class PersonKeys(_Which):
    """What a person says: the verb names who."""

    ack: Annotated[Text | None, Field(description="Who has seen it.")] = None
    approve: Annotated[Text | None, Field(description="Who says yes.")] = None
    deny: Annotated[Text | None, Field(description="Who says no.")] = None
    revert: Annotated[Text | None, Field(description="Who has it taken back.")] = None
    extend: Annotated[Text | None, Field(description="Who lets the lease end later, by `for`.")] = None
    close: Annotated[Text | None, Field(description="Who closes it; `keep` leaves what it holds.")] = None
    retry: Annotated[Text | None, Field(description="Who gives it back to automation.")] = None
    done: Annotated[Text | None, Field(description="Who has done what a manual step asks.")] = None
    note: Annotated[Text | None, Field(description="Who writes down `why`.")] = None
    adopt: Annotated[Text | None, Field(description="Who lets it act that was held in shadow.")] = None
    brake: Annotated[Text | None, Field(description="Who brakes: `rule`, `target`, or all of it.")] = None
    release: Annotated[Text | None, Field(description="Who takes the same brake off.")] = None
    why: Annotated[Text, Field(description="The reason.")] = "because"
    for_: Annotated[Duration | None, Field(alias="for", description="For how long.")] = None
    keep: Annotated[bool, Field(description="Whether what is held stays.")] = False
    refused: Annotated[Text | None, Field(description="A piece of the reason why this is not possible.")] = (
        None
    )

    @property
    def verb(self) -> str:
        """Return what the person does."""
        return _alone(self, PEOPLE)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.verb == "extend" and self.for_ is None:
            raise ValueError("say for how long: for: 2h")
        return self


class ExpectKeys(_Which):
    """What must be so at an instant, after all that happens at it."""

    phase: Annotated[Phase | None, Field(description="Where the incident stands.")] = None
    outcome: Annotated[Outcome | None, Field(description="How it ended.")] = None
    reason: Annotated[str | None, Field(description="Why it waits, or was handed over.")] = None
    handed_over: Annotated[bool | None, Field(description="Whether a person has it.")] = None
    severity: Annotated[str | None, Field(description="P0 to P3.")] = None
    flaps: Annotated[Many | None, Field(description="Which flap in a row it is.")] = None
    rung: Annotated[str | None, Field(description="The rung that was started last.")] = None
    held: Annotated[Texts | None, Field(description="What it holds, all of it; `*` is anything.")] = None
    steps: Annotated[Texts, Field(description="Pieces of the words of steps that began, in this order.")] = ()
    not_steps: Annotated[Texts, Field(description="No step with such words began.")] = ()
    events: Annotated[Listed, Field(description="Events that are in its timeline, in this order.")] = ()
    not_events: Annotated[Listed, Field(description="Events that are not.")] = ()
    refused: Annotated[Reasons, Field(description="Why it was refused something so far.")] = ()
    not_refused: Annotated[Reasons, Field(description="Why it was not.")] = ()
    told: Annotated[
        dict[str, Texts],
        Field(description="Contact: the events, or the clocks such as `after 15m`, it was told of."),
    ] = Field(default_factory=dict)
    not_told: Annotated[
        dict[str, Texts], Field(description="The same, of what it was not told; `anything` for all.")
    ] = Field(default_factory=dict)
    values: Annotated[dict[str, str], Field(description="What resources are at.")] = Field(
        default_factory=dict
    )
    incidents: Annotated[Many | None, Field(description="How many incidents there were so far.")] = None

    @model_validator(mode="after")
    def _can_fail(self) -> Self:
        said = self.model_fields_set - {"at"}
        if not any(name == "held" or getattr(self, name) not in _NOTHING for name in said):
            raise ValueError("nothing is expected here, so that this could never fail: say what must be so")
        return self


class TestKeys(Keys):
    """One test."""

    __test__ = False  # no test of Stopgap itself

    name: Annotated[Text, Field(description="A sentence that says what must be so.")]
    mode: Annotated[Mode, Field(description="The daemon's --mode.")] = Mode.AUTO
    probation: Annotated[Duration, Field(description="The daemon's --probation.")] = timedelta()
    start: Annotated[
        Annotated[datetime, AfterValidator(_aware)] | None,
        Field(description="When it begins; else on a Monday at 9:00 UTC."),
    ] = None
    repeat: Annotated[Duration, Field(description="How often Alertmanager repeats what fires.")] = timedelta(
        hours=4
    )
    vars: Annotated[dict[str, str], Field(description="Vars of this test alone.")] = Field(
        default_factory=dict
    )
    alerts: Annotated[
        tuple[AlertKeys, ...], Field(max_length=MOST, description="What Alertmanager tells.")
    ] = ()
    world: Annotated[
        tuple[WorldKeys, ...], Field(max_length=MOST, description="What the outside is like.")
    ] = ()
    people: Annotated[tuple[PersonKeys, ...], Field(max_length=MOST, description="What people say.")] = ()
    expect: Annotated[
        tuple[ExpectKeys, ...], Field(min_length=1, max_length=MOST, description="What must come of it.")
    ]

    @model_validator(mode="after")
    def _repeats(self) -> Self:
        if self.repeat < timedelta(minutes=1):
            raise ValueError("`repeat` is at least 1m")
        return self


class FileKeys(Keys):
    """The whole file."""

    vars: Annotated[dict[str, str], Field(description="Vars of the rules, for all tests of the file.")] = (
        Field(default_factory=dict)
    )
    secrets: Annotated[
        dict[str, str], Field(description="What secrets are in these tests, where any text will not do.")
    ] = Field(default_factory=dict)
    labels: Annotated[Labels, Field(description="Labels of all alerts of the file.")] = Field(
        default_factory=dict
    )
    tests: Annotated[
        tuple[TestKeys, ...], Field(min_length=1, max_length=MOST_TESTS, description="The tests.")
    ]

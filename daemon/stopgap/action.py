"""Action: a kind of thing that a step can do, and take back.

An action decides nothing: the engine has asked the guards, has put the undo on disk and asks afterwards what came of it. It
promises that it can be described without I/O, that an ActionError means *known not done*, and that a cancellation leaves no half
state. Whatever else it raises, a timeout included, is an unknown outcome and is resolved by `observe` and `settled`.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr

Json = Any
"""What `json.dumps` takes: the form of an undo and of a receipt."""

Text = str | SecretStr
"""A parameter in which `{{ secrets.x }}` may stand; such a value arrives as SecretStr and prints masked."""


def reveal(text: Text) -> str:
    """Return the characters, secret or not: only for the act itself, never for a log or a description."""
    return text.get_secret_value() if isinstance(text, SecretStr) else text


def bare(tree: Any) -> Any:
    """Return a tree with the characters of its secrets, each marked as one: only to be digested."""
    if isinstance(tree, BaseModel):
        return {key: bare(inner) for key, inner in tree}
    if isinstance(tree, Mapping):
        return {key: bare(inner) for key, inner in tree.items()}
    if isinstance(tree, list | tuple):
        return [bare(inner) for inner in tree]
    return ("secret", tree.get_secret_value()) if isinstance(tree, SecretStr) else tree


class Danger(StrEnum):
    """How much an action can destroy: destructive ones do not load without an approval."""

    NONE = "none"
    BOUNDED = "bounded"
    DESTRUCTIVE = "destructive"


class Settled(StrEnum):
    """What observation says of an act whose result is not known."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNCLEAR = "unclear"


class Restored(StrEnum):
    """What became of one step's undo."""

    REVERTED = "reverted"
    NOTHING = "nothing"  # the old value was already in place
    DRIFTED = "drifted"  # somebody changed it meanwhile: left alone


@dataclass(frozen=True, slots=True)
class Reverted:
    """The answer of `revert`: `detail` says in a line what was put back or left (never a secret).

    `partly` tells of a drifted step that some of it was put back all the same: that must be made effective too.
    """

    result: Restored
    detail: str = ""
    partly: bool = False

    @property
    def changed(self) -> bool:
        """Tell whether anything was put back."""
        return self.partly or self.result is Restored.REVERTED


class Params(BaseModel):
    """The parameters of one step, as a rule's YAML gives them. Subclass per action.

    `verbatim` names the fields whose scalars keep their characters (a flag's `0120` stays `0120`); `prose` names the fields in
    which a label value may hold any printable text, because a person and not a program reads it. `scalar` names the field that a
    bare scalar fills (`wait: 30s`); `siblings` the fields that YAML writes beside the name (`{promql: up, is: == 1}`). `fixed`
    names the fields in which no template but vars may stand: what they say is known, whole, when the rules are loaded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    verbatim: ClassVar[frozenset[str]] = frozenset()
    prose: ClassVar[frozenset[str]] = frozenset()
    scalar: ClassVar[str] = ""
    siblings: ClassVar[frozenset[str]] = frozenset()
    fixed: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Moment:
    """What an act is told of its circumstances: its idempotency key, its time limit, and when to cut a wait short."""

    key: str
    timeout: timedelta
    rule: str = ""  # pack/name
    target: str = ""
    incident: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    hurry: "Hurry | None" = None

    @property
    def origin(self) -> str:
        """Return what the keys of a step, of its repetitions and of its revert have in common: by it both find the same thing."""
        step, *rest = self.key.rsplit("/", 2)
        if rest[:1] in (["do"], ["revert"]):
            return step
        return f"{step}/activate" if rest[:1] in (["activate"], ["reactivate"]) else self.key

    @property
    def takes_back(self) -> bool:
        """Tell whether it is the moment of a revert."""
        return self.key.rsplit("/", 2)[1:2] == ["revert"]


class Hurry(Protocol):
    """Set once all alerts of the incident are over: a waiting step ends early."""

    async def wait(self) -> Any:
        """Return when there is no more reason to wait."""
        ...

    def is_set(self) -> bool:
        """Tell whether there is no more reason to wait."""
        ...


P = TypeVar("P", bound=Params)


class Action(Protocol[P]):
    """One kind of step. Instances are made once, in `app.py`, and hold their clients; `params` come with every call."""

    name: ClassVar[str]
    danger: ClassVar[Danger]
    timeout: ClassVar[timedelta]  # default of the step key `timeout`
    by_hand: ClassVar[bool] = False  # a person runs it, and says when it is done; may be left out
    params: type[P]

    def describe(self, params: P) -> str:
        """Say in one line what would be done, secrets masked, without I/O."""
        ...

    def danger_of(self, given: Mapping[str, Any]) -> Danger:  # noqa: ARG002 - for those whose parameters matter
        """Say how much a step with these parameters can destroy, by what its fixed fields say.

        `given` is as the rule writes it, not validated. May be left out, and is then `danger`.
        """
        return self.danger

    def idempotent(self, params: P) -> bool:
        """Tell whether a repetition with the same key does no harm when the outcome is unclear."""
        ...

    def reverts(self, params: P) -> bool:
        """Tell whether there is something to take back: only then is the step held as a lease."""
        ...

    def resource(self, params: P) -> tuple[str, ...]:
        """Name what the step changes (`env:/etc/x.env#PMS_TYPE`), without I/O."""
        ...

    def undo_by_hand(self, params: P, before: Json) -> str:
        """Say what a person does to take the step back, with the old value unless it is a secret."""
        ...

    def observes(self, params: P) -> bool:  # noqa: ARG002 - for those whose parameters matter
        """Tell whether `observe` asks anybody outside: then the guards are asked before it, too.

        May be left out, and is then True.
        """
        return True

    async def observe(self, params: P, moment: Moment) -> Json:
        """Read what `run` is about to change: the undo. Raises ActionError."""
        ...

    def rehearse(self, params: P, moment: Moment) -> Awaitable[object]:
        """Prove, changing nothing, that `run` could be done now. Raises ActionError that says what is missing.

        May be left out, and is then to observe.
        """
        return self.observe(params, moment)

    def effect(self, params: P, values: Mapping[str, Json]) -> Mapping[str, Json] | None:  # noqa: ARG002 - the port's
        """Say at what `run` would leave its resources that are at these values. Raises ActionError where `run` would.

        May be left out, and is then None: where a rule is tested, a value that nobody else sets stands for what the step did.
        """
        return None

    def settled(self, params: P, before: Json, now: Json) -> Settled:
        """Judge an act of unknown outcome from the observation before it and the one now."""
        ...

    def settled_revert(self, params: P, before: Json, now: Json) -> Settled:
        """Judge a revert of unknown outcome: DONE when the old value is back."""
        ...

    async def run(self, params: P, before: Json, moment: Moment) -> Json:
        """Act, and return the receipt. Raises TemporaryError or PermanentError when known not done."""
        ...

    async def revert(self, params: P, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Put back what `observe` saw, unless somebody changed it meanwhile. `receipt` is None when `run` never answered."""
        ...

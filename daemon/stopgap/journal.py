"""Journal: the port through which everything becomes durable, and what passes through it.

One writer works off one operation after the other and commits them in groups. What an operation returns is on disk.
Observers see each committed line on the event loop, in commit order, before the operation that wrote it returns: the
engine's own state, the log and the metrics are all observers of this one timeline.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from stopgap.action import Json
from stopgap.guard import Refusal, Request
from stopgap.incident import Event, Outcome
from stopgap.ledger import Brake, BrakeScope, Ledger
from stopgap.value import cheaply_made

CONTROL = "control"
"""The pseudo-incident of control actions: brakes, reloads, refused logins."""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Sighting:
    """One alert of one notification, as one rule sees it. `alert` holds labels, annotations and starts_at (RFC 3339).

    The writer joins or opens the live incident of (rule, target); a firing alert that it knows to fire changes nothing, as does a
    resolved one that it does not know. `flap_window` is how long after a revert a new incident counts as a flap; `flap_from` says
    at which rung that starts, by the name of the rung that held. `by` names who told of it, where that was not Alertmanager's
    webhook; `because` says why `mode` is more careful than the rule's. `then` is what comes right after `opened` where it opens an
    incident: the first decision, if that is certain before.
    """

    rule: str
    version: str
    target: str
    severity: str
    mode: str
    fingerprint: str
    alert: Mapping[str, Json]
    firing: bool
    at: datetime
    flaw: str = ""
    flap_window: timedelta = timedelta(minutes=15)
    flap_from: Mapping[str, int] = field(default_factory=dict)
    by: str = ""
    because: str = ""
    then: tuple[Event, ...] = ()


def check_texts(*texts: str) -> None:
    """Raise ValueError for what no Journal keeps, as no text column can hold it: lone surrogates, and PostgreSQL's no NUL."""
    together = "".join(texts)
    together.encode()
    if "\0" in together:
        raise ValueError("a text holds NUL, which the store cannot keep")


@cheaply_made
@dataclass(frozen=True, slots=True)
class Line:
    """One committed event of one timeline."""

    incident: str
    event: Event


@dataclass(frozen=True, slots=True)
class Undo:
    """What `observe` saw before a step, and what `run` returned; may bear secrets, so it never enters a timeline."""

    before: Json
    receipt: Json = None


@dataclass(frozen=True, slots=True)
class Closing:
    """What the row of a closed incident says. `reverted_at` is set when it was taken back after recovery.

    `serve` marks its firing alerts as served: their repeats open nothing. Otherwise those that still fire (`refiring`)
    open the next incident in the same commit. `used` are the rungs that must not run again along the chain of flaps; `helped` is
    the name of the highest one that did not fail; `drill` is the name of the drill that it was to the end.
    """

    outcome: Outcome
    severity: str
    rung: int
    mitigated_at: datetime | None = None
    reverted_at: datetime | None = None
    serve: bool = False
    refiring: tuple[Sighting, ...] = ()
    used: tuple[str, ...] = ()
    helped: str = ""
    drill: str = ""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Append:
    """One operation on one live incident: these events, and in the same commit what belongs to them.

    `expect` is the seq that the decision was made at; None for facts, which are appended whatever came between.
    `request` is put to the guards inside the batch, against rows as they are then; when they allow, `request.take` is
    held, and a request that starts a rung gets its permit row, which counts from then on (a shadow's among shadows, and it holds
    nothing). `undo` maps an act (`0/0/do`) to what was observed; `receipt` an act to what it returned.
    """

    incident: str
    events: tuple[Event, ...]
    expect: int | None = None
    request: Request | None = None
    release: tuple[str, ...] = ()
    undo: Mapping[str, Json] = field(default_factory=dict)
    receipt: Mapping[str, Json] = field(default_factory=dict)
    closing: Closing | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """The incident moved on since the decision was made (or is closed): decide anew."""

    seq: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An incident's row, as listings show it; of a live one only what was known when it opened."""

    id: str
    rule: str
    version: str
    target: str
    severity: str
    mode: str
    opened_at: datetime
    outcome: str = ""
    mitigated_at: datetime | None = None
    closed_at: datetime | None = None
    follows: str = ""
    drill: str = ""


class Journal(Protocol):
    """The store, as the engine and the API see it. Every method raises StoreError when it cannot do its work."""

    def acting(self) -> AbstractContextManager[None]:
        """Let an act be under way within the block, as long as it is certain that no other daemon acts."""
        ...

    def subscribe(self, observer: Callable[[Line], None]) -> None:
        """Call `observer` with each committed line."""
        ...

    async def receive(self, sightings: Sequence[Sighting]) -> None:
        """Make what these alerts change durable."""
        ...

    async def append(self, append: Append) -> tuple[Event, ...] | Conflict | Refusal:
        """Append to one incident; returns the events with their seq."""
        ...

    async def ledger(self, request: Request) -> Ledger:
        """Read what the guards need for a request."""
        ...

    async def openings(self, since: datetime) -> tuple[tuple[str, datetime], ...]:
        """Return (target, opened_at) of all incidents opened since, live or closed, oldest first; the last 100 000 of them."""
        ...

    async def meet(self, rules: Collection[str], at: datetime) -> Mapping[str, datetime]:
        """Take note of rules (pack/name) that were never loaded before; returns when each was loaded for the first time."""
        ...

    async def live(self) -> Mapping[str, tuple[Event, ...]]:
        """Return the timelines of all incidents that are not closed, in the order in which they opened."""
        ...

    async def served(self) -> frozenset[tuple[str, str]]:
        """Return the (rule, fingerprint) pairs whose repeats open nothing."""
        ...

    async def closed(
        self, *, rule: str | None, target: str | None, before: str | None, limit: int
    ) -> tuple[Stored, ...]:
        """Return closed incidents, newest first, older than the incident `before`."""
        ...

    async def timeline(self, incident: str) -> tuple[Event, ...]:
        """Return one timeline, of a live or closed incident or of `control`; empty when unknown."""
        ...

    async def lately(self, most: int) -> tuple[Event, ...]:
        """Return the last events of `control`, oldest first, at most so many."""
        ...

    async def undo(self, incident: str, act: str) -> Undo | None:
        """Return the undo of one act (`0/0/do`)."""
        ...

    async def remember(self, documents: Mapping[str, Json]) -> None:
        """Keep rule versions: digest to document."""
        ...

    async def document(self, version: str) -> Json:
        """Return the document of a rule version, None when unknown."""
        ...

    async def control(self, event: Event) -> None:
        """Append to the pseudo-incident `control`."""
        ...

    async def brake(self, brake: Brake) -> None:
        """Put on a brake; one per scope and name, a second replaces the first."""
        ...

    async def release(self, scope: BrakeScope, name: str, by: str, at: datetime, why: str = "") -> bool:
        """Take off a brake; False when there was none."""
        ...

    async def brakes(self) -> tuple[Brake, ...]:
        """Return the brakes that are on."""
        ...

"""Desk: what the API speaks to, and the port through which it gives a person's orders."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from aiohttp import web

from stopgap.alert import Alert
from stopgap.clock import Clock
from stopgap.credential import Credential
from stopgap.drill import Drills
from stopgap.errors import Problem
from stopgap.explanation import Explanation
from stopgap.incident import Incident
from stopgap.journal import Journal
from stopgap.ledger import Brake, BrakeScope
from stopgap.link import Links
from stopgap.rehearsal import Rehearsal
from stopgap.rule import Rule
from stopgap.rulebook import Changes, Rulebook


class Engine(Protocol):
    """The engine, as far as the API knows it."""

    @property
    def journal(self) -> Journal:
        """The store."""
        ...

    @property
    def incidents(self) -> Mapping[str, Incident]:
        """The live incidents, newest last."""
        ...

    @property
    def brakes(self) -> tuple[Brake, ...]:
        """The brakes that are on."""
        ...

    @property
    def rulebook(self) -> Rulebook:
        """The rules in force."""
        ...

    def rule_of(self, state: Incident) -> Rule | None:
        """Return the rule version that an incident runs under."""
        ...

    async def brake(self, brake: Brake) -> None:
        """Stop automatic changes, durably. Raises StoreError."""
        ...

    async def release(self, scope: BrakeScope, name: str, by: str, why: str = "") -> bool:
        """Take off a brake; False when there was none. Raises StoreError."""
        ...


class Orders(Protocol):
    """What people may say to an incident. Everything raises NoSuchIncident, NotPossible, StoreError."""

    async def acknowledge(self, identifier: str, by: str, why: str = "") -> None:
        """Say that a person has seen it."""
        ...

    async def approve(self, identifier: str, by: str, why: str = "", request: int | None = None) -> None:
        """Say yes to the pending request, to that of this number only."""
        ...

    async def deny(self, identifier: str, by: str, why: str, request: int | None = None) -> None:
        """Say no to it."""
        ...

    async def note(self, identifier: str, by: str, text: str) -> None:
        """Write something down."""
        ...

    async def done(self, identifier: str, by: str, why: str) -> None:
        """Say that the step which waits for a person is done."""
        ...

    async def retry(self, identifier: str, by: str, why: str) -> None:
        """Give it back to automation."""
        ...

    async def adopt(self, identifier: str, by: str, why: str) -> None:
        """Let it act that was held in shadow for being new."""
        ...

    async def revert(self, identifier: str, by: str, why: str) -> None:
        """Take everything back now."""
        ...

    async def extend(self, identifier: str, by: str, for_: timedelta, why: str) -> None:
        """Let the lease end later."""
        ...

    async def close(self, identifier: str, by: str, why: str, *, keep: bool) -> None:
        """End an incident."""
        ...


class Rehearser(Protocol):
    """Who tries what the rules may need, before an alert needs it."""

    @property
    def last(self) -> Rehearsal | None:
        """What came of it for the rules in force; None while it is not done."""
        ...

    async def now(self) -> Rehearsal | None:
        """Try everything once more; None when the daemon is ending."""
        ...


class Explainer(Protocol):
    """Who says why it would act, or why it did not."""

    async def alerts(self, alerts: Sequence[Alert], *, nearest: int) -> Explanation:
        """Explain what alerts would come to."""
        ...

    async def incident(self, identifier: str) -> Explanation | None:
        """Explain one incident; None when there is none of this id. Raises StoreError."""
        ...


class Reloaded(Protocol):
    """What a reload came to."""

    @property
    def rules(self) -> int:
        """How many rules are in force now."""
        ...

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why the old rules stay, when they do."""
        ...

    @property
    def changes(self) -> Changes:
        """What is otherwise than before."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything behind the API. `ready` maps each check to what is wrong with it, or to an empty text.

    `dependencies` does so for what is outside, which is no reason not to be ready; `leads` tells whether it is certain that no
    other daemon does. `rebuild` builds the rule of a stored document again, and raises ValueError where that cannot be done.
    `hosts` are the names under which control may be asked, beside localhost and addresses (DNS rebinding). With `links`, whoever
    holds a signed link may answer the request for which it was sent.
    """

    engine: Engine
    orders: Orders
    token: Credential
    clock: Clock
    metrics: Callable[[], bytes]
    reload: Callable[[], Awaitable[Reloaded]]
    rebuild: Callable[[Any], Rule]
    ready: Callable[[], Mapping[str, str]]
    rehearser: Rehearser
    explainer: Explainer
    login_refused: Callable[[], None]
    hosts: frozenset[str] = field(default_factory=frozenset)
    links: Links | None = None
    dependencies: Callable[[], Mapping[str, str]] = dict
    drills: Drills | None = None
    leads: Callable[[], bool] = lambda: True


DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)

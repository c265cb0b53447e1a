"""Recorder: journals what was decided at a state, and remembers what was refused and when to ask again."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

from stopgap.clock import Clock
from stopgap.guard import Reason, Refusal, Request
from stopgap.incident import Event, EventKind as K, Incident, holdings
from stopgap.journal import Append, Conflict, Journal
from stopgap.transitions import apply

ASK_AGAIN = timedelta(
    seconds=30
)  # a refusal without an end is asked again after this, or when something is released


Sequel = Callable[[str, Event], tuple[Incident, tuple[Event, ...]] | None]
"""Tells what is decided right after an event that is about to be journaled, and the state at which both are; None for nothing."""


class Recorder:
    """Keeps only what a restart may forget: the refusals, each with the instant at which it is asked again."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._refused: dict[str, Refusal] = {}
        self._released: dict[Reason, int] = {}  # by which release each reason was last let go
        self.releases = 0
        self.sequel: Sequel = lambda _identifier, _event: None

    def event(self, kind: K, /, **detail: Any) -> Event:
        """Return an event of this instant, without what is empty."""
        return Event(kind, self._clock.now(), {k: v for k, v in detail.items() if v not in (None, "")})

    async def put(
        self, state: Incident, *events: Event, request: Request | None = None, **more: Any
    ) -> tuple[Event, ...] | Conflict | Refusal:
        """Append events decided at a state, with what belongs to them. Raises StoreError."""
        held = holdings(state)
        release = tuple(sorted(held - holdings(reduce(apply, events, state)))) if held else ()
        return await self._journal.append(
            Append(state.id, events, expect=state.seq, request=request, release=release, **more)
        )

    async def append(
        self, state: Incident, *events: Event, request: Request | None = None, **more: Any
    ) -> bool:
        """Append likewise; False when it moved on meanwhile or a guard refused (which is journaled)."""
        answer = await self.put(state, *events, request=request, **more)
        if isinstance(answer, Refusal):
            await self.refuse(state, answer)
            return False
        return not isinstance(answer, Conflict)

    async def fact(self, state: Incident, event: Event, receipt: dict[str, Any]) -> None:
        """Append what happened, whatever came between; if nothing did, in one commit with what is decided right after it."""
        sequel = self.sequel(state.id, event)
        if sequel is not None:
            now, following = sequel
            answer = await self.put(now, event, *following, receipt=receipt)
            if not isinstance(answer, Conflict):
                return
        await self._journal.append(Append(state.id, (event,), receipt=receipt))

    # --- refusals ---

    async def refuse(self, state: Incident, refusal: Refusal) -> None:
        """Keep a refusal until it may be asked again, and journal it when its reason is new."""
        self.keep(state.id, refusal)
        if state.reason != refusal.reason:
            until = refusal.until.isoformat() if refusal.until else None
            event = self.event(K.REFUSED, reason=refusal.reason, text=refusal.text, until=until)
            await self.append(state, event)

    def keep(self, identifier: str, refusal: Refusal) -> None:
        """Keep a refusal until it may be asked again."""
        self._refused[identifier] = replace(refusal, until=refusal.until or self._clock.now() + ASK_AGAIN)

    def refusal_of(self, identifier: str) -> Refusal | None:
        """Return what was last refused, while it counts."""
        return self._refused.get(identifier)

    def retry_at(self, identifier: str) -> datetime | None:
        """Return when a refused request may be asked again."""
        refusal = self._refused.get(identifier)
        return refusal.until if refusal else None

    def forget(self, identifier: str) -> None:
        """Drop what is kept for an incident."""
        self._refused.pop(identifier, None)

    def overtake(self, identifier: str, since: int) -> None:
        """Drop a refusal whose reason was let go after the `since`th release, while the guards were answering."""
        refusal = self._refused.get(identifier)
        if refusal is not None and self._released.get(refusal.reason, 0) > since:
            self.forget(identifier)

    def release(self, reasons: Collection[Reason]) -> tuple[str, ...]:
        """Let requests that were refused for these reasons be asked again now; returns whose."""
        self.releases += 1
        self._released |= dict.fromkeys(reasons, self.releases)
        freed = tuple(name for name, refusal in self._refused.items() if refusal.reason in reasons)
        for name in freed:
            del self._refused[name]
        return freed

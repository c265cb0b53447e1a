"""Faults: what becomes of an incident that automation cannot go on with, through nobody's decision: a person gets it.

An action or a rule that raises what nobody expected is tried again a few times; a rule version that cannot be built any more is
given up at once. Whatever such an incident holds stays as it is, and is said.
"""

from collections import Counter
from typing import Any

from stopgap.clock import Clock
from stopgap.incident import Event, EventKind as K, Incident
from stopgap.journal import Append, Journal

MOST = 3  # surprises in a row


class Faults:
    """Counts surprises in a row, and hands over."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._count: Counter[str] = Counter()

    def clear(self, identifier: str) -> None:
        """Forget what went wrong: it went well."""
        self._count.pop(identifier, None)

    async def surprised(self, state: Incident, error: Exception) -> None:
        """Count a surprise; the last that is borne hands the incident over. Raises StoreError."""
        self._count[state.id] += 1
        if self._count[state.id] >= MOST and not state.stuck:
            text = f"a fault, {MOST} times in a row ({type(error).__name__}): the log has it"
            await self._give_up(state, "fault", text)
            self.clear(state.id)

    async def lost(self, state: Incident, why: str) -> None:
        """Hand over an incident whose rule version cannot be built any more. Raises StoreError."""
        if not state.stuck:
            await self._give_up(state, "rule_lost", f"its rule cannot be built any more: {why}")

    async def _give_up(self, state: Incident, reason: str, text: str) -> None:
        held = [resource for rung in state.held for resource in state.rungs[rung].resources]
        detail: dict[str, Any] = {"reason": reason, "text": text, "stuck": True}
        if held:
            detail["undo"] = [f"put back {', '.join(held)}"]
        await self._journal.append(Append(state.id, (Event(K.HANDED_OVER, self._clock.now(), detail),)))

"""Tell: lets people know of the moments of a timeline that a person must hear of, without ever delaying a mitigation.

An observer of the timeline: it puts messages into a bounded queue, from which a few workers send them; each delivery and each
failure is itself a line of the timeline.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from stopgap.clock import Clock
from stopgap.contacts import Contacts
from stopgap.errors import ActionError, StoreError
from stopgap.incident import Event, EventKind as K, Incident, Phase
from stopgap.journal import CONTROL, Append, Journal, Line
from stopgap.rule import Rule

log = structlog.get_logger(__name__)

DEFAULT = "default"
ALWAYS = frozenset(
    {K.HANDED_OVER, K.MITIGATION_LOST, K.LEASE_ENDING, K.LEASE_EXPIRED, K.REVERT_FAILED, K.DRIFTED}
)
"""What the `default` contact hears of, unless the rule's own escalation takes it."""

QUEUED = 1000  # messages that may wait
WORKERS = 2
LAST_WORDS = 5.0  # seconds that a stop waits for what is queued
LONGEST_BODY = 4000  # characters


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one contact about one event."""

    incident: str
    pack: str
    contact: str
    when: K
    title: str
    body: str


class Teller:
    """Sends what `observe` queued. `start` and `stop` own the workers; what a stop cannot send in time is dropped and logged."""

    def __init__(
        self, journal: Journal, contacts: Contacts, clock: Clock, rule_of: Callable[[Incident], Rule | None]
    ) -> None:
        self._journal = journal
        self._contacts = contacts
        self._clock = clock
        self._rule_of = rule_of
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUED)
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers."""
        self._workers = [asyncio.create_task(self._work(), name=f"teller {i}") for i in range(WORKERS)]

    async def stop(self) -> None:
        """Send what is queued, as far as it goes in a few seconds, and stop the workers."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), LAST_WORDS)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._queue.qsize():
            log.warning("messages_dropped", count=self._queue.qsize())

    def observe(self, line: Line, state: Incident) -> None:
        """Queue the messages that an event asks for."""
        if line.incident == CONTROL or line.event.kind in (K.NOTIFIED, K.NOTIFY_FAILED):
            return
        rule = self._rule_of(state)
        if rule is None:
            return
        for contact in self._whom(rule, line.event, state):
            title, body = compose(rule, state, line.event)
            message = Message(line.incident, rule.pack, contact, line.event.kind, title, body)
            try:
                self._queue.put_nowait(message)
            except asyncio.QueueFull:
                log.error("message_lost", incident=line.incident, contact=contact)  # noqa: TRY400 - no trace wanted

    def _whom(self, rule: Rule, event: Event, state: Incident) -> tuple[str, ...]:
        wanted = tuple(
            dict.fromkeys(c for step in rule.escalate if step.when == event.kind for c in step.notify)
        )
        if wanted or not must_hear(event, state):
            return wanted
        return (DEFAULT,) if self._contacts.find(rule.pack, DEFAULT) is not None else ()

    async def _work(self) -> None:
        while True:
            message = await self._queue.get()
            try:
                await self._deliver(message)
            except Exception:  # border: message. One that cannot be sent keeps nobody from hearing the next
                log.exception("message_fault", incident=message.incident, contact=message.contact)
            self._queue.task_done()

    async def _deliver(self, message: Message) -> None:
        detail: dict[str, Any] = {"contact": message.contact, "when": message.when}
        kind = K.NOTIFIED
        try:
            await self._contacts.send(message.pack, message.contact, message.title, message.body)
        except ActionError as error:
            kind = K.NOTIFY_FAILED
            detail["why"] = str(error)[:300]
        try:
            event = Event(kind, self._clock.now(), detail)
            await self._journal.append(Append(message.incident, (event,)))
        except StoreError as error:
            log.warning("message_not_journaled", incident=message.incident, why=str(error))


def must_hear(event: Event, state: Incident) -> bool:
    """Tell whether a person must hear of an event even if no escalation asks for it."""
    detail = event.detail
    if event.kind is K.REFUSED:  # a brake in the middle of a rung leaves it half done
        return detail.get("reason") == "brake" and state.phase in (Phase.MITIGATING, Phase.REVERTING)
    if event.kind is K.RUNG_HELD:
        return detail.get("verdict") == "unknown" and state.phase is Phase.VERIFYING
    if event.kind is K.PROBE_UNKNOWN:  # held because nothing can prove recovery
        return not detail.get("probe")
    return event.kind in ALWAYS


def compose(rule: Rule, state: Incident, event: Event) -> tuple[str, str]:
    """Return title and body of the message about an event."""
    detail = event.detail
    title = f"[{state.severity}] {rule.id} on {state.target or 'no target'}: {event.kind.replace('_', ' ')}"
    lines = [
        rule.summary,
        *(str(detail[key]) for key in ("text", "why", "detail", "reason") if detail.get(key)),
        *(f"undo by hand: {undo}" for undo in detail.get("undo", ())),
        f"phase {state.phase}, incident {state.id}",
        f"alerts: {', '.join(sorted({a.labels.get('alertname', '?') for a in state.alerts.values()}))}",
        f"runbook: {rule.runbook_url}" if rule.runbook_url else "",
    ]
    return title[:200], "\n".join(line for line in lines if line)[:LONGEST_BODY]

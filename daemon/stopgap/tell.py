"""Tell: lets people know of the moments of a timeline that a person must hear of, without ever delaying a mitigation.

An observer of the timeline: it puts messages into a bounded queue, from which a few workers send them; each delivery and each
failure is itself a line of the timeline.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from stopgap.audience import DEFAULT, must_hear, wanted
from stopgap.clock import Clock
from stopgap.contacts import Contacts
from stopgap.errors import ActionError, StoreError
from stopgap.incident import Event, EventKind as K, Incident
from stopgap.journal import CONTROL, Append, Journal, Line
from stopgap.rule import Rule

log = structlog.get_logger(__name__)

QUEUED = 1000  # messages that may wait
WORKERS = 2
LAST_WORDS = 5.0  # seconds that a stop waits for what is queued
LONGEST_BODY = 4000  # characters
LONGEST_WORDS, MOST_WORDS = 150, 10  # characters of one step, steps of one rung: the link must not be cut off

Link = Callable[[str, int, str], str]
"""Returns the link with which a contact answers a request (incident, number, contact), or nothing."""


def no_link(_: str, __: int, ___: str) -> str:
    """Return nothing: nobody said under which URL people reach this daemon."""
    return ""


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
        self,
        journal: Journal,
        contacts: Contacts,
        clock: Clock,
        rule_of: Callable[[Incident], Rule | None],
        link: Link = no_link,
    ) -> None:
        self._journal = journal
        self._contacts = contacts
        self._clock = clock
        self._rule_of = rule_of
        self._link = link
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
        if line.event.kind in (K.NOTIFIED, K.NOTIFY_FAILED):
            return
        if line.incident == CONTROL:
            self._observe_control(line.event)
            return
        rule = self._rule_of(state)
        if rule is None:
            return
        for contact in self._whom(rule, line.event, state):
            title, body = self._compose(rule, state, line.event, contact)
            self._put(Message(line.incident, rule.pack, contact, line.event.kind, title, body))

    def _observe_control(self, event: Event) -> None:
        """Tell the whole site once that a storm holds everything back."""
        if event.kind is K.STORM_BEGAN and self._contacts.find("", DEFAULT) is not None:
            self._put(Message(CONTROL, "", DEFAULT, event.kind, *compose_storm(event)))

    def _put(self, message: Message) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            log.error("message_lost", incident=message.incident, contact=message.contact)  # noqa: TRY400 - no trace wanted

    def _compose(self, rule: Rule, state: Incident, event: Event, contact: str) -> tuple[str, str]:
        if event.kind is not K.APPROVAL_REQUESTED:
            return compose(rule, state, event)
        return compose_request(rule, state, event, self._link(state.id, event.seq, contact))

    def _whom(self, rule: Rule, event: Event, state: Incident) -> tuple[str, ...]:
        asked = wanted(rule, event.kind)
        if asked or not must_hear(event, state):
            return asked
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
            if message.incident == CONTROL:
                await self._journal.control(event)
            else:
                await self._journal.append(Append(message.incident, (event,)))
        except StoreError as error:
            log.warning("message_not_journaled", incident=message.incident, why=str(error))


def compose(rule: Rule, state: Incident, event: Event) -> tuple[str, str]:
    """Return title and body of the message about an event."""
    detail = event.detail
    said = (
        rule.summary,
        *(str(detail[key]) for key in ("text", "why", "detail", "reason") if detail.get(key)),
        *(f"undo by hand: {undo}" for undo in detail.get("undo", ())),
    )
    return _title(rule, state, event), _body(*said, *_place(rule, state))


def compose_request(rule: Rule, state: Incident, event: Event, link: str) -> tuple[str, str]:
    """Return title and body of a request for approval: what would be done, until when, and how to answer."""
    detail = event.detail
    said = (
        rule.summary[: 2 * LONGEST_WORDS],
        str(detail.get("text", ""))[: 2 * LONGEST_WORDS],
        f"it would do: {detail.get('name', '')}",
        *_listed(detail.get("steps", ())),
        "and then verify:" if detail.get("verify") else "and verify nothing",
        *_listed(detail.get("verify", ())),
        f"answer until {_clock_time(detail.get('until', ''))}: no answer means no",
        f"look and answer here: {link}" if link else "",
        f"yes: stopgap approve {state.id}",
        f'no: stopgap deny {state.id} --why "…"',
    )
    return _title(rule, state, event), _body(*said, *_place(rule, state))


def compose_storm(event: Event) -> tuple[str, str]:
    """Return title and body of the one message about a storm."""
    detail = event.detail
    text = str(detail.get("text") or f"{detail.get('targets', 'many')} targets")
    rules = sorted(detail.get("rules", {}).items(), key=lambda counted: -counted[1])
    body = (
        text,
        "New mitigations wait until it is calm; what is held stays held, and is taken back as ever.",
        *(f"{count} of {rule}" for rule, count in rules[:MOST_WORDS]),
        "such as:",
        *_listed(detail.get("examples", ())),
    )
    return f"storm: {text.partition(' (')[0]}, new mitigations wait"[:200], _body(*body)


def _title(rule: Rule, state: Incident, event: Event) -> str:
    words = event.kind.replace("_", " ")
    return f"[{state.severity}] {rule.id} on {state.target or 'no target'}: {words}"[:200]


def _body(*lines: str) -> str:
    """Join what is said, each on one line: no value of an alert can forge the next one."""
    return "\n".join(" ".join(line.split()) for line in lines if line)[:LONGEST_BODY]


def _place(rule: Rule, state: Incident) -> tuple[str, ...]:
    """Say of which incident a message is."""
    return (
        f"phase {state.phase}, incident {state.id}",
        f"alerts: {', '.join(sorted({a.labels.get('alertname', '?') for a in state.alerts.values()}))}",
        f"runbook: {rule.runbook_url}" if rule.runbook_url else "",
    )


def _listed(words: Sequence[str]) -> tuple[str, ...]:
    """Return a bounded list, one line each."""
    rest = len(words) - MOST_WORDS
    lines = tuple(f"- {str(each)[:LONGEST_WORDS]}" for each in words[:MOST_WORDS])
    return (*lines, f"- and {rest} more") if rest > 0 else lines


def _clock_time(text: str) -> str:
    """Write an instant as people read it, in UTC."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%H:%M:%S} UTC" if text else "soon"

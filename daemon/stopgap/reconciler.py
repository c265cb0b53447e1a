"""Reconciler: asks all Alertmanagers what they know, and lets the engine believe what that proves.

It also holds back what rests on an old claim: incidents that a restart found waiting, and alerts that fire again and began before
their end was heard of. They act once a survey, a second notification or Prometheus confirms them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from stopgap.alert import Alert
from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.incident import EventKind as K, Incident, Phase
from stopgap.journal import CONTROL, Line
from stopgap.probe import Verdict
from stopgap.reconcile import Beliefs, Ended, all_over, ambiguous
from stopgap.survey import Survey, Surveyor, receiver_name

log = structlog.get_logger(__name__)

EVERY = timedelta(seconds=30)
PATIENCE = 2  # surveys that may be incomplete, until Prometheus is asked alone
REMEMBERED = 20_000  # episodes that are over
POLLED = "alertmanager"  # by whom an event is said that no webhook told
ALONE = "prometheus"
FIRST_START = "it fired before the first start, so what may have been done about it is not known: adopt it to let it act"

Confirm = Callable[[Incident], Awaitable[Verdict]]
"""Asks Prometheus whether an incident's alerts are over: healthy when they are, unhealthy while they fire."""


class Ward(Protocol):
    """What the reconciler needs of the engine."""

    @property
    def incidents(self) -> Mapping[str, Incident]:
        """The live incidents."""
        ...

    @property
    def fresh(self) -> bool:
        """Tell whether the store knew none of the rules at the start: it is new, or was lost."""
        ...

    async def receive(self, alerts: Sequence[Alert], by: str = "", *, careful: str = "") -> Any:
        """Make what these alerts change durable; `careful` says why what opens is held in shadow. Raises StoreError."""
        ...

    def reconsider(self, identifiers: Iterable[str]) -> None:
        """Let incidents be decided anew."""
        ...


class Reconciler:
    """Surveys regularly. Without Alertmanagers it only clears doubts, by Prometheus where there is one."""

    def __init__(
        self,
        ward: Ward,
        clock: Clock,
        surveyor: Surveyor,
        confirm: Confirm | None,
        receiver: str | None,
        *,
        every: timedelta = EVERY,
    ) -> None:
        self._ward = ward
        self._clock = clock
        self._surveyor = surveyor
        self._confirm = confirm
        self._every = every
        self.receiver = receiver  # ours, as configured; learnt from a webhook where nobody named it
        self._beliefs = Beliefs()
        self._doubts: dict[str, str] = {}
        self._silenced: frozenset[str] = frozenset()
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._heard_at = clock.now()  # of the last complete survey, or the start
        self._at_once = asyncio.Event()
        self._careful = FIRST_START if ward.fresh else ""
        self.last: Survey | None = None

    async def start(self) -> None:
        """Doubt all that waits since before the start, and begin to ask."""
        if self._surveyor or self._confirm is not None:
            for state in self._ward.incidents.values():
                known = state.drill  # by ourselves: nobody else can tell whether its alert fires
                if not known and state.applying and state.firing and state.phase is not Phase.RECOVERING:
                    self._doubts[state.id] = "it began before the restart: its alerts are asked about first"
        self._task = asyncio.create_task(self._go(), name="reconciler")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- what decisions depend on ---

    def doubt(self, identifier: str) -> str:
        """Return why an incident may not act yet, or "" when its claim is fresh or confirmed."""
        return self._doubts.get(identifier, "")

    def silenced(self, state: Incident) -> bool:
        """Tell whether a person has silenced all of its alerts that fire."""
        if not self._silenced:
            return False
        firing = {fingerprint for fingerprint, alert in state.alerts.items() if alert.firing}
        return bool(firing) and firing <= self._silenced

    # --- what is heard otherwise ---

    def observe(self, line: Line, state: Incident) -> None:
        """Remember which episodes are over, and doubt an alert that began before its end; an observer of the engine."""
        if line.incident == CONTROL:
            return
        event = line.event
        if event.kind is K.ALERT_RESOLVED:
            self._remember(event.detail["fingerprint"], state, event.at)
        elif event.kind in (K.OPENED, K.ALERT_JOINED, K.REFIRED) and "by" not in event.detail:
            if ambiguous(self._ended, state):
                self._doubts[state.id] = "it began before its end was heard of: perhaps an old message"
            else:
                self._believe((state.id,))
        elif event.kind is K.CLOSED:
            self._doubts.pop(state.id, None)

    def _remember(self, fingerprint: str, state: Incident, at: datetime) -> None:
        self._ended[fingerprint] = Ended(state.alerts[fingerprint].starts_at, at)
        self._ended.move_to_end(fingerprint)
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def heard(self, receiver: str, truncated: int) -> None:
        """Learn our name from a notification, and ask at once for what it left out."""
        if self.receiver is None:
            self.receiver = receiver_name(receiver)
        if truncated:
            self._at_once.set()

    def repeated(self, fingerprint: str) -> None:
        """Believe an alert that was notified again, unless Alertmanagers answer: these may send an old message twice."""
        if not self._doubts or (self._surveyor and not self._impatient):
            return
        self._believe(
            name for name in self._doubts if self._fires(self._ward.incidents.get(name), {fingerprint})
        )

    # --- asking ---

    async def _go(self) -> None:
        while True:
            try:
                await self._once()
            except StoreError as error:
                log.warning("store_unavailable", unreconciled=True, why=str(error))
            except Exception:  # border: task. One poll that goes wrong must not be the last
                log.exception("reconciler_fault")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), self._every.total_seconds())
            self._at_once.clear()

    async def _once(self) -> None:
        if self._surveyor:
            asked = self.receiver
            survey = await self._surveyor.survey(asked)
            self.last = survey
            if survey.complete:
                self._heard_at = self._clock.now()
            await self._conclude(survey, ours=asked is not None)
        if self._doubts and self._confirm is not None and (self._impatient or not self._surveyor):
            await self._ask_prometheus(self._confirm)

    @property
    def _impatient(self) -> bool:
        return self._clock.now() - self._heard_at >= PATIENCE * self._every

    async def _conclude(self, survey: Survey, *, ours: bool) -> None:
        found = self._beliefs.conclude(self._ward.incidents.values(), survey, self._ended, ours=ours)
        if found.firing or found.over:
            taken = await self._ward.receive((*found.firing, *found.over), by=POLLED, careful=self._careful)
            if taken.news:
                log.info("reconciled", changed=taken.news, over=len(found.over))
        if survey.settled and ours:
            self._careful = ""
        self._see_silences(found.silenced, survey)
        self._believe(
            name for name in self._doubts if self._fires(self._ward.incidents.get(name), found.present)
        )

    def _see_silences(self, silenced: frozenset[str], survey: Survey) -> None:
        """Note what is silenced; an Alertmanager that is away, or has just started, lifts no silence."""
        before, after = self._silenced, silenced
        if not survey.settled:
            after |= {one for one in before if one not in survey.alerts}
        self._silenced = after
        if before != after:
            changed = before ^ after
            touched = [s.id for s in self._ward.incidents.values() if self._fires(s, changed)]
            self._ward.reconsider(touched)

    async def _ask_prometheus(self, confirm: Confirm) -> None:
        doubted = [self._ward.incidents[name] for name in self._doubts if name in self._ward.incidents]
        answers = await asyncio.gather(*map(confirm, doubted), return_exceptions=True)
        verdicts = [one if isinstance(one, Verdict) else Verdict.UNKNOWN for one in answers]
        asked = zip(doubted, verdicts, strict=True)
        told = [
            (state, verdict) for state, verdict in asked if state.id in self._doubts
        ]  # not believed meanwhile
        self._believe([state.id for state, verdict in told if verdict is Verdict.UNHEALTHY])
        if not self._surveyor:  # Prometheus alone decides
            over = [
                alert for state, verdict in told if verdict is Verdict.HEALTHY for alert in all_over(state)
            ]
            if over:
                await self._ward.receive(over, by=ALONE)

    def _believe(self, identifiers: Iterable[str]) -> None:
        believed = [name for name in identifiers if name in self._doubts]
        for name in believed:
            del self._doubts[name]
        if believed:
            self._ward.reconsider(believed)

    @staticmethod
    def _fires(state: Incident | None, fingerprints: Iterable[str]) -> bool:
        known = state.alerts if state is not None else {}
        return any(one in known and known[one].firing for one in fingerprints)

"""Replay: a history of alerts, played to the live engine on virtual time.

The whole history is at hand before it begins: on virtual time nothing may be waited for. What is not live any more is forgotten
while it goes on, so that a month of a large site needs no more room than what is counted of it.
"""

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from stopgap.alert import DRILL, Alert
from stopgap.backtest.assumed import Assumed, catalog_of, rulebook_of
from stopgap.backtest.history import History, HistoryError, Period, Progress, Transition
from stopgap.backtest.result import Alerts, Result
from stopgap.backtest.tally import Tally
from stopgap.incident import EventKind as K, Incident
from stopgap.journal import Line
from stopgap.orders import NoSuchIncident, NotPossible
from stopgap.rulebook import Rulebook
from stopgap.simulate.hearing import Known
from stopgap.simulate.play import Play, Setting, perform
from stopgap.simulate.stage import Build, Stage
from stopgap.terms import Terms

MOST = 2_000_000  # transitions of one backtest
EVERY = 500  # instants between two words of progress
ALLOCATIONS = 20_000  # between two looks for garbage
PERSON = "backtest"
ALERTNAME = "alertname"


async def read(history: History, period: Period, progress: Progress) -> list[Transition]:
    """Read a whole history. Raises HistoryError, also where there is more than can be kept."""
    found: list[Transition] = []
    async for transition in history.transitions(period, progress):
        if DRILL in transition.alert.labels:
            continue  # made up by people, as no other alert is
        found.append(transition)
        if len(found) > MOST:
            raise HistoryError(f"more than {MOST:,} transitions: choose a shorter time with --from and --to")
    return found


@dataclass(frozen=True, slots=True)
class Replay:
    """One history, and what is assumed of everything else."""

    history: Sequence[Transition]
    period: Period
    assumed: Assumed
    terms: Terms = field(default_factory=Terms)

    def run(self, build: Build, rulebook: Rulebook, known: Known, progress: Progress) -> Tally:
        """Play the history to these rules, and return what was counted."""
        stage = Stage(build)
        stage.catalog = catalog_of(stage.catalog, self.assumed.verify)
        book = rulebook_of(rulebook, self.assumed)
        tally = Tally(book.rules)
        setting = Setting(self.terms, self.period.since, keep=False, known=known)
        with _collecting_seldom():
            perform(self._play(stage, book, setting, tally, progress))
        return tally

    async def _play(
        self, stage: Stage, book: Rulebook, setting: Setting, tally: Tally, progress: Progress
    ) -> None:
        play = Play(stage, book, setting)
        play.observe(tally.observe)
        people = _People(play)
        if self.assumed.approve:
            play.observe(people.observe)
        await play.start()
        for number, (at, alerts) in enumerate(_together(self.history)):
            if number % EVERY == 0:
                progress(self.period.share(at))
            await play.until(at)
            await play.receive(alerts)
        await play.until(self.period.until)
        await people.gone()
        await play.stop()
        tally.finish(self.period.until)
        progress(1.0)

    def result(self, name: str, history: History, rulebook: Rulebook, tally: Tally) -> Result:
        """Return what was counted, with all that it rests on; `name` says where the rules are from."""
        return Result(
            rules_from=name,
            source=history.name,
            period=self.period,
            alerts=self.alerts(rulebook),
            rules=tally.scores,
            total=tally.total(),
            overlaps=sorted(tally.overlaps.values(), key=lambda one: (-one.times, one.of)),
            storms=tally.storms,
            assumed=self.assumed.sentences(rulebook.rules.values()),
            caveats=history.caveats,
            left_out=tally.left_out,
            traces=tally.traces,
        )

    def alerts(self, rulebook: Rulebook) -> Alerts:
        """Count the alerts of the history, and those that no rule takes."""
        distinct = {one.alert.fingerprint: one.alert for one in self.history if one.alert.firing}
        untaken = [alert for alert in distinct.values() if not rulebook.index.find(alert.labels)]
        return Alerts(
            transitions=len(self.history),
            distinct=len(distinct),
            already=sum(one.at == self.period.since and one.alert.firing for one in self.history),
            unmatched=len(untaken),
            untaken=tuple(sorted({alert.labels.get(ALERTNAME, "") for alert in untaken})),
        )


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Look for garbage less often: a history is many small values that stay, and little of what comes and goes is a cycle."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def _together(history: Sequence[Transition]) -> Iterator[tuple[datetime, list[Alert]]]:
    """Go through the history; what happens at one instant comes in one notification, each alert in it once.

    An alert that begins and ends at one instant, as a late line may have it, is told in two: one of them would be lost.
    """
    told: dict[str, Alert] = {}
    now = None
    for one in history:
        if now is not None and (one.at != now or one.alert.fingerprint in told):
            yield now, [*told.values()]
            told = {}
        now = one.at
        told[one.alert.fingerprint] = one.alert
    if now is not None:
        yield now, [*told.values()]


class _People:
    """Say yes to whatever asks for approval."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._answers: set[asyncio.Task[None]] = set()

    def observe(self, line: Line, _: Incident) -> None:
        """Answer a request once the line is everywhere."""
        if line.event.kind is K.APPROVAL_REQUESTED:
            task = asyncio.create_task(self._approve(line.incident))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _approve(self, identifier: str) -> None:
        with suppress(NoSuchIncident, NotPossible):  # it moved on meanwhile
            await self._play.orders.approve(identifier, PERSON, "assumed")

    async def gone(self) -> None:
        """Wait for the last answers."""
        await asyncio.gather(*self._answers)

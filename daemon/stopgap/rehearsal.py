"""Rehearsal: everything that the rules may need is tried before an alert needs it, by who will have to do it; nothing is changed.

Steps are proved by `Action.rehearse`, probes are asked: *unknown* is an obstacle, because it would be one at night. All of it is
bounded: eight at a time, ten seconds each, a minute in all; what was not reached is said.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stopgap.catalog import Catalog
from stopgap.clock import Clock
from stopgap.duration import print_duration
from stopgap.probe import Finding, Verdict
from stopgap.rulebook import Rulebook
from stopgap.trials import Entry, Note, Obstacle, Trial, trials

AT_ONCE = 8
WHOLE = timedelta(minutes=1)
SLACK = timedelta(seconds=4)  # beyond a trial's own timeout: then it counts as silence
PATIENCE = 15.0  # seconds for what is called off at the end
LONGEST_WHY = 300  # characters


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of one: how many rules there are, how many different things were tried, and what is in the way."""

    at: datetime
    rules: int
    tried: int
    obstacles: tuple[Obstacle, ...] = ()
    notes: tuple[Note, ...] = ()

    def __add__(self, other: "Rehearsal") -> "Rehearsal":
        """Return both as one, of the earlier instant."""
        return Rehearsal(
            self.at,
            self.rules + other.rules,
            self.tried + other.tried,
            self.obstacles + other.obstacles,
            self.notes + other.notes,
        )


async def rehearse(rulebook: Rulebook, catalog: Catalog, clock: Clock, whole: timedelta = WHOLE) -> Rehearsal:
    """Try everything once, within `whole`; a thing that several rules need is tried once, and told of each."""
    at = clock.now()
    left = deque(rule for _, rule in sorted(rulebook.rules.items()))
    entries: list[Entry] = []
    answers: dict[str, str] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(whole.total_seconds()):
            while left:
                rule = left.popleft()
                entries += trials(rule, catalog, rulebook.secrets.get(rule.pack, {}))
                await asyncio.sleep(0)  # thousands of rules must not hold up the loop
            await _try_all(entries, answers)
    late = f"not reached within {print_duration(whole)}: not tried"
    told = [_told(entry, answers, late) for entry in entries] + [
        Note(rule.id, "all of it", late) for rule in left
    ]
    obstacles = tuple(one for one in told if isinstance(one, Obstacle))
    notes = tuple(one for one in told if isinstance(one, Note))
    return Rehearsal(at, len(rulebook.rules), len(answers), obstacles, notes)


async def _try_all(entries: list[Entry], answers: dict[str, str]) -> None:
    different: dict[str, Trial] = {}
    for entry in entries:
        if isinstance(entry, Trial):
            different.setdefault(entry.key, entry)
    queue = iter(different.values())

    async def work(left: Iterator[Trial]) -> None:
        for trial in left:
            answers[trial.key] = await _try(trial)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work(queue))


async def _try(trial: Trial) -> str:
    """Return what is in the way, or an empty text."""
    try:
        async with asyncio.timeout((trial.timeout + SLACK).total_seconds()):
            answer = await trial.attempt()
    except Exception as error:  # noqa: BLE001 - border: rehearsal. Whatever it is, an alert would meet it too
        silent = isinstance(error, TimeoutError) and not str(error)
        limit = print_duration(trial.timeout)
        return _shown(f"no answer within {limit}" if silent else str(error) or type(error).__name__, trial)
    if isinstance(answer, Finding) and answer.verdict is Verdict.UNKNOWN:
        return _shown(answer.why or "unknown", trial)
    return ""


def _shown(why: str, trial: Trial) -> str:
    """Make a text from outside fit to show: no secret, one printable line, bounded."""
    for hidden in sorted(filter(None, trial.hidden), key=len, reverse=True):
        why = why.replace(hidden, "***")
    line = " ".join("".join(char if char.isprintable() else " " for char in why[: LONGEST_WHY * 4]).split())
    return line if len(line) <= LONGEST_WHY else line[: LONGEST_WHY - 1] + "…"


def _told(entry: Entry, answers: Mapping[str, str], late: str) -> Obstacle | Note | None:
    if not isinstance(entry, Trial):
        return entry
    why = answers.get(entry.key)
    if why is None:
        return Note(entry.rule, entry.where, late)
    return Obstacle(entry.rule, entry.where, why) if why else None


class Rehearser:
    """Rehearses one at a time, the newest wins. `last` belongs to the rules in force: None until it is done."""

    def __init__(
        self, run: Callable[[], Coroutine[Any, Any, Rehearsal]], tell: Callable[[Rehearsal], None]
    ) -> None:
        self._run = run
        self._tell = tell
        self._untold = False
        self._alone = asyncio.Lock()
        self._newest: asyncio.Task[None] | None = None
        self._ended = False
        self.last: Rehearsal | None = None

    def begin(self) -> None:
        """Rehearse other rules in the background, and tell what came of it; whatever runs is called off."""
        self.last = None
        self._untold = True
        self._start()

    async def now(self) -> Rehearsal | None:
        """Rehearse once more and return what came of it, or of a newer one; None when there will be none any more."""
        self._start()
        while (task := self._newest) is not None:
            await asyncio.wait([task])
            if task is self._newest:
                task.result()
                return self.last
        return None

    async def stop(self) -> None:
        """Call off what runs, and begin nothing more."""
        self._ended = True
        task, self._newest = self._newest, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=PATIENCE)

    def _start(self) -> None:
        if self._ended:
            return
        if self._newest is not None:
            self._newest.cancel()
        self._newest = asyncio.create_task(self._work(), name="rehearsal")

    async def _work(self) -> None:
        async with self._alone:  # what was called off may still be on its way out
            self.last = await self._run()
        if self._untold:
            self._untold = False
            self._tell(self.last)

"""Crew: plays many tests in as many processes as there are processors; what comes of them is in the order of the tests.

A play has the processor to itself, so that threads would not help. Few tests, or a system that cannot fork, need no crew.
"""

import gc
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from ctypes import c_bool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stopgap.errors import ConfigError, Problem
from stopgap.simulate.play import Stage
from stopgap.suite.coverage import Coverage
from stopgap.suite.packs import Packs, pack_of
from stopgap.suite.running import Result, run
from stopgap.suite.script import Script
from stopgap.suite.seen import Seen

FEW = 60  # tests that one process plays faster than several could be started


@dataclass(frozen=True, slots=True)
class Part:
    """The tests of one file, by their numbers, and the pack that they are about."""

    pack: Path
    numbers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Played:
    """What came of tests, and what they came to; `problems` say why rules do not load."""

    results: tuple[Result, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Company:
    """What each process begins with; all of them write into `taken` which parts are taken."""

    scripts: Sequence[Script]
    packs: Packs
    stage: Stage
    parts: Sequence[Part] = ()
    taken: Any = None

    def play(self, numbers: Iterable[int]) -> Played:
        """Play these tests."""
        results: list[Result] = []
        coverage = Coverage()
        for number in numbers:
            try:
                result = run(self.scripts[number], self.stage, self.packs.cast)
            except ConfigError as error:
                return Played(problems=error.problems)
            coverage.know(result.seen.rules.values())
            coverage.add(result.seen)
            results.append(replace(result, seen=Seen()))  # nobody asks for it any more, and it is large
        return Played(tuple(results), coverage)

    def parts_played(self) -> Iterator[tuple[int, Played]]:
        """Play one part after the other that nobody has taken yet."""
        pack: Path | None = None
        while (number := self._take(pack)) is not None:
            pack = self.parts[number].pack
            yield number, self.play(self.parts[number].numbers)

    def _take(self, pack: Path | None) -> int | None:
        with self.taken.get_lock():
            number = next_part(self.parts, self.taken, pack)
            if number is not None:
                self.taken[number] = True
        return number


_company: list[_Company] = []  # inherited by the processes of the crew


def play_all(scripts: Sequence[Script], packs: Packs, stage: Stage) -> Played:
    """Play all tests."""
    parts = parts_of(scripts)
    processes = min(os.cpu_count() or 1, len(scripts) // FEW + 1, len(parts))
    if processes == 1 or "fork" not in multiprocessing.get_all_start_methods():
        return _Company(scripts, packs, stage).play(range(len(scripts)))
    forking = multiprocessing.get_context("fork")
    _company.append(_Company(scripts, packs, stage, parts, forking.Array(c_bool, len(parts))))
    gc.freeze()  # what is there is not looked at again, and a page that nobody writes to is shared
    try:
        with ProcessPoolExecutor(processes, forking) as crew:
            played = [one for each in crew.map(_play, range(processes)) for one in each]
    finally:
        gc.unfreeze()
        _company.clear()
    return _joined(len(scripts), parts, played)


def parts_of(scripts: Sequence[Script]) -> list[Part]:
    """Return the tests by file, the most first."""
    parts: dict[Path, Part] = {}
    for number, script in enumerate(scripts):
        if script.path not in parts:
            parts[script.path] = Part(pack_of(script.path))
        parts[script.path].numbers.append(number)
    return sorted(parts.values(), key=lambda part: len(part.numbers), reverse=True)


def next_part(parts: Sequence[Part], taken: Sequence[bool], pack: Path | None) -> int | None:
    """Return what to play after a part about this pack: the next about it, as it is loaded; else of the pack with the most left."""
    left = [number for number, gone in enumerate(taken) if not gone]
    if not left:
        return None
    tests: Counter[Path] = Counter()
    for number in left:
        tests[parts[number].pack] += len(parts[number].numbers)
    most = pack if pack in tests else max(tests, key=lambda each: tests[each])
    return next(number for number in left if parts[number].pack == most)


def _play(_: int) -> list[tuple[int, Played]]:
    return list(_company[0].parts_played())


def _joined(count: int, parts: Sequence[Part], played: Sequence[tuple[int, Played]]) -> Played:
    problems = tuple(
        dict.fromkeys(problem for _, one in sorted(played, key=_number) for problem in one.problems)
    )
    if problems:
        return Played(problems=problems)
    coverage = Coverage()
    found: dict[int, Result] = {}
    for number, one in played:
        found |= zip(parts[number].numbers, one.results, strict=True)
        coverage.join(one.coverage)
    return Played(tuple(found[number] for number in range(count)), coverage)


def _number(played: tuple[int, Played]) -> int:
    return played[0]

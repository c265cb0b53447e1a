"""Crew: plays many tests in as many processes as there are processors; what comes of them is in the order of the tests.

A play has the processor to itself, so that threads would not help. Few tests, or a system that cannot fork, need no crew.
"""

import gc
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from stopgap.errors import ConfigError, Problem
from stopgap.simulate.play import Stage
from stopgap.suite.coverage import Coverage
from stopgap.suite.packs import Packs
from stopgap.suite.running import Result, run
from stopgap.suite.script import Script
from stopgap.suite.seen import Seen

FEW = 60  # tests that one process plays faster than several could be started


@dataclass(slots=True)
class Played:
    """What came of tests, and what they came to; `problems` say why rules do not load."""

    results: tuple[Result, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Company:
    """What each process begins with."""

    scripts: Sequence[Script]
    packs: Packs
    stage: Stage

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


_company: list[_Company] = []  # inherited by the processes of the crew


def play_all(scripts: Sequence[Script], packs: Packs, stage: Stage) -> Played:
    """Play all tests."""
    company = _Company(scripts, packs, stage)
    parts = parts_of(scripts)
    processes = min(os.cpu_count() or 1, len(scripts) // FEW + 1, len(parts))
    if processes == 1 or "fork" not in multiprocessing.get_all_start_methods():
        return company.play(range(len(scripts)))
    _company.append(company)
    gc.freeze()  # what is there is not looked at again, and a page that nobody writes to is shared
    try:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as crew:
            return _joined(len(scripts), parts, list(crew.map(_play, parts)))
    finally:
        gc.unfreeze()
        _company.clear()


def parts_of(scripts: Sequence[Script]) -> list[list[int]]:
    """Return the numbers of the tests of each file, for which its pack is mostly loaded once, the largest first."""
    parts: dict[Path, list[int]] = {}
    for number, script in enumerate(scripts):
        parts.setdefault(script.path, []).append(number)
    return sorted(parts.values(), key=len, reverse=True)


def _play(numbers: list[int]) -> Played:
    return _company[0].play(numbers)


def _joined(count: int, parts: list[list[int]], played: list[Played]) -> Played:
    problems = tuple(dict.fromkeys(problem for one in played for problem in one.problems))
    if problems:
        return Played(problems=problems)
    coverage = Coverage()
    found: dict[int, Result] = {}
    for numbers, one in zip(parts, played, strict=True):
        found |= zip(numbers, one.results, strict=True)
        coverage.join(one.coverage)
    return Played(tuple(found[number] for number in range(count)), coverage)

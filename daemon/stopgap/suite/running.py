"""Running: plays one test, and says what is not as expected, with the timeline until then."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from stopgap.rulebook import Rulebook
from stopgap.simulate.play import START, Cue, Play, Setting, Stage, follow, perform
from stopgap.simulate.scene import On, Scene
from stopgap.suite.cues import Stageplay, cues_of
from stopgap.suite.expectation import Miss, misses
from stopgap.suite.form import ExpectKeys
from stopgap.suite.script import Script, end_of
from stopgap.suite.seen import Seen, clock
from stopgap.terms import Terms

LONGEST_STORY = 200  # lines
_UNMET = {
    On.RUN: "no step that ran has these words",
    On.REVERT: "no step that was taken back has these words",
    On.OBSERVE: "no step that was observed has these words",
}


@dataclass(frozen=True, slots=True)
class Cast:
    """The rules of one pack, as one test wants them. `known` tells whether a pack has a contact of a name."""

    rulebook: Rulebook
    known: Callable[[str, str], bool]


Casting = Callable[[Script, Mapping[str, str]], Cast]
"""Loads the pack of a test, with these vars over its own. Raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that was not as expected: where that stands, and at which instant of the play."""

    line: int
    at: str
    miss: Miss


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a test. `story` is the timeline until the first failure, where there was one; `seen` is all of it."""

    path: Path
    line: int
    name: str
    seen: Seen
    failures: tuple[Failure, ...] = ()
    story: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Tell whether all was as expected."""
        return not self.failures


@dataclass(slots=True)
class _Judge:
    """Holds expectations against the play, each at its instant."""

    script: Script
    seen: Seen
    start: datetime
    failures: list[Failure] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def cue(self, number: int, expected: ExpectKeys) -> Cue:
        """Return the cue that looks."""

        async def look(play: Play) -> None:
            await play.settle()
            for miss in misses(expected, self.seen, play.scene.value):
                key = miss.key.partition(".")[0]
                place = self.script.place("expect", number, key)
                self.add(Failure(place.line, clock(expected.at), miss))

        return Cue(self.start + expected.at, look)

    def add(self, failure: Failure) -> None:
        """Take note of a failure; the first one also of how it came to it."""
        if not self.failures:
            self.story = self.seen.story(self.start)[-LONGEST_STORY:]
        self.failures.append(failure)


def run(script: Script, stage: Stage, casting: Casting) -> Result:
    """Play one test. Raises ConfigError when its pack does not load with its vars."""
    began = time.perf_counter()
    cast = casting(script, {})
    seen = Seen(rules=dict(cast.rulebook.rules))
    judge = _Judge(script, seen, script.keys.start or START)
    stageplay = Stageplay(cast.rulebook, lambda given: casting(script, given).rulebook, seen)
    perform(_play(script, stage, cast, judge, stageplay))
    for path, text in stageplay.faults:
        mark = script.place(*path)
        judge.add(Failure(mark.line, "", Miss("people", "", text)))
    took = time.perf_counter() - began
    return Result(
        script.path, script.line, script.keys.name, seen, tuple(judge.failures), tuple(judge.story), took
    )


async def _play(script: Script, stage: Stage, cast: Cast, judge: _Judge, stageplay: Stageplay) -> None:
    keys, start = script.keys, judge.start
    terms = Terms(keys.mode, keys.probation)
    setting = Setting(terms=terms, start=start, on_told=judge.seen.told.append, known=cast.known)
    play = Play(stage, cast.rulebook, setting)
    play.observe(judge.seen.observe)
    await play.start()
    end = start + end_of(keys)
    cues = cues_of(script, stageplay, start, end)
    looks = [judge.cue(number, expected) for number, expected in enumerate(keys.expect)]
    await follow(play, sorted([*cues, *looks], key=lambda cue: cue.at))
    await play.settle()
    for number, text in _idle(script, play.scene):
        mark = script.place("world", number)
        judge.add(Failure(mark.line, "", Miss("world", "", text)))
    await play.stop()


def _idle(script: Script, scene: Scene) -> list[tuple[int, str]]:
    """Return facts of which nobody asked: a misspelt one would prove nothing."""
    idle = {("probe", pattern): "no probe that was asked has these words" for pattern in scene.probes.idle}
    idle |= {("query", pattern): "no query that was asked has these words" for pattern in scene.queries.idle}
    for on, facts in scene.acts.items():
        idle |= {(f"action {on}", pattern): _UNMET[on] for pattern in facts.idle}
    found: list[tuple[int, str]] = []
    for number, fact in enumerate(script.keys.world):
        kind = f"action {fact.on or On.RUN}" if fact.about == "action" else fact.about
        pattern = fact.probe or fact.query or fact.action or ""
        said = idle.pop((kind, pattern), "")
        found += [(number, f"{said}: {pattern}")] if said else []
        unread = sorted(set(fact.values or ()) - scene.asked)
        found += [(number, f"no step asked for this resource: {name}") for name in unread]
    return found


__all__ = ["Cast", "Casting", "Failure", "Result", "run"]

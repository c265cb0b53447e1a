"""A rehearsal tries each thing once, a few at a time, within its time, and falls over nothing."""

import asyncio
from datetime import timedelta

import pytest
from pydantic import SecretStr
from tests.virtual import virtually
from tests.world import START, Say, Switch, book, probe, rule, step

from stopgap.catalog import Catalog
from stopgap.clock import LoopClock
from stopgap.errors import PermanentError, ProbeError
from stopgap.probe import Finding, Verdict
from stopgap.rehearsal import AT_ONCE, Rehearsal, Rehearser, rehearse
from stopgap.rule import RungSpec
from stopgap.rulebook import Rulebook
from stopgap.template import Template
from stopgap.trials import Note, Obstacle

MINUTE = timedelta(minutes=1)


class Stage(Switch):
    """An action that is rehearsed as the test says: `outcomes` by name, an exception or seconds."""

    def __init__(self, **outcomes):
        super().__init__()
        self.outcomes = outcomes
        self.tried = []
        self.at_once = self.most = 0

    async def rehearse(self, params, moment):
        self.tried.append(params.name)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            outcome = self.outcomes.get(params.name, 0)
            if isinstance(outcome, BaseException):
                raise outcome
            await asyncio.sleep(outcome)
        finally:
            self.at_once -= 1


class Told(Say):
    """A probe that answers as the test says, by what it is asked of."""

    def __init__(self, **answers):
        super().__init__()
        self.answers = answers

    async def ask(self, params, timeout):
        self.asked[params.of] += 1
        answer = self.answers.get(params.of, Finding(Verdict.HEALTHY, "well"))
        if isinstance(answer, Exception):
            raise answer
        return answer


def rung(*names, verify=()):
    return RungSpec("r", tuple(step(name=name) for name in names), verify=verify)


async def tried(*rules, stage=None, say=None, secrets=None, whole=MINUTE):
    rules = {each.id: each for each in rules}
    catalog = Catalog({"switch": stage or Stage(), "kick": Stage()}, {"say": say or Told()})
    rulebook = Rulebook(rules, book().index, {"test": secrets or {}})
    return await rehearse(rulebook, catalog, LoopClock(START), whole)


@virtually
async def test_where_all_is_well_nothing_is_in_the_way_and_nothing_was_changed():
    switch, say = Switch(), Say()
    catalog = Catalog({"switch": switch, "kick": switch}, {"say": say})
    found = await rehearse(book(rule()), catalog, LoopClock(START))
    assert found == Rehearsal(START, rules=1, tried=4)
    assert (switch.log, switch.values) == ([], {"mode": "normal"})
    assert say.asked == {"ready": 1, "cause": 1}


@virtually
async def test_each_obstacle_is_told_of_its_rule_and_place_in_the_order_of_the_rules():
    stage = Stage(a=PermanentError("no such unit"), b=ValueError())
    say = Told(cause=Finding(Verdict.UNKNOWN, "401"))
    found = await tried(
        rule("z", ladder=(rung("a", "fine"),)), rule("y", ladder=(rung("b"),)), stage=stage, say=say
    )
    assert found.obstacles == (
        Obstacle("test/y", "ladder[0] (r) do[0] switch", "ValueError"),
        Obstacle("test/y", "recovered[0] say", "401"),
        Obstacle("test/z", "ladder[0] (r) do[0] switch", "no such unit"),
        Obstacle("test/z", "recovered[0] say", "401"),
    )
    assert found.notes == ()


@virtually
async def test_what_many_rules_need_is_tried_once_and_told_of_each():
    stage, say = Stage(a=PermanentError("gone")), Told()
    rules = [rule(f"r{i}", ladder=(rung("a", verify=(probe("ready"),)),)) for i in range(5)]
    found = await tried(*rules, stage=stage, say=say)
    assert stage.tried == ["a"]
    assert say.asked == {"ready": 1, "cause": 1}
    assert [one.rule for one in found.obstacles] == [f"test/r{i}" for i in range(5)]
    assert found.tried == 3


@virtually
async def test_what_cannot_be_tried_is_told_with_the_rest():
    to = Template.parse("{{ labels.zone }}"), Template.parse("{{ secrets.key }}")
    found = await tried(rule(ladder=(RungSpec("r", (step(to[0]), step(to[1]), step())),)))
    assert [one.text for one in found.notes] == ["needs labels.zone of an alert: not tried"]
    assert ["no secret key" in one.text for one in found.obstacles] == [True]
    assert found.tried == 2


@virtually
async def test_only_a_verdict_of_unknown_is_in_the_way():
    say = Told(
        a=Finding(Verdict.UNHEALTHY, "503"), b=Finding(Verdict.UNKNOWN, ""), c=ProbeError("no Prometheus")
    )
    probes = tuple(probe(name) for name in "abc")
    found = await tried(rule(ladder=(), recovered=probes), say=say)
    assert [one.text for one in found.obstacles] == ["unknown", "no Prometheus"]


@virtually
async def test_no_more_than_eight_are_tried_at_once():
    names = [f"n{i}" for i in range(40)]
    stage = Stage(**dict.fromkeys(names, 1))
    began = asyncio.get_running_loop().time()
    found = await tried(rule(ladder=(rung(*names),), recovered=()), stage=stage)
    assert (found.tried, stage.most) == (40, AT_ONCE)
    assert asyncio.get_running_loop().time() - began == pytest.approx(5)


@virtually
async def test_what_does_not_answer_is_in_the_way():
    found = await tried(rule(ladder=(rung("a"),)), stage=Stage(a=3600))
    assert [one.text for one in found.obstacles] == ["no answer within 10s"]


@virtually
async def test_what_is_not_reached_in_time_is_said():
    names = [f"n{i}" for i in range(20)]
    stage = Stage(**dict.fromkeys(names, 9))
    whole = timedelta(seconds=10)
    found = await tried(rule(ladder=(rung(*names),), recovered=()), stage=stage, whole=whole)
    assert (found.tried, len(found.notes)) == (8, 12)
    assert found.notes[0].text == "not reached within 10s: not tried"
    assert found.obstacles == ()
    assert stage.at_once == 0


@virtually
async def test_rules_that_are_not_even_listed_in_time_are_said():
    found = await tried(rule("a"), rule("b"), whole=timedelta())
    assert found.notes[-1] == Note("test/b", "all of it", "not reached within 0: not tried")
    assert (found.rules, found.tried) == (2, 0)


@virtually
async def test_an_action_that_cancels_itself_stops_no_other():
    stage = Stage(a=asyncio.CancelledError())
    found = await tried(rule(ladder=(rung("a", "b"),), recovered=()), stage=stage)
    assert (found.tried, [one.where for one in found.notes]) == (1, ["ladder[0] (r) do[0] switch"])


@virtually
async def test_what_is_told_is_one_short_printable_line_without_secrets():
    why = "Bearer hunter2\x1b[2J\nrefused " + "x" * 500
    found = await tried(
        rule(ladder=(rung("a"),)),
        stage=Stage(a=PermanentError(why)),
        secrets={"key": SecretStr("hunter2"), "none": SecretStr("")},
    )
    (one,) = found.obstacles
    assert one.text.startswith("Bearer *** [2J refused xxx")
    assert len(one.text) == 300


def test_two_rehearsals_are_one_report():
    one = Rehearsal(START, 1, 2, (Obstacle("a", "b", "c"),), ())
    assert one + Rehearsal(START + MINUTE, 3, 4, (), (Note("a", "b", "c"),)) == Rehearsal(
        START, 4, 6, one.obstacles, (Note("a", "b", "c"),)
    )


# --- who rehearses, and when ---


class Runs:
    """Rehearsals that take a second each and are numbered; one that is called off takes another second to end."""

    def __init__(self, *, slow_to_end=False):
        self.begun = self.done = self.at_once = 0
        self.told = []
        self.slow_to_end = slow_to_end
        self.rehearser = Rehearser(self.run, self.told.append)

    async def run(self):
        self.begun += 1
        self.at_once += 1
        assert self.at_once == 1
        try:
            await asyncio.sleep(1)
            self.done += 1
            return Rehearsal(START, self.begun, 0)
        finally:
            if self.slow_to_end:
                await asyncio.sleep(1)
            self.at_once -= 1


@virtually
async def test_a_rehearsal_begins_in_the_background_and_is_told_when_it_is_done():
    runs = Runs()
    runs.rehearser.begin()
    assert runs.rehearser.last is None
    await asyncio.sleep(2)
    assert [one.rules for one in runs.told] == [1]
    assert runs.rehearser.last == runs.told[0]
    runs.rehearser.begin()
    assert runs.rehearser.last is None, "it was of other rules"
    await asyncio.sleep(2)
    assert runs.rehearser.last.rules == 2


@virtually
async def test_the_newest_wins_and_there_are_never_two():
    runs = Runs(slow_to_end=True)
    for _ in range(3):
        runs.rehearser.begin()
        await asyncio.sleep(0.5)
    await asyncio.sleep(10)
    assert (runs.done, len(runs.told)) == (1, 1)


@virtually
async def test_whoever_asks_gets_the_newest_even_when_theirs_is_called_off():
    runs = Runs()
    first = asyncio.create_task(runs.rehearser.now())
    await asyncio.sleep(0.5)
    second = asyncio.create_task(runs.rehearser.now())
    assert await first is await second
    assert runs.done == 1
    assert runs.told == [], "who asks is answered; the log is for what nobody asked for"


@virtually
async def test_what_was_begun_in_the_background_is_told_even_when_somebody_asks_meanwhile():
    runs = Runs()
    runs.rehearser.begin()
    await asyncio.sleep(0.5)
    found = await runs.rehearser.now()
    assert runs.told == [found]


@virtually
async def test_a_fault_is_told_to_who_asked():
    async def run():
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        await Rehearser(run, print).now()


@virtually
async def test_the_end_calls_off_what_runs_and_lets_nothing_more_begin():
    runs = Runs()
    asking = asyncio.create_task(runs.rehearser.now())
    await asyncio.sleep(0.5)
    await runs.rehearser.stop()
    assert await asking is None
    assert await runs.rehearser.now() is None
    runs.rehearser.begin()
    await asyncio.sleep(2)
    assert (runs.done, runs.begun, runs.told) == (0, 1, [])
    await runs.rehearser.stop()

"""What every action promises, whatever it acts on: the undo is JSON, acting twice is acting once, and taking back restores."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.doubles.installed import Doubles

from stopgap.action import Action, Moment, Restored, Settled
from stopgap.actions import Exec, Flag, Scale, Service
from stopgap.errors import ActionError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=20), rule="hotel/pms", target="api")
GET = "import sys; print(open(sys.argv[1]).read(), end='')"
WHOLE = "import os, sys; p = sys.argv[1]; open(p + '~', 'w').write({}); os.replace(p + '~', p)"
SET = WHOLE.format("sys.argv[2]")
PUT = WHOLE.format("sys.stdin.read()")


@dataclass
class Case:
    """An action with its parameters; `world` reads the truth behind its back, `meddle` changes it as a third party would."""

    action: Action[Any]
    params: Any
    world: Callable[[], Any]
    meddle: Callable[[], object] = lambda: None


def files(tmp_path, scheme: str, text: str) -> Case:
    path = tmp_path / "app"
    path.write_text(text)
    settings = {"PMS_TYPE": "mock", "CACHE_TTL": "300", "NEW": "it's new"}
    meddled = text.replace("qloapps", "other").replace("60", "61")
    return Case(
        Flag(None),
        Flag.params(at=f"{scheme}://{path}", set=settings),
        path.read_bytes,
        lambda: path.write_text(meddled),
    )


def env(tmp_path, monkeypatch):
    return files(tmp_path, "env", "# hotel\r\nexport PMS_TYPE='qloapps' # real\r\nCACHE_TTL=60")


def json_file(tmp_path, monkeypatch):
    return files(tmp_path, "json", '{\n  "PMS_TYPE": "qloapps",\n  "CACHE_TTL": 60\n}\n')


def yaml_file(tmp_path, monkeypatch):
    return files(tmp_path, "yaml", "# hotel\nPMS_TYPE: 'qloapps' # real\nCACHE_TTL:   60\n")


def changed(doubles: Doubles, name: str, change: Callable[[Any], None]) -> Callable[[], None]:
    def meddle() -> None:
        state = doubles.state(name)
        change(state)
        doubles.change(name, state)

    return meddle


def fly_flag(tmp_path, monkeypatch):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    params = Flag.params(
        at="fly://hotel", set={"PMS_TYPE": "mock", "NEW": "x"}, back_to={"PMS_TYPE": "qloapps", "NEW": ""}
    )

    def world():
        return doubles.state("flyctl")["apps"]["hotel"]["secrets"]

    def change(state):
        state["apps"]["hotel"]["secrets"].update(PMS_TYPE="other", NEW="other")

    return Case(Flag(None), params, world, changed(doubles, "flyctl", change))


def fly_scale(tmp_path, monkeypatch, **size):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    params = Scale.params(at="fly://hotel", min=1, max=1024, **size)

    def change(state):
        state["apps"]["hotel"]["groups"]["app"].update(Count=7, Memory=768)

    return Case(
        Scale(None),
        params,
        lambda: doubles.state("flyctl")["apps"]["hotel"]["groups"],
        changed(doubles, "flyctl", change),
    )


def fly_count(tmp_path, monkeypatch):
    return fly_scale(tmp_path, monkeypatch, count="+1")


def fly_memory(tmp_path, monkeypatch):
    return fly_scale(tmp_path, monkeypatch, memory=512)


def compose_scale(tmp_path, monkeypatch):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    params = Scale.params(at="compose://bookgen/worker", count="3", min=1, max=5)

    def change(state):
        state["containers"] += [{**state["containers"][1], "Id": f"{i}f" * 32} for i in range(3, 6)]

    return Case(
        Scale(None),
        params,
        lambda: len(doubles.state("docker")["containers"]),
        changed(doubles, "docker", change),
    )


def systemd_stop(tmp_path, monkeypatch):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    params = Service.params(at="systemd://hotel", state="stopped")
    return Case(
        Service(None), params, lambda: doubles.state("systemctl")["units"]["hotel.service"]["ActiveState"]
    )


def compose_stop(tmp_path, monkeypatch):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    params = Service.params(at="compose://bookgen/worker", state="stopped")
    return Case(
        Service(None),
        params,
        lambda: [one["State"]["Running"] for one in doubles.state("docker")["containers"]],
    )


def command(tmp_path, monkeypatch):
    path = tmp_path / "limit"
    path.write_text("120")
    argv = [sys.executable, "-c"]
    params = Exec.params(
        argv=[*argv, SET, str(path), "50"],
        observe=[*argv, GET, str(path)],
        revert=[*argv, PUT, str(path)],
        idempotent=True,
    )
    return Case(Exec(None), params, path.read_text, lambda: path.write_text("77"))


CASES = [
    env,
    json_file,
    yaml_file,
    fly_flag,
    fly_count,
    fly_memory,
    compose_scale,
    systemd_stop,
    compose_stop,
    command,
]


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def case(request, tmp_path, monkeypatch):
    return request.param(tmp_path, monkeypatch)


def through_the_store(value):
    return json.loads(json.dumps(value))


async def acted(case: Case):
    before = through_the_store(await case.action.observe(case.params, NOW))
    assert before is None or case.action.observes(case.params)
    return before, through_the_store(await case.action.run(case.params, before, NOW))


async def test_taking_back_restores_what_was_there(case):
    old = case.world()
    before, receipt = await acted(case)
    assert case.world() != old
    answer = await case.action.revert(case.params, before, receipt, NOW)
    assert answer.result is Restored.REVERTED
    assert answer.detail
    assert case.world() == old


async def test_taking_back_without_a_receipt_restores_too(case):
    old = case.world()
    before, _ = await acted(case)
    await case.action.revert(case.params, before, None, NOW)
    assert case.world() == old


async def test_taking_back_twice_does_nothing_the_second_time(case):
    before, receipt = await acted(case)
    await case.action.revert(case.params, before, receipt, NOW)
    old = case.world()
    assert (await case.action.revert(case.params, before, receipt, NOW)).result is Restored.NOTHING
    assert case.world() == old


async def test_acting_twice_with_one_key_is_acting_once(case):
    before, receipt = await acted(case)
    once = case.world()
    assert case.action.idempotent(case.params)
    again = await case.action.run(case.params, before, NOW)
    assert case.world() == once
    assert through_the_store(again) == receipt


async def test_an_unknown_outcome_is_settled_by_observing(case):
    action, params = case.action, case.params
    before = through_the_store(await action.observe(params, NOW))
    assert action.settled(params, before, await action.observe(params, NOW)) is Settled.NOT_DONE
    assert action.settled_revert(params, before, before) is Settled.DONE
    receipt = await action.run(params, before, NOW)
    now = through_the_store(await action.observe(params, NOW))
    assert action.settled(params, before, now) is Settled.DONE
    assert action.settled_revert(params, before, now) is Settled.NOT_DONE
    await action.revert(params, before, receipt, NOW)
    assert action.settled_revert(params, before, await action.observe(params, NOW)) is Settled.DONE


# a service has two states: somebody else's change is the old state
DRIFTING = [make for make in CASES if make not in (systemd_stop, compose_stop)]


@pytest.mark.parametrize("make", DRIFTING, ids=lambda make: make.__name__)
async def test_what_somebody_changed_meanwhile_is_left_alone(make, tmp_path, monkeypatch):
    case = make(tmp_path, monkeypatch)
    before, receipt = await acted(case)
    case.meddle()
    theirs = case.world()
    answer = await case.action.revert(case.params, before, receipt, NOW)
    assert answer.result is Restored.DRIFTED
    assert case.world() == theirs


async def test_a_cancelled_act_is_whole_or_not_there(case):
    before = through_the_store(await case.action.observe(case.params, NOW))
    old = case.world()
    await case.action.run(case.params, before, NOW)
    done = case.world()
    await case.action.revert(case.params, before, None, NOW)
    for seconds in (0, 0.001, 0.01):
        task = asyncio.create_task(case.action.run(case.params, before, NOW))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert case.world() in (old, done)
        await case.action.revert(case.params, before, None, NOW)


async def test_a_flag_takes_back_its_own_keys_and_leaves_theirs(tmp_path):
    path = tmp_path / "app.env"
    path.write_text("A=1\nB=2\nC=3\n")
    params = Flag.params(at=f"env://{path}", set={"A": "x", "B": "x", "C": "x"})
    flag = Flag(None)
    before = await flag.observe(params, NOW)
    receipt = await flag.run(params, before, NOW)
    path.write_text("A=x\nB=theirs\nC=3\n")
    answer = await flag.revert(params, before, receipt, NOW)
    assert answer.result is Restored.DRIFTED
    assert "B" in answer.detail
    assert "set back: A" in answer.detail
    assert path.read_text() == "A=1\nB=theirs\nC=3\n"


async def test_a_flag_does_not_act_on_a_value_that_changed_since_it_was_observed(tmp_path):
    path = tmp_path / "app.env"
    path.write_text("A=1\nB=2\n")
    params = Flag.params(at=f"env://{path}", set={"A": "x", "B": "x"})
    flag = Flag(None)
    before = await flag.observe(params, NOW)
    path.write_text("A=1\nB=theirs\n")
    with pytest.raises(TemporaryError, match="B was changed by somebody else"):
        await flag.run(params, before, NOW)
    assert path.read_text() == "A=1\nB=theirs\n"
    assert flag.settled(params, before, await flag.observe(params, NOW)) is Settled.UNCLEAR


@pytest.mark.parametrize(("count", "bounds"), [("+1", (1, 2)), ("-2", (1, 9))])
async def test_a_scale_beyond_its_bounds_is_refused_whatever_is_there(tmp_path, monkeypatch, count, bounds):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    params = Scale.params(at="fly://hotel", count=count, min=bounds[0], max=bounds[1])
    before = await Scale(None).observe(params, NOW)
    with pytest.raises(ActionError, match="would not be within"):
        await Scale(None).run(params, before, NOW)
    assert doubles.acts() == []


async def test_the_time_limit_of_the_moment_bounds_a_step(tmp_path):
    params = Exec.params(argv=["sleep", "30"])
    with pytest.raises(Exception, match=r"within 0\.2 s"):
        await Exec(None).run(params, None, dataclasses.replace(NOW, timeout=timedelta(seconds=0.2)))

"""A container by its name, over the Engine API as a strict double speaks it on a Unix socket."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest
from tests.doubles.engine import Engine, running_engine
from tests.integration import test_action_contract as contract
from tests.integration.test_action_contract import Case
from tests.prometheus_server import free_port

from stopgap.action import Moment, Settled
from stopgap.actions import Restart, Service
from stopgap.backends import locate
from stopgap.backends.capability import Place, Services
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=10))
SOON = timedelta(seconds=5)
STOP = Service.params(at="docker://worker", state="stopped")
RESTART = Restart.params(at="docker://worker")


@pytest.fixture
def engine(tmp_path, monkeypatch):
    with running_engine(tmp_path) as double:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        yield double


@pytest.fixture
def case(engine: Engine):
    return Case(Service(None), STOP, lambda: engine.named("worker")["State"]["Running"])


test_taking_back_restores = contract.test_taking_back_restores_what_was_there
test_taking_back_without_a_receipt = contract.test_taking_back_without_a_receipt_restores_too
test_taking_back_twice = contract.test_taking_back_twice_does_nothing_the_second_time
test_acting_twice = contract.test_acting_twice_with_one_key_is_acting_once
test_an_unknown_outcome = contract.test_an_unknown_outcome_is_settled_by_observing
test_a_cancelled_act = contract.test_a_cancelled_act_is_whole_or_not_there


async def test_stop_start_and_restart_do_what_they_say_and_twice_is_once(engine):
    place = locate("docker://worker", Services)
    first = await place.observe(SOON)
    await place.stop(SOON)
    await place.stop(SOON)
    assert (await place.observe(SOON)).starts == {}
    await place.start(SOON)
    second = await place.observe(SOON)
    await place.start(SOON)
    assert await place.observe(SOON) == second
    await place.restart(SOON)
    third = await place.observe(SOON)
    assert first.up
    assert third.up
    assert len({str(first.starts), str(second.starts), str(third.starts)}) == 3


async def test_a_restart_starts_what_is_stopped(engine):
    place = locate("docker://worker", Services)
    await place.stop(SOON)
    await place.restart(SOON)
    assert (await place.observe(SOON)).up


async def test_it_acts_on_the_container_that_was_seen_and_speaks_the_engines_own_version(engine):
    await locate("docker://worker", Services).stop(SOON)
    assert engine.changes() == [f"/v1.47/containers/{engine.named('worker')['Id']}/stop"]


@pytest.mark.parametrize("state", [{"Paused": True}, {"Restarting": True}])
async def test_what_is_paused_or_starts_again_and_again_is_not_up_and_not_stopped_either(engine, state):
    engine.named("worker")["State"] |= state
    running = await locate("docker://worker", Services).observe(SOON)
    assert not running.up
    assert running.starts


@pytest.mark.parametrize("name", ["gone", "cafe"])
async def test_a_name_is_a_name_and_not_the_beginning_of_an_id(engine, name):
    with pytest.raises(PermanentError, match=f"No such container: gone|no container with the name {name}"):
        await locate(f"docker://{name}", Services).stop(SOON)
    assert engine.changes() == []


async def test_what_the_engine_refuses_it_says(engine):
    engine.named("worker")["State"]["Paused"] = True
    with pytest.raises(PermanentError, match=r"\(409\): cannot start a paused container"):
        await locate("docker://worker", Services).start(SOON)


async def test_a_proxy_that_lets_nothing_be_changed_is_a_refusal(engine):
    engine.shut = True
    with pytest.raises(PermanentError, match=r"refused to restart docker:worker \(403\)"):
        await locate("docker://worker", Services).restart(SOON)


async def test_a_server_error_is_temporary_for_a_question_and_unknown_for_a_change(engine):
    engine.broken = 500
    with pytest.raises(TemporaryError, match="something went wrong"):
        await Restart(None).rehearse(RESTART, NOW)
    engine.broken = 0
    ident = engine.named("worker")["Id"]
    before = await Restart(None).observe(RESTART, NOW)
    engine.silent = True
    with pytest.raises(Unanswered, match=r"told to restart docker:worker"):
        await Restart(None).run(RESTART, before, NOW)
    assert engine.changes()[-1].endswith(f"{ident}/restart")
    assert Restart(None).settled(RESTART, before, await Restart(None).observe(RESTART, NOW)) is Settled.DONE


async def test_a_time_limit_bounds_a_question_and_a_change(engine):
    engine.slow = 0.4
    place = locate("docker://worker", Services)
    with pytest.raises(TemporaryError):
        await place.observe(timedelta(seconds=0.5))
    with pytest.raises(TemporaryError):  # it was still asking which one to restart
        await place.restart(timedelta(seconds=0.5))
    assert engine.changes() == []


async def test_a_change_that_was_begun_is_finished_when_its_caller_is_cancelled(engine):
    engine.slow = 0.2
    task = asyncio.create_task(locate("docker://worker", Services).stop(SOON))
    while not engine.changes():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not engine.named("worker")["State"]["Running"]


@pytest.mark.parametrize(
    ("host", "kind", "said"),
    [
        ("ssh://ops@app", PermanentError, "DOCKER_HOST is no address that is spoken here: write unix:"),
        ("tcp://u:hush@h:1", PermanentError, "no address that is spoken here"),
        ("unix://relative", PermanentError, "no address that is spoken here"),
        ("unix:///nowhere/docker.sock", TemporaryError, "cannot be reached: .*is it running"),
    ],
)
async def test_where_no_engine_is_the_cure_is_said_without_a_login(monkeypatch, host, kind, said):
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(kind, match=said) as told:
        await Restart(None).rehearse(RESTART, NOW)
    assert "hush" not in str(told.value)


async def test_an_engine_that_listens_on_a_port_is_reached_and_tls_wants_its_files(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await Restart(None).rehearse(RESTART, NOW)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(PermanentError, match="in DOCKER_CERT_PATH cannot be used: No such file"):
        await Restart(None).rehearse(RESTART, NOW)


@pytest.mark.parametrize(
    "locator", ["docker://-f", "docker://a/b", "docker://", "docker://a b", "docker://x", "docker://a?t=1"]
)
def test_what_is_no_name_is_refused_at_load(locator):
    with pytest.raises(ValueError, match=r"not the name of a container|absolute path|no name after"):
        locate(locator, Place)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/containers/worker/restart", 400),
        ("POST", "/v1.43/containers/worker/restart", 400),
        ("GET", "/v1.47/containers/worker/restart", 404),
        ("POST", "/v1.47/containers/worker/kill", 404),
        ("POST", "/v1.47/containers/worker/stop?t=soon", 400),
        ("POST", "/v1.47/containers/worker/stop?force=1", 400),
        ("POST", "/v1.47/containers/gone/stop", 404),
    ],
)
async def test_the_double_refuses_what_the_engine_would_refuse(engine, tmp_path, method, path, status):
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "docker.sock"))) as session,
        session.request(method, f"http://docker{path}") as answer,
    ):
        assert answer.status == status
        assert set(await answer.json()) == {"message"}

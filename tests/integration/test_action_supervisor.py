"""Restart and service, against a real supervisord."""

import asyncio
import os
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from tests.doubles.supervised import supervisord

from stopgap.action import Moment, Restored, Settled
from stopgap.actions.restart import Restart
from stopgap.actions.service import Service
from stopgap.backends import locate
from stopgap.backends.capability import Services
from stopgap.backends.supervisor import Supervisor
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=20))


@pytest_asyncio.fixture
async def hotel():
    with tempfile.TemporaryDirectory(prefix="sg") as folder:  # a socket's path must be short
        async with supervisord(Path(folder)) as locator:
            place = locate(locator, Services)
            await place.start(NOW.timeout)
            yield locator


async def test_a_restart_is_another_process_and_can_be_told_afterwards(hotel):
    restart = Restart(None)
    params = restart.params(at=hotel)
    before = await restart.observe(params, NOW)
    assert restart.settled(params, before, await restart.observe(params, NOW)) is Settled.NOT_DONE
    await restart.run(params, before, NOW)
    after = await restart.observe(params, NOW)
    assert restart.settled(params, before, after) is Settled.DONE
    assert after["up"]
    assert not restart.reverts(params)


async def test_a_restart_starts_what_is_stopped(hotel):
    restart = Restart(None)
    params = restart.params(at=hotel)
    await locate(hotel, Services).stop(NOW.timeout)
    before = await restart.observe(params, NOW)
    assert restart.settled(params, before, before) is Settled.NOT_DONE
    await restart.run(params, before, NOW)
    assert restart.settled(params, before, await restart.observe(params, NOW)) is Settled.DONE


async def test_a_restart_that_is_cancelled_after_the_stop_still_starts(hotel, monkeypatch):
    restart, stop, stopped = Restart(None), Supervisor.stop, asyncio.Event()
    params = restart.params(at=hotel)

    async def told(self, within):
        await stop(self, within)
        stopped.set()

    monkeypatch.setattr(Supervisor, "stop", told)
    before = await restart.observe(params, NOW)
    task = asyncio.create_task(restart.run(params, before, NOW))
    await stopped.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert restart.settled(params, before, await restart.observe(params, NOW)) is Settled.DONE


async def test_a_service_is_stopped_and_brought_back(hotel):
    service = Service(None)
    params = service.params(at=hotel, state="stopped")
    before = await service.observe(params, NOW)
    receipt = await service.run(params, before, NOW)
    await service.run(params, before, NOW)
    assert service.settled(params, before, await service.observe(params, NOW)) is Settled.DONE
    assert (await service.revert(params, before, receipt, NOW)).result is Restored.REVERTED
    assert service.settled_revert(params, before, await service.observe(params, NOW)) is Settled.DONE
    assert (await service.revert(params, before, None, NOW)).result is Restored.NOTHING


async def test_a_program_that_is_not_there_is_said(hotel):
    with pytest.raises(PermanentError, match="BAD_NAME"):
        await locate(hotel.replace("#hotel", "#gone"), Services).observe(NOW.timeout)


async def test_a_server_that_is_not_there_is_temporary(tmp_path):
    for locator in (f"supervisor://{tmp_path}/s.sock#hotel", "supervisor://127.0.0.1:1#hotel"):
        with pytest.raises(TemporaryError, match="cannot be reached"):
            await locate(locator, Services).restart(NOW.timeout)


async def test_a_login_comes_from_the_environment(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="sg") as folder:
        async with supervisord(Path(folder), "username=ops\npassword=hush") as locator:
            place = locate(locator, Services)
            with pytest.raises(PermanentError, match="HTTP 401"):
                await place.observe(NOW.timeout)
            monkeypatch.setenv("STOPGAP_SUPERVISOR_USER", "ops")
            monkeypatch.setenv("STOPGAP_SUPERVISOR_PASSWORD_FILE", os.devnull)
            with pytest.raises(PermanentError, match="HTTP 401"):
                await place.observe(NOW.timeout)
            monkeypatch.delenv("STOPGAP_SUPERVISOR_PASSWORD_FILE")
            monkeypatch.setenv("STOPGAP_SUPERVISOR_PASSWORD", "hush")
            assert (await place.observe(NOW.timeout)).up


async def test_a_server_that_never_answers_is_unknown_for_an_act_and_temporary_for_a_question():
    over = asyncio.Event()

    async def silent(reader, writer):
        await reader.read(100_000)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    place = locate(f"supervisor://127.0.0.1:{port}#hotel", Services)
    short = timedelta(seconds=0.3)
    with pytest.raises(TimeoutError):
        await place.restart(short)
    with pytest.raises(TemporaryError):
        await place.observe(short)
    over.set()
    server.close()
    await asyncio.sleep(0.05)  # both connections say goodbye in the next turns of the loop

"""Connections beyond the limit: the oldest idle one makes room; where all are at work, the new one is closed."""

import asyncio

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.prometheus_server import free_port

from stopgap.front import Front

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def front(monkeypatch):
    monkeypatch.setattr("stopgap.front.room", lambda: 2)
    monkeypatch.setattr("stopgap.front.SHUTDOWN", 0.1)
    door = Front("127.0.0.1", free_port())
    door.go_on, door.began, door.shed = asyncio.Event(), asyncio.Semaphore(0), []
    door.on_shed = lambda: door.shed.append(1)

    async def answer(_: web.Request) -> web.Response:
        door.began.release()
        await door.go_on.wait()
        return web.Response(text="well")

    app = web.Application()
    app.router.add_get("/", answer)
    await door.show(app)
    door.callers = []
    yield door
    door.go_on.set()
    await door.close()
    for writer in door.callers:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def call(front: Front, say: bytes = b"") -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection(*front._address)
    front.callers.append(writer)
    writer.write(say)
    await asyncio.sleep(0.02)
    return reader


async def test_the_oldest_idle_connection_makes_room_and_one_at_work_does_not(front):
    worker = await call(front, ASK)
    await front.began.acquire()
    idle = await call(front)
    with capture_logs() as lines:
        await call(front)
        assert await asyncio.wait_for(idle.read(), 5) == b""
        await call(front)
    assert len(front.shed) == 2
    assert [line["event"] for line in lines] == ["connections_full"]
    front.go_on.set()
    assert b"200 OK" in await asyncio.wait_for(worker.readline(), 5)


async def test_where_all_are_at_work_the_new_one_is_closed_at_once(front):
    workers = [await call(front, ASK) for _ in range(2)]
    for _ in workers:
        await front.began.acquire()
    late = await call(front)
    assert await asyncio.wait_for(late.read(), 5) == b""
    assert len(front.shed) == 1
    front.go_on.set()
    for worker in workers:
        assert b"200 OK" in await asyncio.wait_for(worker.readline(), 5)

"""Clients that connect in thousands, say little, or do not listen, and no descriptors left: the webhook answers the others."""

import asyncio
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.daemon import Daemon, alert, running, until

RULES = """
rules:
  - name: one
    match: alertname="One"
    target: "{{ labels.n }}"
    do: [{exec: {argv: [echo, "{{ labels.n }}"]}}]
"""
MANY = 4000
PATIENCE = 2.0  # seconds, instead of 30 or 60
HEADER = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODIES = {
    "webhook": HEADER + b'Content-Length: 100\r\n\r\n{"ver',
    "API": b"PUT /api/v1/brake HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer word\r\n"
    b'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"why',
}


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Let this process hold as many connections as it opens."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * MANY if hard == resource.RLIM_INFINITY else min(3 * MANY, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def holding(soft: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def connect(daemon: Daemon, say: bytes = b"") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", daemon.port), timeout=5)
    one.setblocking(False)
    if say:
        one.send(say)
    return one


async def crowd(daemon: Daemon, count: int) -> list[socket.socket]:
    """Connect so often; every second one says half a header."""
    found = []
    for number in range(count):
        found.append(connect(daemon, HEADER if number % 2 else b""))
        if not number % 16:
            await asyncio.sleep(0)
    return found


async def taken(daemon: Daemon, number: str) -> bool:
    """Send a notification as Alertmanager does, which sends again what had no answer."""
    return await daemon.post(alert("One", n=number)) == 200


async def closed(one: socket.socket) -> bytes:
    """Read until the other side closes, and return what it said."""
    said = b""
    try:
        while more := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 65536), 20):
            said += more
    except ConnectionError:
        pass
    return said


async def test_four_thousand_idle_clients_cost_little_keep_nobody_out_and_are_ended(tmp_path: Path):
    (tmp_path / "patience").write_text(str(PATIENCE))
    async with running(tmp_path, RULES, lambda: holding(2 * MANY + 1000)) as daemon:
        before = daemon.rss
        idle = await crowd(daemon, MANY)
        assert await daemon.post(alert("One", n="1")) == 200
        assert daemon.rss - before < 60
        assert await daemon.metric("connections_shed_total") == 0
        await until(lambda: daemon.descriptors < 100, within=3 * PATIENCE + 10)  # of itself
        for one in idle:
            one.close()

        await slow_clients_are_ended(daemon)


async def slow_clients_are_ended(daemon: Daemon) -> None:
    slow = {name: connect(daemon, text) for name, text in BODIES.items()}
    for one in slow.values():
        assert (await closed(one)).startswith(b"HTTP/1.1 408 ")
        one.close()

    before = daemon.descriptors
    deaf = connect(daemon)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    question = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(deaf, question * 1000), 5)
    await until(lambda: daemon.descriptors > before)
    await until(lambda: daemon.descriptors <= before, within=20 * PATIENCE)  # it never read an answer
    deaf.close()


async def test_more_clients_than_descriptors_leave_half_of_them_to_the_work(tmp_path: Path):
    async with running(tmp_path, RULES, lambda: holding(256)) as daemon:
        idle = await crowd(daemon, 600)
        await until(lambda: taken(daemon, "0"))  # its own connection may have made room a moment ago
        for number in (1, 2):
            assert await daemon.post(alert("One", n=str(number))) == 200
        await until(lambda: len(daemon.logged("step_succeeded")) == 3)  # there was room for the commands
        assert daemon.descriptors < 200
        assert await daemon.metric("connections_shed_total") >= 400
        assert daemon.logged("connections_full")
        for one in idle:
            one.close()

        await without_a_descriptor(daemon)


async def without_a_descriptor(daemon: Daemon) -> None:
    await until(lambda: daemon.descriptors < 40)
    limit = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (daemon.descriptors, limit[1]))
    lines = len(daemon.log().splitlines())
    waiting = [connect(daemon) for _ in range(50)]
    answers = [
        await daemon.post(alert("One", n=f"without {n}")) for n in range(3)
    ]  # over the connection it has
    await until(lambda: daemon.logged("loop_fault"))
    await asyncio.sleep(2)
    assert len(daemon.log().splitlines()) - lines < 60
    assert "Too many open files" in daemon.logged("loop_fault")[0]["error"]
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limit)
    for one in waiting:
        one.close()

    await until(lambda: taken(daemon, "after"))
    targets = {one["target"] for one in await daemon.incidents()}
    for number, status in enumerate(answers):
        assert status in (200, 503, 0)
        assert status != 200 or f"without {number}" in targets

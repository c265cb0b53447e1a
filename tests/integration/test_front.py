"""The front: one application takes the place of another one, and nobody who knocks meanwhile finds the door closed."""

import asyncio
import socket

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from aiohttp.test_utils import unused_port

from stopgap import front as fronting
from stopgap.front import Front


def saying(text, gate=None):
    async def answer(request):
        if gate is not None and request.query:
            await gate.wait()
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/", answer)
    return app


@pytest.fixture
async def session():
    async with ClientSession(timeout=ClientTimeout(total=10)) as session:
        yield session


async def said(session, url):
    async with session.get(url, headers={"Connection": "close"}) as answer:
        return await answer.text()


async def test_applications_change_and_no_request_is_refused(session):
    port = unused_port()
    front, url = Front("127.0.0.1", port), f"http://127.0.0.1:{port}/"
    await front.show(saying("0"))
    over, heard = asyncio.Event(), []

    async def knock():
        while not over.is_set():
            heard.append(await said(session, url))

    knocking = [asyncio.create_task(knock()) for _ in range(4)]
    for number in range(1, 6):
        await front.show(saying(str(number)))
        assert await said(session, url) == str(number)
    over.set()
    await asyncio.gather(*knocking)  # raises what a refused connection raises
    await front.close()
    assert heard == sorted(heard)
    assert len(heard) > 10


async def test_a_request_under_way_is_answered_by_the_application_that_it_reached(session):
    port, gate = unused_port(), asyncio.Event()
    front, url = Front("127.0.0.1", port), f"http://127.0.0.1:{port}/"
    await front.show(saying("slow", gate))
    asking = asyncio.create_task(said(session, f"{url}?slowly"))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(front.show(saying("next")), 1)  # nobody waits for who is slow
    assert await said(session, url) == "next"
    gate.set()
    assert await asking == "slow"
    await front.close()


async def test_a_request_that_never_ends_is_ended_when_the_front_is_closed_whoever_it_reached(
    session, monkeypatch
):
    monkeypatch.setattr(fronting, "SHUTDOWN", 0.3)
    monkeypatch.setattr(fronting, "CHANGE", 0.01)
    port = unused_port()
    front, url = Front("127.0.0.1", port), f"http://127.0.0.1:{port}/"
    await front.show(saying("slow", asyncio.Event()))
    asking = asyncio.create_task(said(session, f"{url}?slowly"))
    await asyncio.sleep(0.1)
    await front.show(saying("next"))
    await asyncio.wait_for(front.close(), 2)
    with pytest.raises(ClientError):
        await asyncio.wait_for(asking, 0.1)


async def test_a_closed_front_leaves_its_address_to_others():
    port = unused_port()
    for _ in range(2):
        front = Front("127.0.0.1", port)
        await front.show(saying("x"))
        await front.close()


async def test_one_that_was_never_shown_is_closed():
    await Front("127.0.0.1", 1).close()


async def test_a_name_is_listened_on_under_all_its_addresses(session):
    port = unused_port()
    front = Front("localhost", port)
    await front.show(saying("x"))
    assert await said(session, f"http://localhost:{port}/") == "x"
    await front.close()


async def test_an_address_that_is_taken_is_said():
    port = unused_port()
    front = Front("127.0.0.1", port)
    await front.show(saying("x"))
    taken = f"^cannot listen on 127.0.0.1:{port}: Address already in use; .* --listen$"
    with pytest.raises(OSError, match=taken):
        await Front("127.0.0.1", port).show(saying("y"))
    await front.close()


async def test_an_address_that_is_not_ours_is_said():
    with pytest.raises(OSError, match=r"^cannot listen on nobody\.invalid:1: .* --listen$"):
        await Front("nobody.invalid", 1).show(saying("x"))


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_in_at_the_moment_of_the_change_is_not_left_with_the_application_that_went(turns):
    port = unused_port()
    front = Front("127.0.0.1", port)
    await front.show(saying("old"))
    with socket.create_connection(("127.0.0.1", port)) as coming:
        for _ in range(turns):
            await asyncio.sleep(0)
        await front.show(saying("new"))
        coming.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=coming)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer == b"" or answer.endswith(b"new")  # hung up on, or served by the new one
        writer.close()
    await front.close()

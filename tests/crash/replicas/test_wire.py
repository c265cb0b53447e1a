"""A wire passes everything on, until it is cut, silent, slow, or somebody lies in wait."""

import asyncio
from contextlib import suppress

import pytest
from tests.crash.replicas.wire import Blow, Wire

SHORT = 0.2


class Echo:
    """A server that says back what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _talk(self, reader, writer):
        with suppress(ConnectionError):
            while piece := await reader.read(1000):
                self.heard += piece
                writer.write(piece)
        writer.close()


@pytest.fixture
async def echo():
    async with Echo() as echo:
        yield echo


@pytest.fixture
async def wire(echo):
    async with Wire(lambda: echo.port) as wire:
        yield wire


async def say(wire: Wire, text: bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    writer.write(text)
    return reader, writer


async def hears(reader: asyncio.StreamReader, text: bytes) -> bool:
    try:
        return await asyncio.wait_for(reader.readexactly(len(text)), SHORT) == text
    except TimeoutError:
        return False


async def gone(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionResetError:
        return True


async def test_a_good_wire_passes_everything_on_and_the_end_too(echo, wire):
    reader, writer = await say(wire, b"hello")
    assert await hears(reader, b"hello")
    writer.write_eof()
    assert await gone(reader)
    writer.close()


async def test_a_cut_resets_what_is_open_and_a_wire_that_refuses_lets_nobody_in(echo, wire):
    reader, writer = await say(wire, b"hello")
    assert await hears(reader, b"hello")
    wire.refuses = True
    wire.cut()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), 5)
    writer.close()
    with suppress(ConnectionResetError):
        reader, writer = await say(wire, b"again")
        assert await gone(reader)
        writer.close()
    assert echo.heard == b"hello"
    wire.heal()
    reader, writer = await say(wire, b"again")
    assert await hears(reader, b"again")
    writer.close()


async def test_a_silent_wire_takes_everything_tells_nobody_and_delivers_it_late(echo, wire):
    reader, writer = await say(wire, b"one")
    assert await hears(reader, b"one")
    wire.silence()
    writer.write(b"two")
    assert not await hears(reader, b"two")
    another, other = await say(wire, b"three")
    assert not await hears(another, b"three")
    assert echo.heard == b"one"
    wire.speak()
    assert await hears(reader, b"two")
    assert await hears(another, b"three")
    writer.close()
    other.close()


async def test_a_slow_wire_takes_its_time(echo, wire):
    reader, writer = await say(wire, b"one")
    assert await hears(reader, b"one")
    wire.delay = SHORT
    writer.write(b"two")
    assert not await hears(reader, b"two")
    wire.delay = 0.0
    assert await asyncio.wait_for(reader.readexactly(3), 5) == b"two"
    writer.close()


@pytest.mark.parametrize(("blow", "arrives"), [(Blow.BEFORE, b"BEGIN"), (Blow.AFTER, b"BEGINCOMMIT")])
async def test_who_lies_in_wait_cuts_before_a_piece_arrives_or_before_its_answer_does(
    echo, wire, blow, arrives
):
    wire.ambush = lambda piece: blow if b"COMMIT" in piece else Blow.NONE
    reader, writer = await say(wire, b"BEGIN")
    assert await hears(reader, b"BEGIN")
    writer.write(b"COMMIT")
    assert await gone(reader)
    async with asyncio.timeout(5):
        while echo.heard != arrives:
            await asyncio.sleep(0.01)
    writer.close()

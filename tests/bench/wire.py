"""Wire: HTTP/1.1 on raw sockets, as little of it as a load needs, so that the load is not what is measured."""

import asyncio

HEALTHY = b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Client(asyncio.Protocol):
    """One kept-alive connection; `ask` sends a request and gives the status of its answer, 0 when there is none; one at a time."""

    def __init__(self) -> None:
        self._read = b""
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        if whole(self._read):
            status, self._read = int(self._read[9:12]), b""
            self._give(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._give(0)

    def _give(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connect(port: int) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


def whole(read: bytes) -> bool:
    """Tell whether an answer is there to its end; ours all have a Content-Length."""
    head, found, body = read.partition(b"\r\n\r\n")
    if not found:
        return False
    return len(body) >= int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)

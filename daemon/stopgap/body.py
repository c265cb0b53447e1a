"""Body: what a client sends after its header, read to a limit of bytes, of time, and of memory shared by all clients."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from aiohttp import ClientError, web


class BodyRefused(Exception):  # noqa: N818 - named for what happened; it is always answered
    """The body is not taken: `status` and a constant text for the answer."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


SERVER: Mapping[str, Any] = {
    "auto_decompress": False,
    "handler_cancellation": False,
    "access_log": None,
    "keepalive_timeout": 60.0,
}
"""How every server is started (`web.AppRunner(app, **SERVER)`): nothing inflates unasked, no work ends when a client leaves.

`keepalive_timeout` bounds, in seconds from the connection or the last answer, how long the next header may take to arrive.
"""

TOO_LARGE = "the body is larger than the limit"


class Room:
    """Bytes of bodies that may be in memory at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def share(self) -> "Share":
        """Give a share that grows with a body; as a context, it is returned at the end."""
        return Share(self)


class Share:
    """What one body takes of the room."""

    __slots__ = ("_room", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.taken -= self.size

    def grow(self, size: int) -> None:
        """Take more. Raises BodyRefused (503) when the room is full."""
        if self._room.taken + size > self._room.limit:
            raise BodyRefused(503, "too many bodies at once")
        self._room.taken += size
        self.size += size


async def read_body(request: web.Request, share: Share, limit: int, within: timedelta) -> bytes:
    """Read a whole body. Raises BodyRefused: 413 too large, 408 too slow, 400 broken off, 503 no room."""
    if (request.content_length or 0) > limit:
        raise BodyRefused(413, TOO_LARGE)
    if not request.body_exists:
        return b""
    if request.content.is_eof():  # all of it came with the header: the usual case, and worth being quick
        body = request.content.read_nowait()
        share.grow(len(body))
        if share.size > limit:
            raise BodyRefused(413, TOO_LARGE)
        return body
    return await _read_on(request, share, limit, within)


async def _read_on(request: web.Request, share: Share, limit: int, within: timedelta) -> bytes:
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(within.total_seconds()):
            async for chunk in request.content.iter_any():
                share.grow(len(chunk))
                if share.size > limit:
                    raise BodyRefused(413, TOO_LARGE)
                chunks.append(chunk)
    except TimeoutError:
        raise BodyRefused(408, "the body did not arrive in time") from None
    except (web.RequestPayloadError, ClientError, ConnectionError):
        raise BodyRefused(400, "the body broke off or is badly encoded") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)

"""Answer: the body of an HTTP answer, read no further than a limit."""

import aiohttp


async def read_answer(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read the body; one that is longer than `limit` bytes comes back longer than that, and cut off."""
    body = bytearray()
    async for piece in answer.content.iter_chunked(64 * 1024):
        body += piece
        if len(body) > limit:
            break
    return bytes(body)

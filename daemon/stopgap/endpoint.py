"""Endpoint: an HTTP API of somebody else's, asked within bounds of time and bytes, and in a few words why it gave no answer.

Redirects are never followed: what answers elsewhere is not who was asked. Nothing here prints the URL, because it may hold a
password. A large answer is read in a thread, so that the event loop does not stall.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from stopgap.duration import print_duration
from stopgap.errors import ProbeError

T = TypeVar("T")

_INLINE = 128 * 1024  # bytes of an answer that the event loop reads by itself
_SHOWN = 200  # characters of what the other side says of an error


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a GET with `query`, or a POST of `form` where there is one; `largest` bytes of answer are read."""

    path: str
    largest: int
    query: Sequence[tuple[str, str]] = ()
    form: Mapping[str, str] | None = None
    cure: str = ""  # of an answer that is too large


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `at` is its `Date`: now by the other side's clock, in whole seconds. `body` is empty once it was read."""

    status: int
    body: bytearray
    at: datetime | None


class Endpoint:
    """One server by its name in our messages and its URL. `session` is asked at every call; nothing is opened before."""

    def __init__(self, name: str, url: str, session: Callable[[], aiohttp.ClientSession]) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._session = session

    async def ask(
        self,
        question: Question,
        read: Callable[[Reply], T],
        timeout: timedelta,  # noqa: ASYNC109 - bounds two attempts and the reading together
    ) -> T:
        """Ask, and return what `read` makes of the answer; a connection that was reset is tried once more.

        Raises ProbeError with a short reason when there is no answer; what `read` raises beside it must be a ProbeError too.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                async for attempt in AsyncRetrying(
                    stop=stop_after_attempt(2), retry=retry_if_exception(_was_reset), reraise=True
                ):
                    with attempt:
                        reply = await self._exchange(question, body)
                return read(reply) if len(reply.body) <= _INLINE else await asyncio.to_thread(read, reply)
        except TimeoutError:
            raise ProbeError(f"{self.name} did not answer within {print_duration(timeout)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ProbeError(f"{self.name} cannot be asked: {_reason(error)}") from None
        finally:
            body.clear()  # an error holds its frames, and they what they read, until the garbage collector comes by

    async def _exchange(self, question: Question, body: bytearray) -> Reply:
        body.clear()
        async with self._session().request(
            "GET" if question.form is None else "POST",
            self._url + question.path,
            params=question.query or None,
            data=question.form,
            timeout=aiohttp.ClientTimeout(total=None),  # the caller's `asyncio.timeout` bounds it
            allow_redirects=False,
        ) as response:
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > question.largest:
                    cure = f": {question.cure}" if question.cure else ""
                    raise ProbeError(
                        f"the answer of {self.name} is larger than {question.largest >> 20} MiB{cure}"
                    )
            return Reply(response.status, body, _dated(response.headers.get("Date", "")))


def shown(text: str) -> str:
    """Make text of the other side safe to show: printable, on one line, at most 200 characters."""
    line = "".join(char if char.isprintable() else " " for char in text[: _SHOWN * 4])
    return " ".join(line.split())[:_SHOWN]


def instant(text: str) -> datetime:
    """Read a time of RFC 3339, to the microsecond. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without its offset from UTC")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time beyond the years 1 to 9999") from None


def without_secrets(url: str) -> str:
    """Return a URL as it may be shown: without user, password and query."""
    try:
        parts = urlsplit(url)
        bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    except ValueError:
        bare = ""
    return shown(bare) if bare and parts.scheme and parts.hostname else "(not a URL)"


def _dated(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def _was_reset(error: BaseException) -> bool:
    """Tell whether a connection broke after it was made: a kept-alive one that the server had closed, mostly."""
    broken = aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError
    return isinstance(error, broken) and not isinstance(error, aiohttp.ClientConnectorError)


def _reason(error: Exception) -> str:
    """Say what went wrong without the URL."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__

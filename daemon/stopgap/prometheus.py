"""Prometheus: instant queries over HTTP, and in a few words why one could not be answered.

An empty vector is success without elements, not an error; what that means is the asker's affair. Any `warnings` mean that the
answer may be partial (a failed remote read, a truncated result); `infos` of newer servers are style remarks and are dropped.
Nothing here prints the URL, because it may hold a password.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import orjson
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from stopgap.duration import print_duration
from stopgap.errors import ProbeError

_LARGEST = 8 * 1024 * 1024  # bytes of one answer, about 60 000 elements
_INLINE = 128 * 1024  # a larger answer is read in a thread, so that the loop never stalls
_SHOWN = 200  # characters of what Prometheus says of an error


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a vector; a scalar has no labels. The value may be NaN or infinite."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What an instant query returned: with a warning in it nothing is proven."""

    elements: tuple[Element, ...]
    warnings: tuple[str, ...] = ()


class Prometheus:
    """The Prometheus that all questions go to, or none. `session` is asked at every call; nothing is opened before."""

    def __init__(self, url: str | None, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._url = url.rstrip("/") + "/api/v1/query" if url else None
        self._session = session

    async def query(self, expression: str, *, timeout: timedelta) -> Answer:  # noqa: ASYNC109 - bounds two attempts together
        """Evaluate an expression now (`POST /api/v1/query`); a connection that was reset is tried once more.

        Raises ProbeError with a short reason for everything but a vector or a scalar.
        """
        if self._url is None:
            raise ProbeError("no Prometheus is configured: start with --prometheus URL")
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                async for attempt in AsyncRetrying(
                    stop=stop_after_attempt(2), retry=retry_if_exception(_was_reset), reraise=True
                ):
                    with attempt:
                        status, body = await self._post(self._url, expression, timeout)
                return await _read(status, body)
        except TimeoutError:
            raise ProbeError(f"Prometheus did not answer within {print_duration(timeout)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ProbeError(f"Prometheus cannot be asked: {_reason(error)}") from None

    async def number(self, query: str, timeout: timedelta) -> float:  # noqa: ASYNC109 - the same
        """Return the one number that a query is answered with. Raises ProbeError for anything but one finite number."""
        answer = await self.query(query, timeout=timeout)
        if answer.warnings:
            raise ProbeError(f"Prometheus warns: {answer.warnings[0]}")
        if len(answer.elements) != 1:
            raise ProbeError(f"{_shown(query)} returned {len(answer.elements)} numbers, wanted one")
        value = answer.elements[0].value
        if not math.isfinite(value):
            raise ProbeError(f"{_shown(query)} = {value}")
        return value

    async def _post(self, url: str, expression: str, limit: timedelta) -> tuple[int, bytes]:
        async with self._session().post(
            url,
            data={"query": expression, "timeout": f"{limit.total_seconds():.3f}"},
            timeout=aiohttp.ClientTimeout(total=None),  # the caller's `asyncio.timeout` bounds it
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > _LARGEST:
                    raise ProbeError(
                        f"Prometheus' answer is larger than {_LARGEST >> 20} MiB: aggregate the query"
                    )
            return response.status, bytes(body)


def _was_reset(error: BaseException) -> bool:
    """Tell whether a connection broke after it was made: a kept-alive one that the server had closed, mostly."""
    broken = aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError
    return isinstance(error, broken) and not isinstance(error, aiohttp.ClientConnectorError)


def _reason(error: Exception) -> str:
    """Say what went wrong without the URL."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__


async def _read(status: int, body: bytes) -> Answer:
    return _answer(status, body) if len(body) <= _INLINE else await asyncio.to_thread(_answer, status, body)


def _answer(status: int, body: bytes) -> Answer:
    """Read the body of an answer, by the envelope of Prometheus' HTTP API."""
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        envelope = None
    if not isinstance(envelope, dict) or "status" not in envelope:
        raise ProbeError(
            f"Prometheus answered {status} with {_shown(body.decode('utf-8', 'replace')) or 'nothing'}"
        )
    if envelope["status"] != "success":
        kind, text = envelope.get("errorType", "error"), envelope.get("error", "")
        raise ProbeError(f"Prometheus answered {status}: {_shown(f'{kind}: {text}')}")
    try:
        found = envelope["data"]
        elements = _elements(found["resultType"], found["result"])
        return Answer(elements, tuple(map(str, envelope.get("warnings") or ())))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProbeError("Prometheus' answer has not the form of its HTTP API") from None


def _elements(kind: str, result: Any) -> tuple[Element, ...]:
    """Read a result; values are strings (`NaN`, `+Inf`), the timestamp is the evaluation's and says nothing of the age."""
    match kind:
        case "scalar":
            return (Element({}, float(result[1])),)
        case "vector":
            if any("histogram" in one for one in result):
                raise ProbeError(
                    "the query returns a histogram: use histogram_quantile() or histogram_count()"
                )
            return tuple(Element(dict(one["metric"]), float(one["value"][1])) for one in result)
        case "matrix":
            raise ProbeError("the query returns a range: use an instant vector, without [...]")
        case _:
            raise ProbeError(f"the query returns a {_shown(str(kind))}: use one that returns numbers")


def _shown(text: str) -> str:
    line = "".join(char if char.isprintable() else " " for char in text[: _SHOWN * 4])
    return " ".join(line.split())[:_SHOWN]

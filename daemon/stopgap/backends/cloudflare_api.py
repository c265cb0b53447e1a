"""Cloudflare's API, version 4: one call with a session of its own, and what its answer means.

The token comes from our own environment: CLOUDFLARE_API_TOKEN, or CLOUDFLARE_API_TOKEN_FILE with the name of a file; it is in no
error, no log and no locator. CLOUDFLARE_BASE_URL names another place that speaks the API, such as a proxy: https, or http on this
machine. What Cloudflare refuses is a PermanentError with its code and text, 429 may be tried again when `Retry-After` is over, and
a change that got 5xx or no answer is an unknown outcome.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from stopgap.backends.answer import read_answer
from stopgap.backends.whole import Unanswered, finish
from stopgap.endpoint import shown
from stopgap.errors import PermanentError, StopgapError, TemporaryError

_BASE = "https://api.cloudflare.com/client/v4"
_TOKEN = re.compile(r"[!-~]{1,500}")
_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_LARGEST = 4 * 1024 * 1024  # bytes of an answer
_PAGE, _MOST_PAGES = 50, 100
_LONGEST_PAUSE = 3600  # seconds of a Retry-After
_OK, _REDIRECT, _NOT_ALLOWED, _NOT_FOUND, _SLOWER, _SERVER_ERROR = 200, 300, (401, 403), 404, 429, 500
_SETUP = "set CLOUDFLARE_API_TOKEN, or CLOUDFLARE_API_TOKEN_FILE to the name of a file"


class Refused(PermanentError):  # noqa: N818 - reads as the answer it is
    """Cloudflare says no; `status` is the answer's."""

    def __init__(self, text: str, status: int) -> None:
        self.status = status
        super().__init__(text)

    @property
    def gone(self) -> bool:
        """Tell that what was asked for is not there."""
        return self.status == _NOT_FOUND

    @property
    def forbidden(self) -> bool:
        """Tell that the token may not do this."""
        return self.status in _NOT_ALLOWED


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `permission` is what the token needs for it."""

    method: str
    path: str
    permission: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    @property
    def asks(self) -> bool:
        """Tell that nothing is changed."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Reply:
    """What an envelope holds: the result, and of a list how many there are on all pages."""

    result: Any
    total: int


async def send(call: Call, within: timedelta) -> Reply:
    """Make a call. A change that was begun is finished when the caller is cancelled: no half state, no surprise afterwards.

    Raises ActionError when nothing was changed, and Unanswered when that is not known.
    """
    if call.asks:
        return await _exchange(call, within)
    return await finish(_exchange(call, within))


async def listed(call: Call, within: timedelta) -> list[dict[str, Any]]:
    """Return all that a list holds, page by page. Raises ActionError."""
    found: list[dict[str, Any]] = []
    for page in range(1, _MOST_PAGES + 1):
        query = {**call.query, "page": str(page), "per_page": str(_PAGE)}
        reply = await send(Call(call.method, call.path, call.permission, query), within)
        rows = reply.result if isinstance(reply.result, list) else []
        found += [row for row in rows if isinstance(row, dict)]
        if not rows or len(found) >= reply.total:
            return found
    raise PermanentError(f"Cloudflare lists more than {_PAGE * _MOST_PAGES} of what was asked for")


def identified(row: Mapping[str, Any]) -> str:
    """Return the id of an object, which is put into paths. Raises PermanentError when it is none."""
    found = str(row.get("id", ""))
    if not _ID.fullmatch(found):
        raise PermanentError("Cloudflare answered with an object that has no id")
    return found


async def _exchange(call: Call, within: timedelta) -> Reply:
    limits = aiohttp.ClientTimeout(total=within.total_seconds(), connect=10)
    headers = {"Authorization": f"Bearer {_token()}", "Accept": "application/json"}
    url = f"{_base()}{call.path}"
    try:
        async with (
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=limits, headers=headers, trust_env=False
            ) as session,
            session.request(
                call.method, url, params=call.query or None, json=call.body, allow_redirects=False
            ) as answer,
        ):
            return _judge(call, answer, await read_answer(answer, _LARGEST))
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
        raise TemporaryError("Cloudflare's API cannot be reached") from None
    except (aiohttp.ClientError, TimeoutError) as error:  # its text may show the whole address
        raise _unclear(call, type(error).__name__) from None


def _judge(call: Call, answer: aiohttp.ClientResponse, body: bytes) -> Reply:
    """Read Cloudflare's envelope: `success`, `errors`, `result`, `result_info`."""
    if answer.status == _SLOWER:
        raise TemporaryError("Cloudflare's API asks to slow down (429)", _pause(answer))
    if answer.status >= _SERVER_ERROR:
        raise _unclear(call, f"HTTP {answer.status}")
    try:
        envelope = orjson.loads(body) if len(body) <= _LARGEST else None
    except orjson.JSONDecodeError:
        envelope = None
    fine = _OK <= answer.status < _REDIRECT
    if not isinstance(envelope, dict) or not isinstance(envelope.get("success"), bool):
        why = f"HTTP {answer.status} without Cloudflare's JSON: is CLOUDFLARE_BASE_URL right?"
        raise _unclear(call, why) if fine else Refused(f"{call.path} was answered with {why}", answer.status)
    if not fine or not envelope["success"]:
        raise Refused(_complaint(call, answer.status, envelope.get("errors")), answer.status)
    about = envelope.get("result_info")
    total = about.get("total_count") if isinstance(about, dict) else None
    return Reply(envelope.get("result"), total if isinstance(total, int) else 0)


def _complaint(call: Call, status: int, errors: Any) -> str:
    """Say why, in Cloudflare's words; of what the token may not do, what it needs."""
    rows = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    said = ", ".join(f"{row.get('code', '')} {row.get('message', '')}".strip() for row in rows[:3])
    said = shown(said.replace(_token(), "***")) or "no reason given"
    cure = f": the token needs {call.permission}" if status in _NOT_ALLOWED else ""
    return f"Cloudflare refused {call.method} {call.path} ({status}): {said}{cure}"


def _unclear(call: Call, why: str) -> StopgapError:
    """Return what no clear answer is: of a question a failure, of a change an unknown outcome."""
    text = f"Cloudflare did not answer {call.method} {call.path} clearly: {why}"
    return TemporaryError(text) if call.asks else Unanswered(text)


def _pause(answer: aiohttp.ClientResponse) -> timedelta | None:
    """Read Retry-After, which Cloudflare gives in seconds."""
    text = answer.headers.get("Retry-After", "")
    return timedelta(seconds=min(int(text), _LONGEST_PAUSE)) if re.fullmatch(r"[0-9]{1,6}", text) else None


def _token() -> str:
    token = os.environ.get("CLOUDFLARE_API_TOKEN", "")
    if file := os.environ.get("CLOUDFLARE_API_TOKEN_FILE"):
        try:
            with Path(file).open(encoding="ascii") as opened:
                token = opened.read(1000).strip()
        except (OSError, UnicodeDecodeError):
            raise PermanentError("the file of CLOUDFLARE_API_TOKEN_FILE cannot be read") from None
    if not token:
        raise PermanentError(f"there is no token for Cloudflare: {_SETUP}")
    if not _TOKEN.fullmatch(token):
        raise PermanentError("the token for Cloudflare is not one word: copy it again, without blanks")
    return token


def _base() -> str:
    """Return where the API is; the token goes there, so nobody may listen on the way."""
    base = os.environ.get("CLOUDFLARE_BASE_URL") or _BASE
    try:
        url = urlsplit(base)
        fine = url.scheme == "https" or (url.scheme == "http" and _is_here(url.hostname or ""))
        fine = fine and bool(url.hostname) and not (url.username or url.query or url.fragment)
    except ValueError:
        fine = False
    if not fine:
        raise PermanentError("CLOUDFLARE_BASE_URL is no address that a token may be sent to: write https://…")
    return base.rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

"""Docker's API, the Engine API: one request with a connection of its own, and what its answer means.

Which version is spoken, the engine says (`API-Version` of `/_ping`): engines drop old ones. What it refuses is a PermanentError
with its `message`; a change that got 5xx or no answer is an unknown outcome.
"""

import asyncio
import errno
import os
import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from stopgap.backends.answer import read_answer
from stopgap.backends.whole import Unanswered, finish
from stopgap.endpoint import shown
from stopgap.errors import PermanentError, StopgapError, TemporaryError

_DEFAULT = "unix:///var/run/docker.sock"
_VERSION = re.compile(r"1\.[0-9]{1,3}")
_LARGEST = 4 * 1024 * 1024  # bytes of an answer
_REDIRECT, _UNCHANGED, _SERVER_ERROR = 300, 304, 500
_CURE = "write unix:///var/run/docker.sock or tcp://host:port"


@dataclass(frozen=True, slots=True)
class _Engine:
    """Where the engine is: a socket's path (else ""), the URL, and whether that wants TLS."""

    socket: str
    url: str
    tls: bool

    def connector(self) -> aiohttp.BaseConnector:
        if self.socket:
            return aiohttp.UnixConnector(self.socket)
        return aiohttp.TCPConnector(ssl=_trusted() if self.tls else True)


async def ask(path: str, what: str, within: timedelta) -> dict[str, Any]:
    """Return the object that a GET answers with. Raises ActionError."""
    try:
        return await _exchange("GET", path, what, within)
    except Unanswered as error:
        raise TemporaryError(str(error)) from None


async def tell(path: str, what: str, within: timedelta) -> None:
    """Make a change. Raises ActionError when nothing was changed, and Unanswered when that is not known."""
    await finish(_exchange("POST", path, what, within))


async def _exchange(method: str, path: str, what: str, within: timedelta) -> dict[str, Any]:
    engine, sent = _engine(), False
    limits = aiohttp.ClientTimeout(total=within.total_seconds(), connect=5)
    try:
        async with (
            asyncio.timeout(within.total_seconds()),
            aiohttp.ClientSession(
                connector=engine.connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=limits,
                trust_env=False,
            ) as session,
        ):
            version = await _version(session, engine)
            sent = method != "GET"
            async with session.request(
                method, f"{engine.url}/v{version}{path}", allow_redirects=False
            ) as answer:
                return _judge(what, answer.status, await read_answer(answer, _LARGEST))
    except aiohttp.ClientConnectorError as error:  # also a certificate that is not believed
        raise _unreached(error) from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unclear(what, type(error).__name__, sent=sent) from None


async def _version(session: aiohttp.ClientSession, engine: _Engine) -> str:
    async with session.get(f"{engine.url}/_ping", allow_redirects=False) as answer:
        version = answer.headers.get("API-Version", "")
        if not _VERSION.fullmatch(version):
            raise PermanentError(
                f"what DOCKER_HOST names answered /_ping with HTTP {answer.status}: is it a Docker engine?"
            )
        return version


def _judge(what: str, status: int, body: bytes) -> dict[str, Any]:
    """Read an answer: an object, nothing (204), or that it was so already (304); else `{"message": …}`."""
    try:
        found = orjson.loads(body) if body and len(body) <= _LARGEST else {}
    except orjson.JSONDecodeError:
        found = {}
    found = found if isinstance(found, dict) else {}
    if status < _REDIRECT or status == _UNCHANGED:
        return found
    said = shown(str(found.get("message") or f"HTTP {status}"))
    if status >= _SERVER_ERROR:
        raise _unclear(what, said, sent=True)
    raise PermanentError(f"the Docker engine refused to {what} ({status}): {said}")


def _unclear(what: str, why: str, *, sent: bool) -> StopgapError:
    text = f"the Docker engine did not answer clearly when told to {what}: {why}"
    return Unanswered(text) if sent else TemporaryError(text)


def _unreached(error: aiohttp.ClientConnectorError) -> StopgapError:
    """Say why there is no connection; who may not use the socket will not tomorrow either."""
    said = error.strerror or type(error.os_error).__name__
    if error.errno in (errno.EACCES, errno.EPERM):
        cure = "put Stopgap's account into the group that owns the socket"
        return PermanentError(f"the Docker engine cannot be reached: {said}: {cure}")
    return TemporaryError(
        f"the Docker engine cannot be reached: {said}: is it running, is DOCKER_HOST right?"
    )


def _engine() -> _Engine:
    """Read DOCKER_HOST. Raises PermanentError for what is not spoken here."""
    text = os.environ.get("DOCKER_HOST") or _DEFAULT
    try:
        url = urlsplit(text)
        if url.scheme == "unix" and url.path.startswith("/") and not url.netloc:
            return _Engine(url.path, "http://docker", tls=False)
        if url.scheme in ("tcp", "http", "https") and url.hostname and not (url.username or url.query):
            tls = url.scheme == "https" or bool(os.environ.get("DOCKER_TLS_VERIFY"))
            return _Engine("", f"{'https' if tls else 'http'}://{url.netloc}{url.path.rstrip('/')}", tls)
    except ValueError:
        pass
    raise PermanentError(f"DOCKER_HOST is no address that is spoken here: {_CURE}")


def _trusted() -> ssl.SSLContext:
    """Return what checks the engine's certificate and shows ours. Raises PermanentError."""
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    try:
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or type(error).__name__
        raise PermanentError(
            f"ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH cannot be used: {why}"
        ) from None
    return context

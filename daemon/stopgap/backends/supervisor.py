"""Supervisor: a program of a supervisord, by its XML-RPC interface on a Unix socket or a TCP port.

User and password, where the server wants them, come from STOPGAP_SUPERVISOR_USER and STOPGAP_SUPERVISOR_PASSWORD[_FILE].
"""

import os
import re
import xmlrpc.client as xmlrpc
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import aiohttp

from stopgap.backends.answer import read_answer
from stopgap.backends.capability import Running, Services
from stopgap.backends.locator import Locator
from stopgap.backends.whole import finish
from stopgap.errors import PermanentError, TemporaryError

_PROGRAM = re.compile(r"[^\s/*\[\]]{1,200}")
_UP = {"RUNNING", "STARTING"}
_NOT_RUNNING, _ALREADY_STARTED = 70, 60  # supervisor.xmlrpc.Faults
_LARGEST = 1024 * 1024


class Supervisor(Services):
    """`supervisor:///run/supervisor.sock#program`, or `supervisor://host:port#program`; a program of a group is `group:program`."""

    schemes = ("supervisor",)
    example = "supervisor:///run/supervisor.sock#my-app"

    def __init__(self, locator: Locator) -> None:
        locator.only("path" if locator.path else "authority", "fragment")
        if not _PROGRAM.fullmatch(locator.fragment):
            raise ValueError(f"{locator.fragment!r} is not the name of a supervisor program")
        self._socket, self._address, self._program = locator.path, locator.authority, locator.fragment

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"supervisor:{self._socket or self._address}#{self._program}"

    async def observe(self, within: timedelta) -> Running:
        """Ask for the process: its state, its pid and the second it was started in."""
        seen = await self._call("getProcessInfo", self._program, within=within, asks=True)
        up = seen["statename"] in _UP
        return Running(up, {self._program: f"{seen['pid']}@{seen['start']}"} if up else {})

    async def restart(self, within: timedelta) -> None:
        """Stop and start. A cancellation in between lets the start finish: nothing is left stopped."""
        await finish(self._restart(within))

    async def _restart(self, within: timedelta) -> None:
        await self.stop(within)
        await self.start(within)

    async def start(self, within: timedelta) -> None:
        """Start the program and wait until supervisord calls it running."""
        await self._call("startProcess", self._program, True, within=within, fine=_ALREADY_STARTED)

    async def stop(self, within: timedelta) -> None:
        """Stop the program and wait for its end."""
        await self._call("stopProcess", self._program, True, within=within, fine=_NOT_RUNNING)

    async def _call(
        self, method: str, *args: str | bool, within: timedelta, fine: int = 0, asks: bool = False
    ) -> Any:
        """Call a method. Never reached the server: TemporaryError; no answer: unknown, unless it only asks."""
        body = xmlrpc.dumps(args, f"supervisor.{method}").encode()
        try:
            answer = await self._post(body, within)
            return xmlrpc.loads(answer)[0][0]
        except xmlrpc.Fault as fault:
            if fault.faultCode == fine:
                return None
            raise PermanentError(
                f"supervisor answered {method} of {self._program} with {fault.faultString[:200]}"
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise TemporaryError(
                f"supervisor at {self._socket or self._address} cannot be reached: {error.strerror}"
            ) from None
        except (aiohttp.ClientError, TimeoutError, ExpatError, xmlrpc.Error) as error:
            if asks:
                raise TemporaryError(f"supervisor did not answer {method}: {type(error).__name__}") from None
            raise

    async def _post(self, body: bytes, within: timedelta) -> bytes:
        connector = aiohttp.UnixConnector(self._socket) if self._socket else aiohttp.TCPConnector()
        limits = aiohttp.ClientTimeout(total=within.total_seconds(), connect=5)
        host = "localhost" if self._socket else self._address
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limits, headers=_headers()) as session,
            session.post(f"http://{host}/RPC2", data=body, allow_redirects=False) as answer,
        ):
            if answer.status != 200:  # noqa: PLR2004 - HTTP's word for fine
                raise PermanentError(f"supervisor answered with HTTP {answer.status}: is the login right?")
            return await read_answer(answer, _LARGEST)


def _headers() -> dict[str, str]:
    """Return the headers of a call, with the login of our own environment."""
    headers = {"Content-Type": "text/xml"}
    user = os.environ.get("STOPGAP_SUPERVISOR_USER")
    if not user:
        return headers
    password = os.environ.get("STOPGAP_SUPERVISOR_PASSWORD", "")
    if file := os.environ.get("STOPGAP_SUPERVISOR_PASSWORD_FILE"):
        try:
            password = Path(file).read_text().strip()
        except OSError:
            raise PermanentError("the file of STOPGAP_SUPERVISOR_PASSWORD_FILE cannot be read") from None
    return headers | {"Authorization": aiohttp.encode_basic_auth(user, password)}

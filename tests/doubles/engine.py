"""Double of the Docker Engine: containers behind a Unix socket, strict about versions, verbs, paths and parameters.

Written from docs.docker.com/reference/api/engine (v1.43 to v1.47). `broken` answers that status, `silent` acts and then hangs up,
`slow` waits so many seconds first, `shut` answers as a proxy before the engine that lets nothing be changed.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.doubles.threaded import answering

OLDEST, NEWEST = 44, 47
VERBS = {"json": "GET", "start": "POST", "stop": "POST", "restart": "POST"}
KNOWN = {"json": {"size"}, "start": {"detachKeys"}, "stop": {"signal", "t"}, "restart": {"signal", "t"}}


class Fault(Exception):  # noqa: N818 - named for what it answers
    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


class Engine:
    def __init__(self) -> None:
        self.containers: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.broken, self.silent, self.slow, self.shut = 0, False, 0.0, False

    def add(self, name: str, ident: str = "") -> dict[str, Any]:
        container = {"Id": ident or uuid.uuid4().hex * 2, "Name": f"/{name}", "State": {}, "Config": {}}
        self.containers.append(container)
        _start(container)
        return container

    def named(self, name: str) -> dict[str, Any]:
        return next(one for one in self.containers if one["Name"] == f"/{name}")

    def changes(self) -> list[str]:
        return [path for method, path in self.calls if method != "GET"]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        await asyncio.sleep(self.slow)
        if request.path == "/_ping" and request.method in {"GET", "HEAD"}:
            return web.Response(
                text="OK", headers={"API-Version": f"1.{NEWEST}", "Docker-Experimental": "false"}
            )
        if self.shut and request.method != "GET":
            return web.Response(status=403, text="<html>403 Forbidden</html>", content_type="text/html")
        try:
            status, body = self._act(request)
        except Fault as fault:
            return web.json_response({"message": fault.message}, status=fault.status)
        if self.silent and request.method != "GET":
            request.transport.close()
        return web.json_response(body, status=status) if body else web.Response(status=status)

    def _act(self, request: web.Request) -> tuple[int, Any]:
        found = re.fullmatch(r"/v1\.([0-9]+)(/.*)", request.path)
        if not found or int(found[1]) > NEWEST:
            raise Fault(
                400,
                f"client version {request.path[:8]} is too new. Maximum supported API version is 1.{NEWEST}",
            )
        if int(found[1]) < OLDEST:
            raise Fault(
                400, f"client version 1.{found[1]} is too old. Minimum supported API version is 1.{OLDEST}"
            )
        route = re.fullmatch(r"/containers/([A-Za-z0-9_.-]+)/([a-z]+)", found[2])
        if not route or VERBS.get(route[2]) != request.method:
            raise Fault(404, "page not found")
        if unknown := set(request.query) - KNOWN[route[2]]:
            raise Fault(400, f"unknown parameter {unknown}")
        if request.can_read_body:
            raise Fault(400, "starting container with non-empty request body was deprecated")
        if not re.fullmatch(r"-?[0-9]+", request.query.get("t", "0")):
            raise Fault(400, "strconv.Atoi: invalid syntax")
        container = self._find(route[1])
        if self.broken:
            raise Fault(self.broken, "cannot do this: something went wrong")
        return getattr(self, f"_{route[2]}")(container)

    def _find(self, word: str) -> dict[str, Any]:
        """Find by name, by id, or by the beginning of an id, as the engine does."""
        for one in self.containers:
            if word in (one["Id"], one["Name"][1:]):
                return one
        found = [one for one in self.containers if one["Id"].startswith(word)]
        if len(found) > 1:
            raise Fault(400, f"multiple IDs found with provided prefix: {word}")
        if not found:
            raise Fault(404, f"No such container: {word}")
        return found[0]

    def _json(self, container: dict[str, Any]) -> tuple[int, Any]:
        return 200, container

    def _start(self, container: dict[str, Any]) -> tuple[int, Any]:
        if container["State"]["Paused"]:
            raise Fault(409, "cannot start a paused container, try unpause instead")
        if container["State"]["Running"]:
            return 304, None
        _start(container)
        return 204, None

    def _stop(self, container: dict[str, Any]) -> tuple[int, Any]:
        if not container["State"]["Running"]:
            return 304, None
        container["State"] |= {"Status": "exited", "Running": False, "Paused": False, "Pid": 0}
        return 204, None

    def _restart(self, container: dict[str, Any]) -> tuple[int, Any]:
        _start(container)
        return 204, None


def _start(container: dict[str, Any]) -> None:
    container["State"] = {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "Pid": time.monotonic_ns() % 30000 + 2,
        "StartedAt": f"2026-01-01T00:00:00.{time.monotonic_ns() % 10**9:09}Z",
    }


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """Serve below a folder until the block ends, with the container `worker`, and one whose id begins with `cafe`."""
    double = Engine()
    double.add("worker")
    double.add("other", "cafe" * 16)
    with answering(double.answer, folder / "docker.sock"):
        yield double

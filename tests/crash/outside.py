"""Outside: the world that the daemon acts upon, and its own log of everything that was done to it.

It keeps files of settings, counters and levels (by commands), and limits (by HTTP). Each change is appended to `effects.log` and is
on disk before it is answered; beside it stands what the journal held at that moment, read from outside. It can kill the daemon
right before or right after a change, which the daemon then never hears of.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from tests.crash.book import Book
from tests.crash.effect import MISSING, Effect, undo_place
from tests.crash.knife import Knife

FIRST_LEVEL, FIRST_LIMIT = "10", 60
ENV = "# kept\nMODE=normal\n\nOTHER='x'\n"


class Outside:
    """Belongs to one event loop. `strike` kills whoever acts."""

    def __init__(self, folder: Path, book: Book) -> None:
        self.folder = folder
        self.book = book
        self.effects: list[Effect] = []
        self.kicks: dict[str, int] = {}
        self.levels: dict[str, str] = {}
        self.limits: dict[str, Any] = {}
        self.strike: Callable[[], None] = bool
        self.life = 0
        self._knife = Knife()
        self._left = 0
        self._files: dict[str, tuple[str, str, bool, Any]] = {}  # under change: key, content, intent and undo
        self._log = folder / "effects.log"

    async def __aenter__(self) -> Self:
        self.socket = self.folder / "outside"
        self._server = await asyncio.start_unix_server(self._command, self.socket)
        app = web.Application()
        app.router.add_get("/fine/{name}", self._fine)
        app.router.add_get("/bad/{name}", self._bad)
        app.router.add_get("/limit/{name}", self._limit)
        app.router.add_post("/limit/{name}", self._set_limit)
        app.router.add_put("/limit/{name}", self._set_limit)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._runner.cleanup()
        await asyncio.sleep(0.05)  # closed connections say goodbye in the next turns of the loop

    def born(self, life: int, knife: Knife) -> None:
        """Hear of a new daemon, and after which effect it dies."""
        self.life, self._knife = life, knife
        self._left = knife.n if knife.point.startswith("effect.") else 0

    def file(self, name: str) -> Path:
        """Return a file of settings, made when there is none."""
        path = self.folder / "files" / f"{name}.env"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(ENV)
        return path

    def changed(self) -> list[str]:
        """Say what is not as at first."""
        files = {path.name: path.read_text() for path in (self.folder / "files").iterdir()}
        found = [f"{name} is {text!r}" for name, text in sorted(files.items()) if text != ENV]
        found += [f"level {name} is {level}" for name, level in self.levels.items() if level != FIRST_LEVEL]
        return found + [
            f"limit {name} is {limit}" for name, limit in self.limits.items() if limit != _limit()
        ]

    # --- writing down ---

    def _do(self, key: str, resource: str, before: Any, after: Any, change: Callable[[], None]) -> bool:
        """Do one change; False when the daemon is killed before it."""
        if self._is_time("effect.before"):
            return False
        intended, undo = self.evidence(key)
        change()
        self._record(key, resource, (before, after), intended, undo)
        self._is_time("effect.after")
        return True

    def evidence(self, key: str) -> tuple[bool, Any]:
        """Return whether the intent of a key is on disk, and its undo."""
        incident, act = undo_place(key)
        undo = self.book.undo(incident, act)
        return self.book.intends(incident, key), MISSING if undo is None else json.loads(undo)

    def _record(self, key: str, resource: str, values: tuple[Any, Any], intended: bool, undo: Any) -> None:  # noqa: FBT001
        now = time.time_ns() // 1000
        effect = Effect(len(self.effects) + 1, now, self.life, key, resource, *values, intended, undo)
        self.effects.append(effect)
        with self._log.open("a") as log:
            log.write(json.dumps(effect.written()) + "\n")
            log.flush()
            os.fsync(log.fileno())

    def _is_time(self, point: str) -> bool:
        if self._knife.point != point or self._left <= 0:
            return False
        self._left -= 1
        if self._left == 0:
            self.strike()
        return self._left == 0

    # --- files, which the daemon changes itself ---

    def _begin(self, path: str, key: str) -> None:
        self._files[path] = (key, Path(path).read_text(), *self.evidence(key))

    def _end(self, path: str) -> None:
        if path not in self._files:  # its last words came after its death was noted
            return
        key, text, intended, undo = self._files.pop(path)
        before, after = _settings(text), _settings(Path(path).read_text())
        if before != after:
            self._record(key, f"file:{Path(path).name}", (before, after), intended, _values(undo))

    def settle(self) -> None:
        """See what a dead daemon changed whose act never ended."""
        for path in list(self._files):
            self._end(path)

    # --- commands ---

    async def _command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ValueError):  # whoever asked was killed
            asked = json.loads(await reader.readline())
            said = self._obey(asked["do"], asked["of"], asked["key"], asked.get("value", ""))
            if said is not None:
                writer.write(json.dumps({"say": said}).encode() + b"\n")
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def _obey(self, verb: str, name: str, key: str, value: str) -> str | None:
        kicks, level = self.kicks.get(name, 0), self.levels.get(name, FIRST_LEVEL)
        if verb == "begin":
            self._begin(name.removeprefix("env://"), key)
        elif verb == "end":
            self._end(name.removeprefix("env://"))
        elif verb == "count":
            return str(kicks)
        elif verb == "get":
            return level
        elif verb == "kick":
            done = self._do(
                key, f"kick:{name}", str(kicks), str(kicks + 1), lambda: self.kicks.update({name: kicks + 1})
            )
            return "kicked" if done else None
        else:  # set, restore
            done = self._do(key, f"level:{name}", level, value, lambda: self.levels.update({name: value}))
            return "set" if done else None
        return ""

    # --- HTTP ---

    async def _fine(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _bad(self, _: web.Request) -> web.Response:
        return web.Response(status=500, text="bad")

    async def _limit(self, request: web.Request) -> web.Response:
        return web.json_response(self.limits.get(request.match_info["name"], _limit()))

    async def _set_limit(self, request: web.Request) -> web.Response:
        name, key = request.match_info["name"], request.headers.get("Idempotency-Key", "")
        before, after = self.limits.get(name, _limit()), await request.json()
        done = self._do(key, f"limit:{name}", before, after, lambda: self.limits.update({name: after}))
        if not done and request.transport is not None:
            request.transport.abort()
        return web.json_response(after)


def _limit() -> dict[str, int]:
    return {"per_minute": FIRST_LIMIT}


def _settings(text: str) -> dict[str, str]:
    lines = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name: value.strip("'") for name, value in lines}


def _values(undo: Any) -> Any:
    if not isinstance(undo, dict):
        return undo
    return {name: entry["value"] for name, entry in undo.items()}

"""Launcher: the real daemon with points at which it can be killed, and with a witness of the files that it writes.

The points are put around its pieces from without; the daemon's code knows nothing of them. They sit where a promise could break:
around COMMIT, around acts and reverts, within the writing of a file, in a start, a reload and a drain.
"""

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine as Database, event
from tests.crash.knife import Blade, Knife

import stopgap.app
import stopgap.backends.file
import stopgap.service
from stopgap.journal import CONTROL, Line
from stopgap.settings import Settings
from stopgap.store import Store
from stopgap.store.delivery import Delivery, Parcel
from stopgap.store.statement import Statement
from stopgap.webhook import Webhook

WRITER, READER = "stopgap journal", "stopgap reader"  # names of threads
WITNESSED = ("flag",)
WITNESS = "CRASH_WITNESS"  # where whoever watches the files listens
PASSED = "CRASH_PASSED"  # a file for who wants to know which points were passed, in a life without a kill


def launch(knife: dict[str, Any] | None, started: Callable[[], None]) -> int:
    """Run a daemon until a signal or the knife; returns its exit code."""
    blade = Blade(Knife(**(knife or {})))
    Mortal.blade, Mortal.started = blade, staticmethod(started)
    Mortal.opening = False
    stopgap.app.App = Mortal  # type: ignore[misc]
    stopgap.app.Webhook = _webhook(blade)  # type: ignore[misc,assignment]
    _watch_the_store(blade)
    _watch_the_files(blade)
    code = stopgap.service.run(Settings())
    if PASSED in os.environ:
        Path(os.environ[PASSED]).write_text(json.dumps(blade.passed))
    return code


class Mortal(stopgap.app.App):
    """A daemon that passes points."""

    blade = Blade(Knife())
    started: Callable[[], None]
    opening = False  # until its store is open

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._loads = 0
        for action in self.catalog.actions.values():
            _sharpen(action, self.blade)

    async def start(self) -> None:
        Mortal.opening = True
        await super().start()
        self.started()

    def _observe(self) -> None:
        Mortal.opening = False
        self.blade.at("start.opened")
        self.store.subscribe(self._line)
        super()._observe()
        engine = self.engine
        _around(engine, "_replay", after=lambda: self.blade.at("start.replayed"))
        _around(engine, "start", after=lambda: self.blade.at("start.decided"))
        _around(engine, "use", after=lambda: self.blade.at("reload.used"))
        _around(engine, "_meet", after=lambda: self._loads > 1 and self.blade.at("reload.remembered"))
        _around(engine, "stop", after=lambda: self.blade.at("drain.acts"))

    def _line(self, line: Line) -> None:
        if line.incident != CONTROL:
            self.blade.at("line")

    async def _listen(self) -> None:
        await super()._listen()
        self.blade.at("start.listening")

    async def _load(self) -> Any:
        loaded = await super()._load()
        self._loads += 1
        if self._loads > 1:
            self.blade.at("reload.read")
        return loaded

    async def _note(self, *arguments: Any, **more: Any) -> None:
        await super()._note(*arguments, **more)
        self.blade.at("reload.noted")

    async def stop(self, **more: Any) -> None:
        self.blade.at("drain.begun")
        await super().stop(**more)


def _around(
    owner: Any, name: str, before: Callable[[], object] = bool, after: Callable[[], object] = bool
) -> None:
    """Call something before and after a coroutine method of an object."""
    inner = getattr(owner, name)

    async def outer(*arguments: Any, **more: Any) -> Any:
        before()
        answer = await inner(*arguments, **more)
        after()
        return answer

    setattr(owner, name, outer)


def _sharpen(action: Any, blade: Blade) -> None:
    """Put points around what an action does, and tell the witness."""
    run, revert, name = action.run, action.revert, action.name

    async def run_it(params: Any, before: Any, moment: Any) -> Any:
        blade.at("act.before")
        with _Witnessed(name, params, moment):
            receipt = await run(params, before, moment)
        blade.at("act.after")
        return receipt

    async def revert_it(params: Any, before: Any, receipt: Any, moment: Any) -> Any:
        blade.at("revert.before")
        with _Witnessed(name, params, moment):
            answer = await revert(params, before, receipt, moment)
        blade.at("revert.after")
        return answer

    action.run, action.revert = run_it, revert_it
    _around(action, "observe", after=lambda: blade.at("observe"))


class _Witnessed:
    """Tells who watches the files when an act on one begins and ends."""

    def __init__(self, action: str, params: Any, moment: Any) -> None:
        self._told = action in WITNESSED and WITNESS in os.environ
        if self._told:
            self._said = {"of": str(params.at), "key": moment.key}

    def __enter__(self) -> None:
        if self._told:
            _ask({"do": "begin", **self._said})

    def __exit__(self, *_: object) -> None:
        if self._told:
            _ask({"do": "end", **self._said})


def _ask(question: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(os.environ[WITNESS])
        connection.sendall(json.dumps(question).encode() + b"\n")
        connection.recv(4096)


def _webhook(blade: Blade) -> type[Webhook]:
    class Slow(Webhook):
        async def post(self, request: Any) -> Any:
            answer = await super().post(request)
            blade.at("ack")
            return answer

    return Slow


def _watch_the_store(blade: Blade) -> None:
    send = Delivery.send

    def late(self: Delivery, parcel: Parcel) -> None:
        if parcel.lines:
            blade.at("commit.after")
        send(self, parcel)

    Delivery.send = late  # type: ignore[method-assign]
    _around(Store, "close", lambda: blade.at("drain.store"), lambda: blade.at("drain.closed"))

    @event.listens_for(Database, "commit")
    def commit(_: Any) -> None:
        if threading.current_thread().name == WRITER:
            blade.at("commit.before")
            blade.at("commit.during")

    @event.listens_for(Database, "before_cursor_execute")
    def execute(*_: Any) -> None:
        if Mortal.opening and not threading.current_thread().name.startswith((WRITER, READER)):
            blade.at("start.opening")

    for name in ("do", "each"):
        setattr(Statement, name, _changing(getattr(Statement, name), blade))


def _changing(change: Callable[..., Any], blade: Blade) -> Callable[..., Any]:
    def changed(*arguments: Any) -> Any:
        blade.at("batch.inside")
        return change(*arguments)

    return changed


def _watch_the_files(blade: Blade) -> None:
    file: Any = stopgap.backends.file
    replace, unchanged = file._replace, file._unchanged

    def replaced(*arguments: Any) -> None:
        blade.at("write.before")
        replace(*arguments)
        blade.at("write.after")

    def checked(*arguments: Any) -> None:
        unchanged(*arguments)
        blade.at("write.inside")

    file._replace, file._unchanged = replaced, checked

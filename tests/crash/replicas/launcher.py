"""Launcher: the real daemon, and a witness who writes into the log of effects which settings it changes, and for which key.

Nothing else differs from `stopgap serve`. A file is changed by the daemon itself, so that nobody else could tell by whom and when.
"""

import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tests.crash.replicas.deed import write

import stopgap.backends.file
from stopgap import service
from stopgap.actions.flag import Flag
from stopgap.settings import Settings

LOG = "REPLICAS_LOG"
_key: ContextVar[str] = ContextVar("key", default="")


def launch(_knife: object, _started: Callable[[], None]) -> int:
    """Run a daemon until a signal; returns its exit code."""
    _watch_the_acts()
    _watch_the_files()
    return service.run(Settings())


def _watch_the_acts() -> None:
    run, revert = Flag.run, Flag.revert

    async def run_it(self: Flag, params: Any, before: Any, moment: Any) -> Any:
        _key.set(moment.key)
        return await run(self, params, before, moment)

    async def revert_it(self: Flag, params: Any, before: Any, receipt: Any, moment: Any) -> Any:
        _key.set(moment.key)
        return await revert(self, params, before, receipt, moment)

    Flag.run, Flag.revert = run_it, revert_it  # type: ignore[method-assign]


def _watch_the_files() -> None:
    """Write down what is about to be put in a file's place, and that it was."""
    file: Any = stopgap.backends.file
    replace = file._replace
    log, who = os.environ[LOG], Path(os.environ["HOME"]).name

    def replaced(path: Path, body: bytes, *rest: Any) -> None:
        said = {
            "key": _key.get(),
            "who": who,
            "resource": f"file:{path.name}",
            "before": path.read_text(),
            "after": body.decode(),
            "began": 0,
        }
        write(log, **said, phase="about")
        replace(path, body, *rest)
        write(log, **said, phase="done")

    file._replace = replaced

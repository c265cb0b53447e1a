"""Launcher: the real daemon, and a witness who writes into the log of effects which settings it changes, and for which key.

Nothing else differs from `stopgap serve`. A file is changed by the daemon itself, so that nobody else could tell by whom and when.
While there is a snare, whoever is about to change a file or to start a command is stopped right there, once.
"""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tests.crash.replicas.deed import CHANGES, write

import stopgap.backends.file
import stopgap.process
from stopgap import service
from stopgap.actions.flag import Flag
from stopgap.settings import Settings

LOG = "REPLICAS_LOG"
SNARE = "snare"  # a file beside the log; whoever is caught gives it his own name
_key: ContextVar[str] = ContextVar("key", default="")


def launch(_knife: object, _started: Callable[[], None]) -> int:
    """Run a daemon until a signal; returns its exit code."""
    _watch_the_acts()
    _watch_the_files()
    _watch_the_commands()
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
        _step_into_the_snare()
        replace(path, body, *rest)
        write(log, **said, phase="done")

    file._replace = replaced


def _watch_the_commands() -> None:
    run = stopgap.process.run

    async def run_it(argv: Sequence[str], **more: Any) -> Any:
        if not CHANGES.isdisjoint(argv):
            _step_into_the_snare()
        return await run(argv, **more)

    stopgap.process.run = run_it


def _step_into_the_snare() -> None:
    """Stop here, if there is one: SIGSTOP is on its way before `kill` returns."""
    snare = Path(os.environ[LOG]).with_name(SNARE)
    with suppress(FileNotFoundError):
        snare.rename(f"{snare}.{Path(os.environ['HOME']).name}")
        os.kill(os.getpid(), signal.SIGSTOP)

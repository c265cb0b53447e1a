"""Service: one process, from its start to a signal. Who does not lead any more begins anew within it, as after a crash."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import structlog

from stopgap import app as wiring, log as logs
from stopgap.errors import ConfigError, Problem, StopgapError, StoreError
from stopgap.mishap import Mishaps
from stopgap.seldom import Seldom
from stopgap.settings import Settings
from stopgap.store import Unreachable

log = structlog.get_logger(__name__)
_seldom = Seldom(timedelta(minutes=1))

STORE_AGAIN = 1.0  # seconds
RULES_AGAIN = 5.0  # seconds: who went on with rules that are no file any more waits for the next ones


async def serve(settings: Settings, *, anew: bool = False, after: float = 0.0) -> bool:
    """Run until SIGTERM or SIGINT; SIGHUP reloads. True when another daemon leads now, or may: begin `anew`, as after a crash.

    `after` is for how many seconds nothing is begun.
    """
    wiring.collect_seldom()
    app = wiring.App(settings, anew=anew)
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(Mishaps().hear)
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await app.reload()
        except StoreError as error:
            log.error("reload_failed", why=str(error))  # noqa: TRY400 - expected, no trace

    def hang_up() -> None:
        task = asyncio.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        if after and not await _first(asyncio.sleep(after), over.wait()):
            return False
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        if await _first(app.start(), over.wait()):
            wiring.settle_memory()
            await _first(app.store.deposed.wait(), over.wait())
        log.info("stopping")
        return not over.is_set()
    finally:
        await app.stop(cut_off=not over.is_set())


async def _first(one: Coroutine[Any, Any, Any], other: Coroutine[Any, Any, Any]) -> bool:
    """Wait for whichever ends first, and cut the other one off; tells whether it was the first, and raises what that raised."""
    tasks = asyncio.create_task(one), asyncio.create_task(other)
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    ended = tasks[0].done()
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    if ended and isinstance(results[0], BaseException):
        raise results[0]
    return ended


def run(settings: Settings, refuse: Callable[[tuple[Problem, ...]], None] | None = None) -> int:
    """Serve; returns the exit code: 0 after a signal, 2 when a person must edit something first.

    `refuse` says what that is; without it the log does.
    """
    logs.configure(
        console={"json": False, "console": True}.get(settings.log_format),
        level=logging.getLevelNamesMapping()[settings.log_level.upper()],
    )
    deposed, pause = False, 0.0
    while True:
        signal.signal(signal.SIGHUP, lambda *_: None)  # nothing to reload yet; by default it ends us
        try:
            deposed, pause = asyncio.run(serve(settings, anew=deposed, after=pause)), 0.0
        except (StopgapError, OSError) as error:
            pause = _pause(error, refuse or _log, pause, deposed=deposed)
            if not pause:
                return 2
        else:
            if not deposed:
                return 0
            log.warning("deposed", then="begins anew, as after a crash")


def _pause(
    error: Exception, refuse: Callable[[tuple[Problem, ...]], None], before: float, *, deposed: bool
) -> float:
    """Say why it cannot start; return after how many seconds it is tried again, 0 where a person must edit something first."""
    if isinstance(error, ConfigError):
        if not deposed:
            refuse(error.problems)
            return 0.0
        if before != RULES_AGAIN:  # said once
            _log(error.problems)
        return RULES_AGAIN
    if isinstance(error, StoreError if deposed else Unreachable):
        unsaid = _seldom.ask(str(error))
        if unsaid is not None:
            log.warning("store_unavailable", why=str(error), unsaid=unsaid)
        return STORE_AGAIN
    log.error("cannot_start", why=str(error))
    return 0.0


def _log(problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        log.error("rule_error", **asdict(problem))

"""Mishap: what goes wrong inside the event loop where nobody waits for an answer; said seldom, because it may come in thousands.

A socket that cannot be accepted for want of descriptors is reported by asyncio a thousand times a second.
"""

import asyncio
from datetime import timedelta
from typing import Any

import structlog

from stopgap.seldom import Seldom

log = structlog.get_logger(__name__)

EVERY = timedelta(seconds=10)


class Mishaps:
    """Hears of them all (`loop.set_exception_handler(Mishaps().hear)`), and logs each kind once in a while."""

    def __init__(self) -> None:
        self._seldom = Seldom(EVERY)

    def hear(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log one, unless its like was just logged."""
        why, error = str(context.get("message", "")).partition("\n")[0], context.get("exception")
        unsaid = self._seldom.ask(f"{type(error).__name__} {why}")
        if unsaid is None:
            return
        if isinstance(error, OSError):  # said by its own words; where it was noticed tells nothing
            log.error("loop_fault", why=why, error=str(error), unsaid=unsaid)
        else:
            log.error("loop_fault", why=why, unsaid=unsaid, exc_info=error)

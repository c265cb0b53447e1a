"""Stopped: reads and brakes the directory of a daemon that is not running; a running one is not touched."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stopgap.cli.client import only
from stopgap.cli.screen import WRONG_USAGE, clean, fail

if TYPE_CHECKING:
    from stopgap.journal import Journal
    from stopgap.rule import Rule

T = TypeVar("T")
MOST = 1000  # closed incidents
SHARED = "STOPGAP_DATABASE_URL"
ASK = "Ask a running daemon: --url URL, without --data"


def _with(data: Path, work: "Callable[[Journal], Awaitable[T]]") -> T:
    from stopgap.clock import SystemClock
    from stopgap.errors import StoreError
    from stopgap.store import open_store
    from stopgap.store.folder import InUse

    claim(data)

    async def run() -> T:
        store = await open_store(data, SystemClock())
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except StoreError as error:
        fail(f"{error}. {ASK}" if isinstance(error, InUse) else str(error))


def refuse_shared(data: Path, instead: str) -> None:
    """End with 2 where the store is on PostgreSQL: a directory would show something else, or nothing."""
    if SHARED in os.environ or f"{SHARED}_FILE" in os.environ:
        told = f"{SHARED} is set: the store is on PostgreSQL, and {clean(data)} knows nothing of it"
        fail(f"{told}. {instead}, or unset it", WRONG_USAGE)


def claim(data: Path, instead: str = ASK) -> None:
    """End with 2 unless this is the directory that a daemon keeps its store in."""
    from stopgap.store import DATABASE

    refuse_shared(data, instead)
    if not (data / DATABASE).is_file():
        fail(f"{clean(data)} holds no {DATABASE}: it is not the directory of a daemon", WRONG_USAGE)


def listing(data: Path, phase: str | None, rule: str | None, target: str | None) -> list[dict[str, Any]]:
    """Return live incidents, then closed ones, as the API does."""

    async def work(journal: "Journal") -> list[dict[str, Any]]:
        from stopgap import view
        from stopgap.transitions import fold

        live = [fold(identifier, events) for identifier, events in (await journal.live()).items()]
        closed = await journal.closed(rule=rule, target=target, before=None, limit=MOST)
        rows = [view.brief(state) for state in reversed(live)] + [view.stored(row) for row in closed]
        wanted = {"phase": phase, "rule": rule, "target": target}
        return [row for row in rows if all(value in (None, row[key]) for key, value in wanted.items())]

    return _with(data, work)


def one(data: Path, wanted: str) -> dict[str, Any]:
    """Return one incident with its timeline."""
    identifier = only([row["id"] for row in listing(data, None, None, None)], wanted)

    async def work(journal: "Journal") -> dict[str, Any]:
        from stopgap import view
        from stopgap.transitions import fold

        timeline = await journal.timeline(identifier)
        if not timeline:
            fail(f"no incident {identifier}")
        return view.full(fold(identifier, timeline), timeline)

    return _with(data, work)


def report(data: Path, wanted: str) -> str:
    """Return the report of one incident, as the API does."""
    identifier = only([row["id"] for row in listing(data, None, None, None)], wanted)

    async def work(journal: "Journal") -> str:
        from stopgap.api.report import read_story
        from stopgap.config import build_rule
        from stopgap.report import report as write
        from stopgap.stock import bare_context, build_catalog
        from stopgap.transitions import fold

        timeline = await journal.timeline(identifier)
        if not timeline:
            fail(f"no incident {clean(identifier)}")
        live = {name: fold(name, events) for name, events in (await journal.live()).items()}
        state = fold(identifier, timeline)
        catalog = build_catalog(bare_context())

        def rebuild(document: Any) -> "Rule":
            return build_rule(document, catalog)

        return write(await read_story(journal, live.values(), state, timeline, rebuild, datetime.now(UTC)))

    return _with(data, work)


def brakes(data: Path) -> list[dict[str, Any]]:
    """Return the brakes that are on."""

    async def work(journal: "Journal") -> list[dict[str, Any]]:
        from stopgap import view

        return [view.brake(on) for on in await journal.brakes()]

    return _with(data, work)


def brake(data: Path, scope: str, name: str, why: str, for_: timedelta | None, *, by: str) -> None:
    """Put a brake on, for when the daemon starts again."""

    async def work(journal: "Journal") -> None:
        from stopgap.ledger import Brake, BrakeScope

        now = datetime.now(UTC)
        await journal.brake(Brake(BrakeScope(scope), name, by, why, now, now + for_ if for_ else None))

    _with(data, work)


def release(data: Path, scope: str, name: str, why: str, *, by: str) -> None:
    """Take a brake off."""

    async def work(journal: "Journal") -> bool:
        from stopgap.ledger import BrakeScope

        return await journal.release(BrakeScope(scope), name, by, datetime.now(UTC), why)

    if not _with(data, work):
        fail("no such brake is on")

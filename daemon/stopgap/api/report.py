"""Report over HTTP: one incident as Markdown, live or closed."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from aiohttp import web

from stopgap.api.desk import DESK
from stopgap.incident import Event, Incident, Phase
from stopgap.journal import CONTROL, Journal
from stopgap.orders import NoSuchIncident
from stopgap.report import Story, report
from stopgap.rule import Rule
from stopgap.transitions import fold

MOST = 1000  # closed incidents among which the one that followed is looked for
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def read_story(
    journal: Journal,
    live: Iterable[Incident],
    state: Incident,
    timeline: tuple[Event, ...],
    rebuild: Callable[[Any], Rule],
    now: datetime,
) -> Story:
    """Return what a report is about: the rule as it was then, and the incident that followed, if one did. Raises StoreError."""
    rule = _rule(await journal.document(state.version), rebuild)
    if state.phase is not Phase.CLOSED:
        return Story(state, timeline, rule, now)
    closed = await journal.closed(rule=state.rule, target=state.target, before=None, limit=MOST)
    opened = [(one.id, one.follows) for one in live] + [(row.id, row.follows) for row in closed]
    followers = [name for name, follows in opened if follows == state.id]
    return Story(state, timeline, rule, now, followers[0] if followers else "")


def _rule(document: Any, rebuild: Callable[[Any], Rule]) -> Rule | None:
    """Build a stored rule version again, None where that cannot be done any more."""
    try:
        return rebuild(document)
    except ValueError:
        return None


async def answer(request: web.Request) -> web.Response:
    """Answer the report of one incident."""
    desk, identifier = request.app[DESK], request.match_info["id"]
    engine = desk.engine
    timeline = () if identifier == CONTROL else await engine.journal.timeline(identifier)
    if not timeline:
        raise NoSuchIncident(f"no incident {identifier[:64]}")
    state = engine.incidents.get(identifier) or fold(identifier, timeline)
    live = tuple(engine.incidents.values())
    told = await read_story(engine.journal, live, state, timeline, desk.rebuild, desk.clock.now())
    text = await asyncio.to_thread(report, told)  # a long timeline takes its time
    return web.Response(text=text, content_type="text/markdown", charset="utf-8", headers=HEADERS)


ROUTES = (web.get("/api/v1/incidents/{id}/report", answer),)

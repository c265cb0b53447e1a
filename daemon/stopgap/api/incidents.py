"""Incidents: reading them, and giving orders to one."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from stopgap import view
from stopgap.api.desk import DESK, Desk
from stopgap.api.problem import Problem, reply
from stopgap.api.said import Ack, Adopt, Approve, Close, Deny, Done, Extend, Note, Retry, Revert, query, read
from stopgap.incident import Incident, Phase
from stopgap.journal import CONTROL
from stopgap.orders import NoSuchIncident
from stopgap.transitions import fold

MOST = 1000  # incidents in one answer


class Listing(BaseModel):
    """Query of the listing; `before` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phase: Phase | None = None
    rule: str | None = None
    target: str | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 100
    before: str | None = None

    def takes(self, state: Incident) -> bool:
        """Tell whether a live incident belongs into the listing."""
        return (
            self.phase in (None, state.phase)
            and self.rule in (None, state.rule)
            and self.target in (None, state.target)
        )


def _live(desk: Desk, asked: Listing) -> list[dict[str, Any]]:
    states = list(desk.engine.incidents.values())  # in the order in which they opened
    if asked.before is not None:
        ids = [state.id for state in states]
        states = states[: ids.index(asked.before)] if asked.before in ids else []
    return [view.brief(s, desk.engine.rule_of(s)) for s in reversed(states) if asked.takes(s)]


async def listing(request: web.Request) -> web.Response:
    """Answer live incidents, then closed ones, each newest first, without alerts and timelines."""
    desk, asked = request.app[DESK], query(request, Listing)
    rows = _live(desk, asked)
    if asked.phase in (None, Phase.CLOSED) and len(rows) <= asked.limit:
        before = None if asked.before in desk.engine.incidents else asked.before
        closed = await desk.engine.journal.closed(
            rule=asked.rule, target=asked.target, before=before, limit=asked.limit + 1 - len(rows)
        )
        rows += [view.stored(row) for row in closed]
    page = rows[: asked.limit]
    return reply({"incidents": page, "next": page[-1]["id"] if len(rows) > asked.limit else None})


async def _show(desk: Desk, identifier: str) -> dict[str, Any]:
    timeline = () if identifier == CONTROL else await desk.engine.journal.timeline(identifier)
    if not timeline:
        raise NoSuchIncident(f"no incident {identifier[:64]}")
    state = desk.engine.incidents.get(identifier) or fold(identifier, timeline)
    return view.full(state, timeline, desk.engine.rule_of(state))


async def one(request: web.Request) -> web.Response:
    """Answer one incident with its timeline, live or closed."""
    return reply(await _show(request.app[DESK], request.match_info["id"]))


async def _ack(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Ack)
    await desk.orders.acknowledge(identifier, said.by, said.why)


async def _approve(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Approve)
    await desk.orders.approve(identifier, said.by, said.why, said.request)


async def _deny(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Deny)
    await desk.orders.deny(identifier, said.by, said.why, said.request)


async def _note(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Note)
    await desk.orders.note(identifier, said.by, said.text)


async def _retry(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Retry)
    await desk.orders.retry(identifier, said.by, said.why)


async def _adopt(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Adopt)
    await desk.orders.adopt(identifier, said.by, said.why)


async def _done(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Done)
    await desk.orders.done(identifier, said.by, said.why)


async def _revert(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Revert)
    await desk.orders.revert(identifier, said.by, said.why)


async def _extend(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Extend)
    await desk.orders.extend(identifier, said.by, said.for_, said.why)


async def _close(desk: Desk, request: web.Request, identifier: str) -> None:
    said = await read(request, Close)
    await desk.orders.close(identifier, said.by, said.why, keep=said.keep)


ORDERS: dict[str, Callable[[Desk, web.Request, str], Awaitable[None]]] = {
    "ack": _ack,
    "approve": _approve,
    "deny": _deny,
    "revert": _revert,
    "extend": _extend,
    "close": _close,
    "done": _done,
    "retry": _retry,
    "note": _note,
    "adopt": _adopt,
}


async def order(request: web.Request) -> web.Response:
    """Give an order to one incident, and answer the incident as it stands then."""
    desk, identifier = request.app[DESK], request.match_info["id"]
    give = ORDERS.get(request.match_info["order"])
    if give is None:
        raise Problem(404, f"no such order: there are {', '.join(ORDERS)}")
    await give(desk, request, identifier)
    return reply(await _show(desk, identifier))


ROUTES = (
    web.get("/api/v1/incidents", listing),
    web.get("/api/v1/incidents/{id}", one),
    web.post("/api/v1/incidents/{id}/{order}", order),
)

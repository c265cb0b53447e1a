"""Rehearsal over HTTP: trying now what the rules may need, as the daemon's own user."""

from aiohttp import web

from stopgap import view
from stopgap.api.desk import DESK
from stopgap.api.problem import Problem, reply
from stopgap.identity import identity


async def check(request: web.Request) -> web.Response:
    """Rehearse once more and answer what came of it; nothing is changed, and nothing is journaled."""
    found = await request.app[DESK].rehearser.now()
    if found is None:
        raise Problem(503, "the daemon is ending")
    return reply(view.rehearsal(found, identity()))


ROUTES = (web.post("/api/v1/check", check),)

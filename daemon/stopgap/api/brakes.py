"""Brakes: putting one on, taking it off, and which are on."""

from aiohttp import web

from stopgap import view
from stopgap.api.desk import DESK, Desk
from stopgap.api.problem import Problem, reply
from stopgap.api.said import BrakeOff, BrakeOn, query, read
from stopgap.ledger import Brake, BrakeScope

PATH = "/api/v1/brake"


def _on(desk: Desk) -> dict[str, object]:
    now = desk.clock.now()
    return {"brakes": [view.brake(on) for on in desk.engine.brakes if on.until is None or on.until > now]}


async def show(request: web.Request) -> web.Response:
    """Answer the brakes that are on."""
    return reply(_on(request.app[DESK]))


async def put(request: web.Request) -> web.Response:
    """Put a brake on; it is durable when this answers. A name that nothing has is refused: it would stop nothing."""
    desk, said = request.app[DESK], await read(request, BrakeOn)
    _check_name(desk, said)
    now = desk.clock.now()
    until = now + said.for_ if said.for_ else None
    await desk.engine.brake(Brake(said.scope, said.name, said.by, said.why, now, until))
    return reply(_on(desk))


async def delete(request: web.Request) -> web.Response:
    """Take a brake off."""
    desk, said = request.app[DESK], query(request, BrakeOff)
    if not await desk.engine.release(said.scope, said.name, said.by, said.why):
        raise Problem(404, "no such brake is on")
    return reply(_on(desk))


def _check_name(desk: Desk, said: BrakeOn) -> None:
    if (said.scope is BrakeScope.GLOBAL) != (said.name == ""):
        raise Problem(400, "`name` goes with the scopes pack, rule and target, and only with them")
    rules = set(desk.engine.rulebook.rules) | {state.rule for state in desk.engine.incidents.values()}
    packs = {rule.partition("/")[0] for rule in rules}
    known = {BrakeScope.RULE: rules, BrakeScope.PACK: packs}.get(said.scope)
    if known is not None and said.name not in known:
        raise Problem(400, f"no {said.scope} has this name, so the brake would stop nothing")


ROUTES = (web.get(PATH, show), web.put(PATH, put), web.delete(PATH, delete))

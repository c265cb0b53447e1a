"""Gate: who may control, and the border at which everything that goes wrong becomes an answer."""

import ipaddress
from collections.abc import Awaitable, Callable
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from stopgap.api.desk import Desk
from stopgap.api.problem import Problem
from stopgap.body import BodyRefused
from stopgap.errors import StoreError
from stopgap.incident import Event, EventKind as K
from stopgap.link import PREFIX
from stopgap.orders import NoSuchIncident, NotPossible
from stopgap.seldom import Seldom

log = structlog.get_logger(__name__)

Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTROL = ("/api/", "/-/reload")
REFUSALS = timedelta(minutes=1)  # between two lines about refused logins


@web.middleware
async def border(request: web.Request, handler: Answerer) -> web.StreamResponse:
    """Turn whatever is raised into problem JSON."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - border: HTTP. One request's fault is answered and logged, the server goes on
        return _problem(request, error).response()


def _problem(request: web.Request, error: Exception) -> Problem:  # noqa: PLR0911 - one table
    match error:
        case Problem():
            return error
        case NoSuchIncident():
            return Problem(404, str(error))
        case NotPossible():
            return Problem(409, str(error))
        case BodyRefused():
            return Problem(error.status, error.text)
        case web.HTTPException():
            allow = error.headers.get(hdrs.ALLOW)
            return Problem(error.status, error.reason, headers={str(hdrs.ALLOW): allow} if allow else None)
        case StoreError():
            log.warning("store_unavailable", path=_place(request), why=str(error))
            return Problem(503, "the store does not answer")
        case _:
            log.error("api_fault", path=_place(request), exc_info=error)
            return Problem(500, "a fault of ours; the log has it")


def _place(request: web.Request) -> str:
    """Return the path for the log; that of a signed link is a credential."""
    return f"{PREFIX}…" if request.path.startswith(PREFIX) else request.path


def gate(desk: Desk) -> Middleware:
    """Guard everything under control: the token first, then that no foreign web page is asking."""
    seldom = Seldom(REFUSALS)

    @web.middleware
    async def check(request: web.Request, handler: Answerer) -> web.StreamResponse:
        if request.path.startswith(CONTROL):
            shown = request.headers.get(hdrs.AUTHORIZATION, "")
            if not desk.token.admits(shown):
                await _record_refusal(desk, seldom, request)
                challenge = {str(hdrs.WWW_AUTHENTICATE): desk.token.challenge()}
                raise Problem(401, desk.token.refusal(shown), headers=challenge)
            _check_place(request, desk.hosts)
        return await handler(request)

    return check


def _check_place(request: web.Request, hosts: frozenset[str]) -> None:
    """Refuse a Host that somebody else's DNS may point here, and an Origin that is another page. Raises Problem."""
    authority = request.headers.get(hdrs.HOST, "")
    host = _host(f"//{authority}")
    if not (host == "localhost" or _is_address(host) or host in hosts):
        raise Problem(421, "unknown Host: ask by address, localhost or a configured name")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.partition("://")[2] != authority:
        raise Problem(403, "foreign Origin")


async def _record_refusal(desk: Desk, seldom: Seldom, request: web.Request) -> None:
    desk.login_refused()
    unsaid = seldom.ask()
    if unsaid is None:
        return
    detail = {"remote": request.remote or "", "path": request.path[:200], "unsaid": unsaid}
    try:
        await desk.engine.journal.control(Event(K.LOGIN_REFUSED, desk.clock.now(), detail))
    except StoreError as error:  # the answer stays 401
        log.warning("store_unavailable", path=request.path, why=str(error))


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    """Tell whether it is an IP address: no DNS, so no rebinding."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

"""Approve: what a signed link leads to. GET shows what waits for a yes; only POST answers, and once.

Mail scanners and chat previews fetch links: nothing that is fetched acts. A link that is not ours is 404, whatever may exist; one
that was used or is out of date says so.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from stopgap.api.desk import DESK, Desk
from stopgap.api.page import page
from stopgap.api.said import WITHIN
from stopgap.approval import Fate, Requested, requested
from stopgap.body import BodyRefused, Room, read_body
from stopgap.errors import StoreError
from stopgap.incident import Incident
from stopgap.link import PREFIX
from stopgap.orders import NotPossible
from stopgap.transitions import fold

log = structlog.get_logger(__name__)

PATH = PREFIX + r"{incident}/{request:\d{1,9}}/{contact}/{signature}"
ANY = PREFIX + r"{rest:[\s\S]*}"
LARGEST, FIELDS = 16 * 1024, 8  # bytes and fields of a form
LONGEST_NAME, LONGEST_WHY = 64, 500  # characters
MOST_LABELS = 30

_OVER = {
    Fate.APPROVED: (409, "Answered already"),
    Fate.DENIED: (409, "Answered already"),
    Fate.REPLACED: (409, "Out of date"),
    Fate.EXPIRED: (410, "Too late"),
    Fate.LAPSED: (410, "No answer is needed any more"),
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The request that a link was sent for, and its incident."""

    desk: Desk
    state: Incident
    request: Requested
    contact: str


async def show(request: web.Request) -> web.Response:
    """Show what waits for an answer, or why nothing does any more; changes nothing."""

    async def look(asked: _Asked) -> web.Response:
        return _question(asked)

    return await _visit(request, look)


async def answer(request: web.Request) -> web.Response:
    """Answer the request with what the form says, and say what came of it."""

    async def give(asked: _Asked) -> web.Response:
        return await _answer(request, asked)

    return await _visit(request, give)


async def _visit(request: web.Request, pending: Callable[[_Asked], Awaitable[web.Response]]) -> web.Response:
    """Tell a stranger nothing, a late comer why, and let `pending` do what there is to do."""
    try:
        asked = await _find(request)
        if asked is None:
            return _unknown()
        return await pending(asked) if asked.request.fate is Fate.PENDING else _over(asked.request)
    except BodyRefused as refused:
        return page(refused.status, "That was not taken", f"{refused.text}: go back and use the form")
    except StoreError as error:
        log.warning("store_unavailable", path=f"{PREFIX}…", why=str(error))
        text = "The store does not answer. Open the link again in a moment: it says whether the answer was taken."
        return page(503, "Not now", text)


async def stray(request: web.Request) -> web.Response:
    """Answer whatever else is asked for here, such as a link of which a mail program has lost the end."""
    request.app[DESK].login_refused()
    return _unknown()


def _unknown() -> web.Response:
    text = "It may have been cut off, or be void by now. `stopgap incidents` shows what waits."
    return page(404, "There is no such link", text)


async def _find(request: web.Request) -> _Asked | None:
    """Return what the link was sent for; None when it is not ours. Looks at nothing before the signature is known to be right."""
    desk, place = request.app[DESK], request.match_info
    identifier, number, contact = place["incident"], int(place["request"]), place["contact"]
    if desk.links is None or not desk.links.admits(identifier, number, contact, place["signature"]):
        desk.login_refused()
        return None
    timeline = await desk.engine.journal.timeline(identifier)
    found = requested(timeline, number, desk.clock.now())
    if found is None:  # pruned long ago
        return None
    state = desk.engine.incidents.get(identifier) or fold(identifier, timeline)
    return _Asked(desk, state, found, contact)


# --- what is shown ---


def _over(asked: Requested) -> web.Response:
    status, title = _OVER[asked.fate]
    return page(status, title, f"{asked.verdict[:1].upper()}{asked.verdict[1:]}.")


def _question(asked: _Asked, status: int = 200, said: str = "") -> web.Response:
    state, request = asked.state, asked.request
    rule = asked.desk.engine.rule_of(state)
    runbook = rule.runbook_url if rule is not None else ""
    labels = list(state.labels.items())
    facts = (
        ("incident", f"{state.id} ({state.severity})"),
        ("rule", f"{state.rule}: {rule.summary}" if rule is not None and rule.summary else state.rule),
        ("target", state.target),
        ("drill", f"{state.drill}: its alert is made up" if state.drill else ""),
        ("alert", state.annotations.get("summary", "")),
        ("labels", ", ".join(f"{name}={value}" for name, value in labels[:MOST_LABELS])),
        ("it asks because", request.text),
        ("answer until", f"{request.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ("runbook", "" if _is_web(runbook) else runbook),
    )
    return page(
        status,
        f"Approve “{request.name}” on {state.target}?",
        said,
        facts=facts,
        runbook=runbook if _is_web(runbook) else "",
        asked=request,
        forms=True,
    )


def _is_web(address: str) -> bool:
    return address.startswith(("https://", "http://"))


# --- what is answered ---


async def _answer(request: web.Request, asked: _Asked) -> web.Response:
    form = await _form(request)
    name, why = " ".join(form.get("name", "").split()), form.get("why", "").strip()
    yes = form.get("answer") == "approve"
    flaw = _flaw(form.get("answer", ""), name, why)
    if flaw:
        return _question(asked, 400, flaw)
    orders, by = asked.desk.orders, f"{name} via link to {asked.contact}"
    try:
        await (orders.approve if yes else orders.deny)(asked.state.id, by, why, asked.request.number)
    except NotPossible as refusal:
        return await _refused(request, refusal)
    if yes:
        return page(200, "Approved", f"“{asked.request.name}” begins as soon as the guards let it.")
    return page(200, "Denied", "Nothing is done. The incident is handed over to a person: to you, for now.")


async def _refused(request: web.Request, refusal: NotPossible) -> web.Response:
    """Say what came between the look and the answer."""
    asked = await _find(request)
    if asked is not None and asked.request.fate is not Fate.PENDING:
        return _over(asked.request)
    return page(409, "That cannot be answered now", str(refusal))


def _flaw(said: str, name: str, why: str) -> str:
    """Say what is missing, or nothing."""
    if said not in ("approve", "deny"):
        return "Choose one of the two answers."
    if not name or len(name) > LONGEST_NAME:
        return f"Say who you are, in at most {LONGEST_NAME} characters: it stands on the timeline."
    if len(why) > LONGEST_WHY or (said == "deny" and not why):
        return f"Say why, in at most {LONGEST_WHY} characters: somebody will read it later."
    return ""


async def _form(request: web.Request) -> dict[str, str]:
    """Read a form's fields. Raises BodyRefused."""
    if request.content_type != "application/x-www-form-urlencoded" or "Content-Encoding" in request.headers:
        raise BodyRefused(415, "an answer is a plain form")
    with Room(LARGEST).share() as share:
        body = await read_body(request, share, LARGEST, WITHIN)
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=FIELDS, errors="strict"))
    except ValueError:
        raise BodyRefused(400, "the form is not readable") from None


ROUTES = (
    web.get(PATH, show),
    web.post(PATH, answer),
    web.get(ANY, stray),
    web.post(ANY, stray),
)

"""Drills over HTTP: letting the alert of one fire, letting it be over, and which fire now."""

from datetime import timedelta
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, StringConstraints

from stopgap import view
from stopgap.api.desk import DESK, Desk
from stopgap.api.problem import Problem, reply
from stopgap.api.said import Said, query, read
from stopgap.drill import LONGEST, Drill, Drills, Unfit
from stopgap.duration import Duration

PATH = "/api/v1/drills"
LASTS = timedelta(minutes=10)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Pairs = Annotated[dict[str, str], Field(max_length=100)]


class Begin(Said):
    """Body of `POST`: the alert, and how long it fires at most. In `shadow` nothing is done about it."""

    name: Name
    labels: Annotated[Pairs, Field(min_length=1)]
    annotations: Pairs = Field(default_factory=dict)
    for_: Annotated[Duration, Field(alias="for", gt=timedelta(), le=LONGEST)] = LASTS
    shadow: bool = False


def _drills(desk: Desk) -> Drills:
    if desk.drills is None:
        raise Problem(404, "this daemon plays no drills")
    return desk.drills


def _shown(drills: Drills, drill: Drill) -> dict[str, Any]:
    return {
        "name": drill.name,
        "started_at": view.instant(drill.alert.starts_at),
        "ends_at": view.instant(drill.ends_at),
        "incidents": [view.brief(state) for state in drills.incidents_of(drill.name)],
    }


async def show(request: web.Request) -> web.Response:
    """Answer the drills whose alerts fire."""
    drills = _drills(request.app[DESK])
    return reply({"drills": [_shown(drills, drill) for drill in drills.running]})


async def begin(request: web.Request) -> web.Response:
    """Let a drill's alert fire; it is durable when this answers, and over by itself in time, whoever watches."""
    drills, said = _drills(request.app[DESK]), await read(request, Begin)
    try:
        drill = await drills.begin(
            said.name, said.labels, said.annotations, said.for_, shadow=said.shadow, by=said.by
        )
    except Unfit as error:
        raise Problem(422, str(error)) from None
    return reply(_shown(drills, drill), 201)


async def end(request: web.Request) -> web.Response:
    """Let a drill's alert be over; one that does not fire is no mistake."""
    drills, said = _drills(request.app[DESK]), query(request, Said)
    name = request.match_info["name"]
    return reply({"name": name, "ended": await drills.end(name, f"ended by {said.by}")})


ROUTES = (web.get(PATH, show), web.post(PATH, begin), web.delete(PATH + "/{name}", end))

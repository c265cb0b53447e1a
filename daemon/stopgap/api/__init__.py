"""API: what people, their tools and Prometheus ask over HTTP (DESIGN 8). `mount` puts it into an application.

`/metrics` and `/-/…` but the reload are open, because they tell numbers only. Everything else needs the control token, reading too:
timelines hold label values, addresses and names. The pages of `/approve/` are for whoever holds a signed link to one of them.
"""

from aiohttp import web

from stopgap.api import approve, brakes, drills, explain, incidents, rehearsal, report, status
from stopgap.api.desk import DESK, Desk, Reloaded
from stopgap.api.gate import border, gate

__all__ = ["Desk", "Reloaded", "mount"]


def mount(app: web.Application, desk: Desk) -> None:
    """Add the routes, and the middlewares that guard control and turn errors into problem JSON."""
    app[DESK] = desk
    app.middlewares.append(border)
    app.middlewares.append(gate(desk))
    app.add_routes([*status.ROUTES, *incidents.ROUTES, *brakes.ROUTES, *rehearsal.ROUTES, *explain.ROUTES])
    app.add_routes([*report.ROUTES, *drills.ROUTES])
    if desk.links is not None:
        app.add_routes(approve.ROUTES)

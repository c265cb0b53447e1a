"""Status: how the daemon itself is, which rules it has, and the reload of them."""

from dataclasses import asdict
from typing import Any

from aiohttp import hdrs, web

from stopgap import view
from stopgap.api.desk import DESK, Reloaded
from stopgap.api.problem import MOST, Problem, reply


async def metrics(request: web.Request) -> web.Response:
    """Answer Prometheus' scrape (text format 0.0.4)."""
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=request.app[DESK].metrics(), headers=headers)


async def healthy(_: web.Request) -> web.Response:
    """Answer that the event loop turns; no reason to restart us lies elsewhere."""
    return web.Response(text="ok")


async def ready(request: web.Request) -> web.Response:
    """Answer whether notifications can be taken: each check by name, 503 when one is wrong.

    What is away outside, or in the way of the rules, makes nothing unready; in what words is for those who have the token.
    Where nobody can tell whether another daemon leads by now, the role is `uncertain`; that of a standby: `forward.py`.
    """
    desk = request.app[DESK]
    checks = desk.ready()
    wrong = any(checks.values())
    told = {name: text[:200] or "ok" for name, text in checks.items()}
    may_know = desk.token.admits(request.headers.get(hdrs.AUTHORIZATION, ""))
    found = desk.rehearser.last
    rehearsal = view.rehearsed(found, whole=may_know) if found is not None else None
    outside = {
        name: (why[:200] if may_know else "away") if why else "ok"
        for name, why in desk.dependencies().items()
    }
    answer: dict[str, Any] = {
        "ready": not wrong,
        "role": "leader" if desk.leads() else "uncertain",
        "checks": told,
    }
    answer |= {"dependencies": outside, "rehearsal": rehearsal}
    return reply(answer, 503 if wrong else 200)


async def reload(request: web.Request) -> web.Response:
    """Load the rules anew and say what changed; when anything is wrong the old ones stay, and the answer says what."""
    return reloaded(await request.app[DESK].reload())


def reloaded(result: Reloaded) -> web.Response:
    """Answer what a reload came to. Raises Problem."""
    if result.problems:
        listed = result.problems[:MOST]
        more = {"problems": [asdict(problem) for problem in listed], "problem_count": len(result.problems)}
        raise Problem(422, f"the old {result.rules} rules stay in force", tuple(map(str, listed)), more=more)
    return reply({"rules": result.rules, **result.changes.told()})


async def rules(request: web.Request) -> web.Response:
    """Answer the rules in force."""
    loaded = request.app[DESK].engine.rulebook.rules
    return reply({"rules": [view.rule(rule) for _, rule in sorted(loaded.items())]})


ROUTES = (
    web.get("/metrics", metrics),
    web.get("/-/healthy", healthy),
    web.get("/-/ready", ready),
    web.post("/-/reload", reload),
    web.get("/api/v1/rules", rules),
)

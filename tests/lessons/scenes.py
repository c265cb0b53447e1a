"""Scenes: what the lessons share: a rule that acts on each host by itself, a webhook before a world, and what is waited for."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from tests.intake import FakeTally, notification, serving
from tests.world import GENEROUS, Switch, World, alert, probe, rule, step

from stopgap.actions import Exec
from stopgap.credential import Credential
from stopgap.probe import Verdict
from stopgap.rule import Rule, RungSpec, StepSpec
from stopgap.template import compile_tree
from stopgap.webhook import Webhook

JSON = {"Content-Type": "application/json"}


def per_host(name: str = "mock", *, action: str = "switch", alertname: str = "Down", **more: Any) -> Rule:
    """Return a rule that sets a switch of each host."""
    params, _ = compile_tree({"to": "mock", "name": "mode of {{ target }}"})
    ladder = (RungSpec("mock", do=(replace(step(action=action), params=params),)),)
    given = {"target": None, "per": ("host",), "ladder": ladder, "limits": GENEROUS, **more}
    return rule(name, match=f'alertname="{alertname}"', **given)


def hosts(count: int, **labels: str):
    return [alert(job="api", host=f"h{i}", **labels) for i in range(count)]


def acted(world: World) -> int:
    return sum(1 for state in world.engine.incidents.values() if state.rungs)


def reasons(world: World) -> dict[str, str]:
    return {state.target: state.reason for state in world.engine.incidents.values()}


async def firing(*rules: Rule, **verdicts: Verdict) -> World:
    """Return a world in which the alert of `World` has just fired."""
    world = await World(rules or (rule(),)).start()
    world.say.verdicts |= verdicts
    await world.fire()
    await world.settle()
    return world


@dataclass
class Crowd(Switch):
    """A switch that counts how many set it at once; it takes as long as it takes, or until its gate is opened."""

    gate: asyncio.Event | None = None
    now: int = field(default=0, init=False)
    most: int = field(default=0, init=False)

    async def run(self, params: Any, before: Any, moment: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return await super().run(params, before, moment)
        finally:
            self.now -= 1


def crowded(world: World, **more: Any) -> Crowd:
    """Put a counting switch in the place of the plain one."""
    world.switch = world.catalog.actions["switch"] = Crowd(**more)
    return world.switch


# --- in real time ---


async def commanding(*argv: str, seconds: float = 10) -> World:
    """Return a world whose rule runs a real command, and again if it may; `seconds` is its time limit."""
    params, _ = compile_tree({"argv": argv})
    runs = StepSpec("exec", params, timeout=timedelta(seconds=seconds), retries=2)
    world = World((rule(ladder=(RungSpec("run", do=(runs,), verify=(probe("ready"),)),)),))
    world.catalog.actions["exec"] = Exec(None)
    return await world.start()


@asynccontextmanager
async def door(world: World):
    """Put the webhook before a world; gives what posts a notification of these alerts and returns the status."""

    def mount(app):
        Webhook(world.engine, FakeTally(), Credential()).mount(app)

    async with serving(mount) as (url, session):

        async def post(*alerts: dict[str, Any], **more: Any) -> int:
            body = notification(*alerts, **more)
            async with asyncio.timeout(10), session.post(f"{url}/webhook", data=body, headers=JSON) as answer:
                return answer.status

        post.port = int(url.rpartition(":")[2])
        try:
            yield post
        finally:
            await world.engine.stop()


async def seen(what: Callable[[], bool]) -> None:
    """Wait until something is so, ten seconds at most."""
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.005)

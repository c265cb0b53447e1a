"""Whatever comes between any two awaits of the engine, the ten promises hold; and when it is over, nothing is left behind.

`SOAK=1000 python -m pytest -q -s --timeout=0 FILE` plays so many worlds by chance, `SEED=n` plays the one again that broke.
"""

import asyncio
import os
import secrets

import pytest
from tests.property.live_rows import ANSWER
from tests.property.live_world import LiveWorld
from tests.virtual import VirtualLoop

from stopgap.ledger import BrakeScope
from stopgap.probe import Verdict

SPAN = 120  # events of one world
WORLDS = 40
SPANS = (0.05, 0.05, 0.3, 0.3, 0.3, 1, 1, 3, 10, 60, 400)  # seconds, at most
VERBS = ("acknowledge", "approve", "approve", "note", "revert", "extend", "close", "keep", "keep", "deny")


class Fate:
    """What happens next, by chance."""

    def __init__(self, world: LiveWorld) -> None:
        self.world, self.chance = world, world.chance
        self._what = (
            [self.fires] * 12
            + [self.is_over] * 3
            + [self.answers] * 3
            + [self.orders] * 5
            + [self.turns_ill] * 3
            + [self.gets_well, self.brakes, self.releases, self.releases, self.reloads]
            + [self.drifts, self.hides, self.fails, self.store_falls_ill]
        )

        world.on_line = self.strikes_upon

    def strikes_upon(self, name: str) -> None:
        """Let an order come right after a line, before whoever wrote it has heard of it, or just after."""
        if self.chance.random() < 0.08 and not self.world.dying:
            delay, verb = self.chance.random() * ANSWER * 2, self.chance.choice(VERBS)
            asyncio.get_running_loop().call_later(
                delay, lambda: self.world.dying or self.world.order(name, verb)
            )

    async def strikes(self) -> None:
        if self.chance.random() < 0.04:
            await self.restarts()
        else:
            self.chance.choice(self._what)()

    def fires(self) -> None:
        self.world.tells(self.chance.choice(self.world.alerts), firing=True)

    def is_over(self) -> None:
        for alert in self.chance.sample(self.world.alerts, self.chance.choice([1, len(self.world.alerts)])):
            self.world.tells(alert, firing=False)

    def orders(self) -> None:
        names = [*self.world.engine.incidents]
        if names:
            self.world.order(self.chance.choice(names), self.chance.choice(VERBS))

    def answers(self) -> None:
        for state in [*self.world.engine.incidents.values()]:
            if state.approval:
                self.world.order(state.id, "approve")

    def turns_ill(self) -> None:
        target = f"t{self.chance.randrange(4)}"
        for question in ("fit", "ready0", "ready1", "cause0", "cause1", "is it over"):
            verdict = self.chance.choice(
                [Verdict.HEALTHY, Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN]
            )
            self.world.outside.verdicts[question, target] = verdict

    def gets_well(self) -> None:
        self.world.outside.verdicts.clear()
        self.world.outside.blackout = self.chance.random() < 0.1

    def brakes(self) -> None:
        scope = self.chance.choice([*BrakeScope])
        rules = [*self.world.loaded] or ["pack/rule0"]
        names = {
            BrakeScope.GLOBAL: "",
            BrakeScope.PACK: "pack",
            BrakeScope.RULE: self.chance.choice(rules),
            BrakeScope.TARGET: f"t{self.chance.randrange(4)}",
        }
        self.world.brakes(scope, names[scope], self.chance.choice([None, 1, 5]))

    def releases(self) -> None:
        self.world.releases()

    def reloads(self) -> None:
        world, versions = self.world, self.chance.choice(self.world.versions)
        name, chosen = world.models[versions[0]].id, self.chance.choice([*versions, *versions, None])
        loaded = {one: version for one, version in world.loaded.items() if one != name}
        world.reloads(loaded if chosen is None else loaded | {name: chosen})

    def drifts(self) -> None:
        """Somebody sets what is held, while nobody of ours is at it."""
        held = sorted(at for at in self.world.rows.held if "#" in at)
        if held and self.world.idle and not any(s.approval for s in self.world.engine.incidents.values()):
            self.world.outside.drift(self.chance.choice(held), home=self.chance.random() < 0.5)

    def hides(self) -> None:
        knob = self.chance.choice(["a", "b", "runs"])
        self.world.outside.away ^= {f"t{self.chance.randrange(4)}#{knob}"}

    def fails(self) -> None:
        self.world.turning.fails = self.chance.choice([0.0, 0.0, 0.2, 0.6])

    def store_falls_ill(self) -> None:
        self.world.journal.ill = not self.world.journal.ill

    async def restarts(self) -> None:
        how = self.chance.choice(["crash", "stop", "cut off", "lost answer"])
        if how == "lost answer":
            self.world.journal.loses = True
            await asyncio.sleep(self.chance.random() * 3)
            how = "cut off"
        gently = how in ("stop", "cut off")
        await self.world.dies(drain=30.0 if how == "stop" else 0.0, gently=gently)


async def comes_to_rest(world: LiveWorld) -> None:
    """Let the causes go away, and do what is left to people, until nothing is live."""
    world.turning.fails, world.journal.ill, world.on_line = 0.0, False, lambda _: None
    world.outside.away.clear()
    world.outside.verdicts.clear()
    world.outside.blackout = False
    await world.dies(gently=True, drain=30.0)
    world.releases()
    for _ in range(300):
        for alert in world.alerts:
            world.tells(alert, firing=False)
        await asyncio.sleep(60)
        world.check()
        states = world.engine.incidents.values()
        if not states and world.idle:
            return
        for state in [*states]:
            if state.stuck or state.unproven:
                world.order(state.id, "revert")
    left = [f"{s.id} {s.phase} {s.reason} {s.stuck}" for s in world.engine.incidents.values()]
    raise AssertionError(f"after calm, still live: {left}")


async def play(seed: int) -> int:
    world = LiveWorld(seed)
    await world.begins()
    fate = Fate(world)
    for _ in range(SPAN):
        await fate.strikes()
        await asyncio.sleep(world.chance.random() * world.chance.choice(SPANS))
        world.check()
    await comes_to_rest(world)
    world.auditor.check_end()
    await world.engine.stop()
    await world.journal.dies()
    return len(world.rows.incidents)


def run(seed: int) -> int:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(play(seed))


@pytest.mark.timeout(0 if {"SOAK", "SEED"} & os.environ.keys() else 300)
@pytest.mark.no_cover
def test_the_ten_promises_hold_whatever_comes_between_two_awaits():
    if "SEED" in os.environ:
        run(int(os.environ["SEED"]))
        return
    first = secrets.randbits(32) if "SOAK" in os.environ else 0
    broken = []
    for seed in range(first, first + int(os.environ.get("SOAK", WORLDS))):
        try:
            run(seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the number that shows it again
            broken.append(f"SEED={seed}: {type(error).__name__}: {error}")
            print(broken[-1][:400], flush=True)
    assert not broken

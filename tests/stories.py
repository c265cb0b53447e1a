"""Stories: incidents that really ran, on virtual time, for reading and for the golden reports."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.world import START, World, alert, probe, rule, step

from stopgap.errors import PermanentError
from stopgap.incident import Event, EventKind as K
from stopgap.journal import Append
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.report import Story
from stopgap.rule import Escalation, Limits, Mode, Rule, RungSpec
from stopgap.terms import Terms
from stopgap.transitions import fold

TEN = timedelta(minutes=10)
MORE_MEMORY = RungSpec("more memory", do=(step("512", name="memory"),), verify=(probe("latency"),))
MOCK = RungSpec(
    "mock mode",
    do=(step("mock"), step("off", name="audio")),
    activate=(step("on", action="kick", title="restart the hotel"),),
    verify=(probe("ready"), probe("errors")),
    approval=TEN,
)
LADDER: dict[str, Any] = {
    "ladder": (MORE_MEMORY, MOCK),
    "target": "fly://hotel",
    "summary": "Keep the hotel answering while the PMS is slow",
    "runbook_url": "https://runbooks.example.com/hotel#pms",
    "escalate": (Escalation("handed_over", ("oncall", "pms-team")),),
}


def known(of: Rule) -> Rule:
    """Return a rule whose version is the same in every run."""
    return replace(of, version="0123456789abcdef")


def slow(**labels: str) -> Any:
    """Return the alert that the stories are about."""
    told = {"summary": "Guests wait for more than 3 s", "description": "P95 of /search is above 3 s."}
    return replace(alert("HighLatency", job="hotel", **labels), annotations=told)


class Told(World):
    """A world whose one incident is told in the end under an id that is the same in every run."""

    async def says(self, kind: K, **detail: Any) -> None:
        """Append a line that another part of the daemon would have written."""
        await self.journal.append(Append(self.incident.id, (Event(kind, self.clock.now(), detail),)))

    def story(self, of: Rule | None, identifier: str = "INC-20261121-090000-st0ry1") -> Story:
        rows = list(self.journal.rows.values())
        first, *later = [row.stored for row in rows]
        timeline = tuple(self.journal.timelines[first.id])
        followers = ["INC-20261121-094500-f0ll0w" for row in later if row.follows == first.id]
        return Story(
            fold(identifier, timeline), timeline, of, self.clock.now(), followers[0] if followers else ""
        )


async def climbed() -> Story:
    """Tell of a ladder: the first rung did not help, the second was approved, held, and taken back with a drift."""
    of = known(rule("latency", match='alertname="HighLatency"', **LADDER))
    world = Told((of,))
    world.switch.values |= {"memory": "256", "audio": "on"}
    await world.start()
    world.say.verdicts |= {"latency": Verdict.UNHEALTHY, "cause": Verdict.UNHEALTHY}
    await world.fire(slow(instance="a"))
    await world.passes(seconds=70)
    await world.says(K.NOTIFIED, contact="oncall", when="approval_requested")
    await world.passes(minutes=2)
    await world.fire(slow(instance="b"))
    await world.orders.approve(world.incident.id, "ann", "the PMS team confirms")
    await world.passes(seconds=10)
    await world.says(K.NOTIFY_FAILED, contact="pms-team", when="mitigated", why="connection refused")
    await world.orders.acknowledge(world.incident.id, "ann", "watching")
    await world.passes(minutes=20)
    await world.resolve(slow(instance="a"), slow(instance="b"))
    await world.passes(minutes=4)
    world.switch.values["audio"] = "low"
    world.say.verdicts["cause"] = Verdict.HEALTHY
    await world.passes(minutes=10)
    story = world.story(of)
    return replace(story, now=START + timedelta(days=1))


async def stuck() -> Story:
    """Tell of one that waited for a cooldown and a brake, did not help, and could not be taken back: live."""
    limits = Limits(cooldown=timedelta(minutes=3))
    of = known(rule("latency", match='alertname="HighLatency"', limits=limits, **LADDER))
    of = replace(of, ladder=(MORE_MEMORY,))
    world = Told((of,))
    world.switch.values |= {"memory": "256"}
    await world.start()
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "bob", "a release is going out", START))
    world.say.verdicts["latency"] = Verdict.UNHEALTHY
    await world.fire(slow())
    await world.passes(minutes=5)
    await world.engine.release(BrakeScope.GLOBAL, "", "bob")
    await world.passes(seconds=30)
    world.switch.faults.append(PermanentError("401 from the machines API"))
    await world.passes(minutes=3)
    await world.says(K.NOTIFIED, contact="oncall", when="handed_over")
    await world.passes(minutes=1)
    return world.story(of)


async def watched() -> Story:
    """Tell of a shadow."""
    of = known(rule("latency", match='alertname="HighLatency"', **LADDER))
    world = Told((of,), Terms(Mode.SHADOW))
    await world.start()
    await world.fire(slow())
    await world.passes(minutes=4)
    await world.resolve(slow())
    await world.passes(minutes=1)
    return world.story(of)


async def held() -> Story:
    """Tell of one that is held, as nobody could ask whether its cause is gone, past its lease: live."""
    rung = replace(MOCK, approval=None, do=MOCK.do[:1])
    of = known(rule("latency", match='alertname="HighLatency"', **{**LADDER, "ladder": (rung,)}))
    of = replace(of, limits=Limits(max_hold=timedelta(hours=1)))
    world = Told((of,))
    world.say.verdicts["cause"] = Verdict.UNKNOWN
    await world.start()
    await world.fire(slow())
    await world.passes(minutes=30)
    await world.orders.extend(world.incident.id, "ann", timedelta(hours=1), "the vendor works on it")
    await world.resolve(slow())
    await world.passes(hours=3)
    return world.story(of)


async def flapped() -> Story:
    """Tell of one that fired again right after it was taken back, and of a person who had that taken back in the end."""
    rung = replace(MOCK, approval=None, do=MOCK.do[:1])
    of = known(rule("latency", match='alertname="HighLatency"', **{**LADDER, "ladder": (rung,)}))
    world = Told((of,))
    await world.start()
    await world.fire(slow())
    await world.passes(minutes=10)
    await world.resolve(slow())
    await world.passes(minutes=7)
    await world.fire(slow())
    await world.passes(minutes=5)
    await world.orders.revert(world.incident.id, "ann", "the PMS is fine, the alert is wrong")
    await world.passes(minutes=1)
    await world.orders.close(world.incident.id, "ann", "alert fixed", keep=False)
    await world.settle()
    return world.story(of)

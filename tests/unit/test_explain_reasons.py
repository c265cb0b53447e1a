"""Every reason for not acting is reached, and an explanation names it with its numbers."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.test_engine_guards import hosts, per_host
from tests.virtual import virtually
from tests.world import GENEROUS, MOCK, World, alert, book, probe, rule, step

from stopgap.explain import Explainer
from stopgap.explanation import Explanation
from stopgap.guard import Reason
from stopgap.incident import Incident
from stopgap.journal import Line
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Limits, Mode, Rule, RungSpec, Windows
from stopgap.storm import StormLimit
from stopgap.template import Template, compile_tree
from stopgap.terms import Terms
from stopgap.window import parse_window

HOUR = timedelta(hours=1)
ASKS = rule(ladder=(replace(MOCK, approval=timedelta(minutes=10)),))

Scenario = Callable[[], Awaitable[Explanation]]
REACHED: dict[Reason, tuple[str, Scenario]] = {}


def reaches(reason: Reason, numbers: str) -> Callable[[Scenario], Scenario]:
    """Mark what brings a reason about; the explanation must name it with these words."""

    def mark(scenario: Scenario) -> Scenario:
        REACHED[reason] = numbers, scenario
        return scenario

    return mark


class Claimed:
    """Says of every claim what a test wants."""

    def __init__(self, doubts: str = "", *, silent: bool = False) -> None:
        self._doubts, self._silent = doubts, silent

    def doubt(self, identifier: str) -> str:
        return self._doubts

    def silenced(self, state: Incident) -> bool:
        return self._silent

    def repeated(self, fingerprint: str) -> None:
        """Nothing follows."""

    def observe(self, line: Line, state: Incident) -> None:
        """Nothing follows."""


def explainer(world: World, **more: Any) -> Explainer:
    return Explainer(world.engine, world.clock, lambda _pack, _name: "", **more)


async def started(*rules: Rule, terms: Terms | None = None) -> World:
    return await World(rules or (rule(),), terms or Terms()).start()


async def fired(*rules: Rule, terms: Terms | None = None) -> World:
    world = await started(*rules, terms=terms)
    await world.fire()
    await world.settle()
    return world


async def about_alert(world: World, *alerts: Any) -> Explanation:
    return await explainer(world).alerts(alerts or (alert(),))


async def about_incident(world: World) -> Explanation:
    found = await explainer(world).incident(world.incident.id)
    assert found is not None
    return found


async def failed_before(world: World, times: int) -> World:
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    for _ in range(times):
        await world.fire()
        await world.passes(minutes=3)
        await world.resolve()
        await world.settle()
    return world


def named(told: Explanation) -> dict[str, str]:
    """Return every reason that an explanation names, with all that it says about it."""
    said: list[tuple[str, str]] = []
    for course in told.courses:
        said += [(one.reason, one.text) for one in course.guards if not one.allows]
        said += [(rung.skipped.reason, rung.skipped.text) for rung in course.ladder if rung.skipped]
        said.append((course.next.reason, f"{course.next.text} {course.next.why}"))
        if course.standing is not None:
            said.append((course.standing.reason, course.standing.text))
            said += [(one.reason, one.text) for one in course.standing.said]
    found: dict[str, str] = {}
    for reason, text in said:
        found[reason] = f"{found.get(reason, '')} {text}"
    return found


@pytest.mark.parametrize("reason", Reason)
@virtually
async def test_every_reason_is_named_with_its_numbers(reason):
    numbers, scenario = REACHED[reason]
    assert numbers in named(await scenario()).get(reason, "not named")


# --- what time, a person or the brake can lift ---


@reaches(Reason.BRAKE, "global brake by bob, until 2026-11-21 10:00:00Z: migration")
async def _brake() -> Explanation:
    world = await started()
    now = world.clock.now()
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "bob", "migration", now, now + HOUR))
    return await about_alert(world)


@reaches(Reason.MODE_APPROVE, "until 09:15:00Z: no answer means no the mode asks for an approval")
async def _mode_approve() -> Explanation:
    return await about_alert(await started(terms=Terms(Mode.APPROVE)))


@reaches(Reason.APPROVAL_PENDING, "wait for a person's yes until 09:10:00Z: no answer means no")
async def _approval_pending() -> Explanation:
    return await about_incident(await fired(ASKS))


@reaches(Reason.COOLDOWN, "acted 3m ago, cooldown 10m, over in 7m")
async def _cooldown() -> Explanation:
    return await about_alert(await failed_before(await started(), 1))


@reaches(Reason.BUDGET_RULE, "1 of 1 used in 1h, next free in 59m")
async def _budget_rule() -> Explanation:
    world = await started(per_host(limits=replace(GENEROUS, budget=Rate(1, HOUR))))
    await world.fire(*hosts(1))
    await world.passes(seconds=30)
    return await about_alert(world, hosts(2)[1])


@reaches(Reason.BUDGET_GLOBAL, "2 of 2 used in 1h, next free in 59m")
async def _budget_global() -> Explanation:
    world = await started(per_host(limits=replace(GENEROUS, budget_global=Rate(2, HOUR))))
    await world.fire(*hosts(2))
    await world.passes(seconds=30)
    return await about_alert(world, hosts(3)[2])


@reaches(Reason.CIRCUIT_OPEN, "2 incidents on app did not hold (open from 2 in 6h)")
async def _circuit_open() -> Explanation:
    world = await started(rule(limits=replace(GENEROUS, circuit=Limits().circuit)))
    return await about_alert(await failed_before(world, 2))


@reaches(Reason.STORM, "3 targets in 5m (more than 2 are a storm)")
async def _storm() -> Explanation:
    world = await started(per_host(limits=replace(GENEROUS, storm=StormLimit(targets=2, below=1))))
    await world.fire(*hosts(3))
    await world.settle()
    return await about_alert(world, hosts(4)[3])


@reaches(Reason.TARGET_BUSY, "INC-20261121-090000-000000 is acting on app")
async def _target_busy() -> Explanation:
    second = rule("second", match='alertname="Slow"')
    world = await started(rule(), second)
    world.switch.takes = 10.0
    await world.fire()
    await world.settle()
    return await about_alert(world, alert("Slow"))


@reaches(Reason.RESOURCE_HELD, "INC-20261121-090000-000000 holds switch:mode")
async def _resource_held() -> Explanation:
    world = await fired(rule(), rule("second", match='alertname="Slow"', target="elsewhere"))
    return await about_alert(world, alert("Slow"))


@reaches(Reason.OUTSIDE_WINDOW, "allowed only 10:00-11:00, next at Sat 10:00Z in 1h")
async def _outside_window() -> Explanation:
    windows = Windows(allow=(parse_window("10:00-11:00"),))
    return await about_alert(await started(rule(limits=Limits(windows=windows))))


@reaches(Reason.BLAST_RADIUS, "1 of 1 targets held or acted upon (1 of 7)")
async def _blast_radius() -> Explanation:
    world = await started(per_host(limits=replace(GENEROUS, blast_radius=BlastRadius("count(up)", 1))))
    world.sizes["count(up)"] = 7
    await world.fire(*hosts(1))
    await world.settle()
    return await about_alert(world, hosts(2)[1])


@reaches(Reason.STALE_PLAN, "what it found has changed since a person approved it")
async def _stale_plan() -> Explanation:
    world = await fired(ASKS)
    world.switch.values["mode"] = "something else"
    await world.orders.approve(world.incident.id, "ann")
    await world.settle()
    return await about_incident(world)


@reaches(Reason.YIELDED, "INC-20261121-090000-000000 goes first on app")
async def _yielded() -> Explanation:
    second = rule("second", match='alertname="Slow"', yield_to=("test/mock",))
    world = await fired(rule(limits=replace(GENEROUS, blast_radius=BlastRadius("nobody knows", 1))), second)
    return await about_alert(world, alert("Slow"))


@reaches(Reason.RECONCILING, "perhaps an old message")
async def _reconciling() -> Explanation:
    world = await started()
    world.engine.trust(Claimed(doubts="perhaps an old message"))
    await world.fire()
    await world.settle()
    return await about_incident(world)


@reaches(Reason.SILENCED, "a person silenced its alerts")
async def _silenced() -> Explanation:
    world = await started()
    world.engine.trust(Claimed(silent=True))
    await world.fire()
    await world.settle()
    return await about_incident(world)


@reaches(Reason.STORE_UNAVAILABLE, "the guards cannot be asked: disk on fire")
async def _store_unavailable() -> Explanation:
    world = await started()
    world.journal.failing = "disk on fire"
    return await about_alert(world)


# --- what skips a rung ---


async def _precondition(verdict: Verdict) -> Explanation:
    world = await started(rule(ladder=(replace(MOCK, only_if=(probe("backup"),)),)))
    world.say.verdicts["backup"] = verdict
    return await about_alert(world)


@reaches(Reason.PRECONDITION_FAILED, "unhealthy: backup is unhealthy")
async def _precondition_failed() -> Explanation:
    return await _precondition(Verdict.UNHEALTHY)


@reaches(Reason.PRECONDITION_UNKNOWN, "unknown: backup is unknown")
async def _precondition_unknown() -> Explanation:
    return await _precondition(Verdict.UNKNOWN)


@reaches(Reason.ONCE_USED, "first has run already in this chain of flaps")
async def _once_used() -> Explanation:
    first = RungSpec("first", do=(step(name="one"),), once=True)
    world = await fired(rule(ladder=(first, replace(MOCK, only_if=(probe("backup"),)))))
    await world.resolve()
    await world.passes(minutes=6)
    return await about_alert(world)


def templated(to: str) -> Rule:
    params, _ = compile_tree({"to": to})
    return rule(ladder=(RungSpec("first", do=(replace(step(), params=params),)),))


@reaches(Reason.UNRESOLVED_TEMPLATE, "labels.zone")
async def _unresolved_template() -> Explanation:
    return await about_alert(await started(templated("{{ labels.zone }}")))


# --- what hands over ---


@reaches(Reason.APPROVAL_DENIED, "ann said no: not at night")
async def _approval_denied() -> Explanation:
    world = await fired(ASKS)
    await world.orders.deny(world.incident.id, "ann", "not at night")
    await world.settle()
    return await about_incident(world)


@reaches(Reason.APPROVAL_EXPIRED, "nobody answered, and silence means no")
async def _approval_expired() -> Explanation:
    world = await fired(ASKS)
    await world.passes(minutes=11)
    return await about_incident(world)


@reaches(Reason.PROTECTED_TARGET, "app is protected by 'a?p'")
async def _protected_target() -> Explanation:
    return await about_alert(await started(rule(limits=Limits(protected=("a?p",)))))


@reaches(Reason.UNSAFE_LABEL, "labels.zone")
async def _unsafe_label() -> Explanation:
    return await about_alert(await started(templated("{{ labels.zone }}")), alert(zone="a; rm -rf /"))


@reaches(Reason.EMPTY_TARGET, "the target cannot be rendered from the alert")
async def _empty_target() -> Explanation:
    return await about_alert(await started(rule(target=Template.parse("{{ labels.zone | default('') }}"))))


@reaches(Reason.RULE_REMOVED, "the rule is no longer loaded")
async def _rule_removed() -> Explanation:
    world = await fired(ASKS)
    await world.engine.use(book())
    await world.settle()
    return await about_incident(world)


@reaches(
    Reason.SHADOW,
    "the daemon's --mode; it would have started rung 'mock mode' (switch: mode to mock; kick: mode to on)",
)
async def _shadow() -> Explanation:
    return await about_incident(await fired(terms=Terms(Mode.SHADOW)))

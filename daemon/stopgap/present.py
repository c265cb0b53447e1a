"""Present: gauges computed from the live states whenever somebody scrapes; a scrape of 10 000 incidents is one pass over them."""

from collections import Counter as Count
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from stopgap.guard import WAITS
from stopgap.incident import Incident, Phase, lease_end
from stopgap.ledger import Brake, BrakeScope
from stopgap.rule import Rule

_TEXTS = {
    "incidents": "Live incidents.",
    "incidents_waiting": "Live incidents that do not act now, by the reason.",
    "incidents_handed_over": "Live incidents that a person has to take on.",
    "mitigations_held": "Incidents that hold a mitigation.",
    "lease_end_timestamp_seconds": "When the first lease of a rule ends.",
    "brake_engaged": "Brakes that are on.",
    "budget_remaining": "Rungs that may still start now.",
    "drills_live": "Incidents of drills that are not closed.",
    "storm_active": "Whether a storm keeps new mitigations waiting.",
    "dependency_up": "Whether something that Stopgap depends on was there when it was last asked.",
}


class Present(Protocol):
    """The engine's present, asked at each scrape."""

    @property
    def incidents(self) -> Mapping[str, Incident]:
        """The live incidents."""
        ...

    @property
    def brakes(self) -> tuple[Brake, ...]:
        """The brakes that are on."""
        ...

    @property
    def stormy(self) -> bool:
        """Tell whether a storm keeps new mitigations waiting."""
        ...

    def rule_of(self, state: Incident) -> Rule | None:
        """Return the rule version that an incident runs under."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom a scrape asks: the engine, which rules stand at 0, what is left of budgets, why each dependency is away.

    And how many seconds the wall clock is ahead: instants are told by that one, as Prometheus has it.
    """

    present: Present
    rules: Callable[[], Collection[str]]
    headroom: Callable[[], Mapping[str, int]]
    dependencies: Callable[[], Mapping[str, str]]
    offset: Callable[[], float]


class PresentCollector(Collector):
    """Gauges of the present."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count what there is now."""
        yield from self._of_incidents()
        present = self._sources.present
        brakes = Count(brake.scope.value for brake in present.brakes)
        yield _counted("brake_engaged", "scope", [s.value for s in BrakeScope], brakes)
        left = Count(self._sources.headroom())
        yield _counted("budget_remaining", "rule", sorted(left), left)
        yield GaugeMetricFamily("stopgap_storm_active", _TEXTS["storm_active"], int(present.stormy))
        yield _dependency_up(self._sources.dependencies())

    def _of_incidents(self) -> Iterator[GaugeMetricFamily]:
        phases, held, handed = Count[str](), Count[str](), Count[tuple[str, str]]()
        ends: dict[str, float] = {}
        drills, real = 0, []
        for state in self._sources.present.incidents.values():
            end = self._lease_end(state)
            if end is not None:  # of a drill too: what it holds is really held
                ends[state.rule] = min(end, ends.get(state.rule, end))
            if state.drill:
                drills += 1
                continue
            real.append(state)
            phases[state.phase.value] += 1
            held[state.rule] += bool(state.held)
            if state.handed_over:
                handed[state.rule, _word(acknowledged=bool(state.acknowledged_by))] += 1
        rules = set(self._sources.rules())
        yield _counted("incidents", "phase", [p.value for p in Phase if p is not Phase.CLOSED], phases)
        waits = Count(state.reason for state in real if state.reason in WAITS)
        yield _counted("incidents_waiting", "reason", sorted(WAITS), waits)
        yield _handed_over(sorted(rules | {rule for rule, _ in handed}), handed)
        yield _counted("mitigations_held", "rule", sorted(rules | set(held)), held)
        leases = _family("lease_end_timestamp_seconds", "rule")
        for rule, at in sorted(ends.items()):
            leases.add_metric([rule], at + self._sources.offset())
        yield leases
        yield GaugeMetricFamily("stopgap_drills_live", _TEXTS["drills_live"], drills)

    def _lease_end(self, state: Incident) -> float | None:
        rule = self._sources.present.rule_of(state) if state.held else None
        end = lease_end(state, rule.limits.max_hold) if rule is not None else None
        return end.timestamp() if end is not None else None

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the families without asking for the present."""
        for name in _TEXTS:
            yield GaugeMetricFamily(f"stopgap_{name}", "")


class StandbyCollector(Collector):
    """Gauges of a daemon that stands by: it knows no incident, and has to reach the store all the same."""

    def __init__(self, dependencies: Callable[[], Mapping[str, str]]) -> None:
        self._dependencies = dependencies

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Say what is there now."""
        yield _dependency_up(self._dependencies())

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the family without asking."""
        yield GaugeMetricFamily("stopgap_dependency_up", "")


def _dependency_up(why_away: Mapping[str, str]) -> GaugeMetricFamily:
    up = Count({name: int(not why) for name, why in why_away.items()})
    return _counted("dependency_up", "dependency", sorted(up), up)


def _word(*, acknowledged: bool) -> str:
    return "true" if acknowledged else "false"


def _family(name: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"stopgap_{name}", _TEXTS[name], labels=labels)


def _counted(name: str, label: str, values: Collection[str], counts: Count[str]) -> GaugeMetricFamily:
    family = _family(name, label)
    for value in values:
        family.add_metric([value], counts[value])
    return family


def _handed_over(rules: Collection[str], counts: Count[tuple[str, str]]) -> GaugeMetricFamily:
    family = _family("incidents_handed_over", "rule", "acknowledged")
    for rule in rules:
        for acknowledged in (_word(acknowledged=True), _word(acknowledged=False)):
            family.add_metric([rule, acknowledged], counts[rule, acknowledged])
    return family

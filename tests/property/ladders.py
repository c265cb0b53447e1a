"""Ladders: rules by chance, with every key that the core knows, on a few targets that they share."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from random import Random
from typing import Any

from tests.property.outside import Turn, Turning
from tests.timelines import seconds

from stopgap.incident import Incident
from stopgap.matcher import parse_matchers
from stopgap.plan import Plan, PlannedProbe, PlannedStep
from stopgap.rate import Rate
from stopgap.rule import (
    BlastRadius,
    Circuit,
    Limits,
    Mode,
    OnFailure,
    ProbeSpec,
    Rule,
    RungSpec,
    StepSpec,
    Windows,
)
from stopgap.storm import StormLimit
from stopgap.window import parse_window

ALERTNAMES = "ABC"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
WINDOWS = tuple(map(parse_window, ("09:00-12:00", "10:00-11:00", "Sat 00:00-24:00", "Sun 06:00-23:00")))
TURNING: Any = Turning()


def a_ladder_of_rules(chance: Random) -> list[tuple[Rule, Rule]]:
    """Return two to four rules, each in two versions."""
    everywhere = {
        "budget_global": Rate(chance.choice([3, 5, 20]), HOUR),
        "storm": chance.choice(
            [StormLimit()] * 2 + [StormLimit(targets=chance.choice([2, 3]), below=chance.choice([1, 2]))]
        ),
    }
    rules: list[tuple[Rule, Rule]] = []
    for i in range(chance.randrange(2, 5)):
        yields = tuple(old.id for old, _ in rules if chance.random() < 0.2)
        name, alertname = f"rule{i}", ALERTNAMES[i % chance.choice([2, 3])]
        old = _a_rule(chance, name, alertname, everywhere, yields)
        new = replace(_a_rule(chance, name, alertname, everywhere, yields), version=f"{name}.2")
        rules.append((old, new))
    return rules


def _a_rule(
    chance: Random, name: str, alertname: str, everywhere: dict[str, Any], yields: tuple[str, ...]
) -> Rule:
    version = f"{name}.1"
    mode = chance.choice([Mode.AUTO] * 12 + [Mode.APPROVE, Mode.SHADOW])
    rungs = tuple(
        _a_rung(chance, f"{name}.{i}") for i in range(chance.choice([0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]))
    )
    return Rule(
        pack="pack",
        name=name,
        version=version,
        matchers=parse_matchers(f'alertname="{alertname}"'),
        mode=mode,
        target=chance.choice([None, None, None, "t0"]),
        recovered=tuple(_a_probe(f"cause{i}") for i in range(chance.choice([0, 1, 1, 2, 2]))),
        ladder=rungs,
        limits=_limits(chance, everywhere),
        yield_to=yields,
    )


def _a_rung(chance: Random, name: str) -> RungSpec:
    return RungSpec(
        name,
        do=tuple(_a_step(chance, f"{name}.{i}") for i in range(chance.choice([1, 1, 2]))),
        activate=tuple(_a_restart(chance) for _ in range(chance.choice([0, 0, 1]))),
        verify=tuple(
            replace(
                _a_probe(f"ready{i}"),
                after=seconds(chance.choice([0, 30])),
                for_=seconds(chance.choice([0, 10])),
            )
            for i in range(chance.choice([0, 1, 1, 1, 2]))
        ),
        on_failure=chance.choice(list(OnFailure)),
        on_resolve=chance.choice([OnFailure.REVERT] * 4 + [OnFailure.KEEP]),
        only_if=tuple(_a_probe("fit") for _ in range(chance.choice([0, 0, 0, 1]))),
        approval=chance.choice([None, None, None, 10 * MINUTE]),
        go_on=chance.random() < 0.15,
        once=chance.random() < 0.2,
    )


def _a_probe(question: str) -> ProbeSpec:
    return ProbeSpec("say", question)


def _a_step(chance: Random, name: str) -> StepSpec:
    if chance.random() < 0.2:
        return _a_restart(chance)
    at = chance.choice(["{target}#a", "{target}#b", "shared#a"])
    turn = Turn(at, f"set by {name}", safe=chance.random() < 0.7, blind=chance.random() < 0.2)
    return _step(chance, turn)


def _a_restart(chance: Random) -> StepSpec:
    turn = Turn("{target}#runs", "", back=False, safe=chance.random() < 0.3, blind=chance.random() < 0.2)
    return _step(chance, turn)


def _step(chance: Random, turn: Turn) -> StepSpec:
    optional = chance.random() < 0.15
    return StepSpec("turn", turn, seconds(30), retries=chance.randrange(3), optional=optional)


def _limits(chance: Random, everywhere: dict[str, Any]) -> Limits:
    total = chance.choice([2, 4, "count(up)"])
    blast = BlastRadius(total, chance.choice([1, 2, Fraction(1, 2)]))
    allow, deny = chance.choice(WINDOWS), chance.choice(WINDOWS)
    return Limits(
        hold=chance.choice([0, 1, 3]) * MINUTE,
        max_hold=chance.choice([10 * MINUTE, 4 * HOUR]),
        cooldown=chance.choice([0, 10]) * MINUTE,
        unknown_for=chance.choice([2, 10]) * MINUTE,
        budget=Rate(chance.choice([1, 2, 3, 9, 9]), chance.choice([10 * MINUTE, HOUR])),
        circuit=Circuit(Rate(chance.choice([1, 2, 9]), 6 * HOUR), chance.choice([1, 24]) * HOUR),
        protected=chance.choice([()] * 8 + [("t1",), ("*#b",)]),
        windows=Windows((allow,) * (chance.random() < 0.05), (deny,) * (chance.random() < 0.1)),
        blast_radius=blast if chance.random() < 0.2 else None,
        **everywhere,
    )


# --- a rung, ready to begin ---


def planned(state: Incident, rule: Rule, rung: int) -> Plan:
    """Render a rung for an incident: the target is the only value that its templates ask for."""
    spec, target = rule.ladder[rung], state.target
    do = tuple(_planned(step, target) for step in spec.do)
    reverts = tuple(step.params.back for step in do)  # type: ignore[attr-defined]
    held = (step for step, back in zip(do, reverts, strict=True) if back)
    return Plan(
        only_if=tuple(_asked(probe) for probe in spec.only_if),
        do=do,
        activate=tuple(_planned(step, target) for step in spec.activate),
        verify=tuple(_asked(probe) for probe in spec.verify),
        resources=tuple(dict.fromkeys(step.params.at for step in held)),  # type: ignore[attr-defined]
        reverts=reverts,
    )


def question_of(spec: ProbeSpec) -> str:
    """Return what a probe asks, in a word."""
    return spec.params if isinstance(spec.params, str) else "is it over"


def _planned(spec: StepSpec, target: str) -> PlannedStep:
    turn: Any = replace(spec.params, at=spec.params.at.replace("{target}", target))
    return PlannedStep(TURNING, turn, spec)


def _asked(spec: ProbeSpec) -> PlannedProbe:
    nothing: Any = None
    return PlannedProbe(nothing, nothing, spec)

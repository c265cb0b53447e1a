"""Chances: one rule with every key that `decide` knows, by chance."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from tests.timelines import probe, rule, rung, seconds, step

from stopgap.rule import Limits, Mode, OnFailure, Rule

MANUAL = "manual"  # the action of a step that a person does


def a_rule(chance: Random) -> Rule:
    """Return a rule of one to three rungs."""

    def a_step() -> Any:
        plain = step(retries=chance.randrange(3), optional=chance.random() < 0.2)
        by_hand = chance.random() < 0.1
        return replace(plain, action=MANUAL, timeout=timedelta(minutes=10)) if by_hand else plain

    def a_probe() -> Any:
        return probe(for_=seconds(chance.choice([0, 10])), after=seconds(chance.choice([0, 30])))

    def a_rung() -> Any:
        return rung(
            *(a_step() for _ in range(chance.randrange(1, 4))),
            verify=tuple(a_probe() for _ in range(chance.randrange(3))),
            on_failure=chance.choice(list(OnFailure)),
            on_resolve=chance.choice([OnFailure.REVERT, OnFailure.REVERT, OnFailure.KEEP]),
            only_if=tuple(probe() for _ in range(chance.choice([0, 0, 0, 1]))),
            approval=chance.choice([None, None, None, timedelta(minutes=10)]),
            go_on=chance.random() < 0.2,
            once=chance.random() < 0.2,
        )

    ladder = (
        replace(
            a_rung(), name=f"way {i}", activate=tuple(a_step() for _ in range(chance.choice([0, 0, 1, 2])))
        )
        for i in range(chance.randrange(0, 5) or chance.randrange(2))
    )
    return replace(
        rule(recovered=tuple(probe() for _ in range(chance.choice([0, 1, 1, 2])))),
        ladder=tuple(ladder),
        mode=chance.choice([Mode.AUTO] * 9 + [Mode.APPROVE]),
        limits=Limits(hold=timedelta(minutes=chance.choice([0, 5]))),
    )

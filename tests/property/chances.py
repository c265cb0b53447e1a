"""Chances: one rule with every key that `decide` knows, by chance."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from tests.timelines import probe, rule, rung, seconds, step

from stopgap.rule import Limits, OnFailure, Rule


def a_rule(chance: Random) -> Rule:
    def a_rung() -> Any:
        steps = (
            step(retries=chance.randrange(3), optional=chance.random() < 0.2)
            for _ in range(chance.randrange(1, 3))
        )
        return rung(
            *steps,
            activate=chance.randrange(2),
            verify=tuple(
                probe(for_=seconds(chance.choice([0, 10])), after=seconds(chance.choice([0, 30])))
                for _ in range(chance.randrange(3))
            ),
            on_failure=chance.choice(list(OnFailure)),
            on_resolve=chance.choice([OnFailure.REVERT, OnFailure.REVERT, OnFailure.KEEP]),
            approval=chance.choice([None, None, None, timedelta(minutes=10)]),
            go_on=chance.random() < 0.15,
            once=chance.random() < 0.2,
        )

    return rule(
        *(replace(a_rung(), name=f"way {i}") for i in range(chance.randrange(1, 4))),
        recovered=tuple(probe() for _ in range(chance.choice([0, 1, 1, 2]))),
        limits=Limits(hold=timedelta(minutes=chance.choice([0, 5]))),
    )

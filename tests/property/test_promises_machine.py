"""Whatever happens, in whatever order, the ten promises hold on the pure core; and when it is over, nothing is left behind."""

import os
import secrets
import time

import pytest
from hypothesis import HealthCheck, Phase as Stage, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.property.machine import DONE, SEEN, Promises

AT_LEAST = 20_000
SPAN = 100  # steps of one world
WORLDS = 50  # of one run: then another seed
ENOUGH = 5  # violations

REFUSALS = """brake budget_global budget_rule circuit_open cooldown blast_radius outside_window reconciling
    resource_held silenced storm target_busy yielded"""
ENDINGS = """approval_denied approval_expired ladder_exhausted protected_target revert_failed rule_removed
    unknown_outcome unsafe_label verdict_unknown"""
LINES = """alert_joined approved brake_released drifted kept lease_ending lease_expired lease_extended mitigated
    mitigation_lost probe_unhealthy probe_unknown refired reverted rung_failed rung_held shadow_planned step_unknown"""
REACHED = {
    *(f"refused: {reason}" for reason in REFUSALS.split()),
    *(f"handed_over: {reason}" for reason in ENDINGS.split()),
    *("rung_skipped: precondition_failed", "rung_skipped: precondition_unknown", "flap 1"),
    *LINES.split(),
}
"""What every run must come to, else it proves nothing of it."""


def run(number: int, *, shrink: bool = False) -> None:
    """Run some worlds, all by the chance of one number."""
    stages = (Stage.generate, Stage.shrink) if shrink else (Stage.generate,)
    run_state_machine_as_test(
        seed(number)(Promises),
        settings=settings(
            max_examples=WORLDS,
            stateful_step_count=SPAN,
            database=None,
            deadline=None,
            phases=stages,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


def soaks(wanted: int, number: int) -> list[str]:
    """Run worlds until so many steps are done, under one number after the other; returns what broke."""
    broken, began = [], time.monotonic()
    while DONE["steps"] < wanted and len(broken) < ENOUGH:
        try:
            run(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the number that shows it again
            broken.append(f"make soak SEED={number} shows: {type(error).__name__}: {error}")
            print(broken[-1], *getattr(error, "__notes__", ()), sep="\n", flush=True)
        number += 1
        if number % 25 == 0:
            print(f"{DONE['steps']} steps so far", flush=True)
    took = time.monotonic() - began
    print(
        f"{DONE['steps']} steps, {DONE['worlds']} worlds, {DONE['moves']} moves, {took:.0f} s, {len(broken)} violations"
    )
    return broken


@pytest.mark.timeout(0 if {"SOAK", "SEED"} & os.environ.keys() else 300)
@pytest.mark.no_cover  # measuring lines would cost three times the time, and every branch has a test of its own
def test_the_ten_promises_hold_whatever_happens():
    DONE.clear()
    if "SEED" in os.environ:
        run(int(os.environ["SEED"]), shrink=True)
        return
    wanted = int(os.environ.get("SOAK", AT_LEAST))
    assert not soaks(wanted, secrets.randbits(32) if "SOAK" in os.environ else 0)
    assert DONE["steps"] >= wanted
    assert REACHED - SEEN.keys() == set(), "the machine does not reach what it is to judge"

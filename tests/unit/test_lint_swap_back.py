"""What recovery would make worse: a good state that is exchanged for the bad one again."""

from datetime import timedelta
from typing import Any

import pytest

from stopgap.action import Danger
from stopgap.config.lints import remarks
from stopgap.config.lints.subject import Remark, Subject
from stopgap.config.nature import Nature
from stopgap.rule import OnFailure, Rule, RungSpec, StepSpec

RESTORE: tuple[str, Any] = ("restore", {"from": "/var/backups/x", "to": "sqlite:///x.db"})
MOVE: tuple[str, Any] = ("files", {"under": "/srv/x", "do": {"move": {"to": "/mnt/x"}}})


def said(*rungs: tuple[tuple[tuple[str, Any], ...], OnFailure], reverts: bool = True) -> list[Remark]:
    """Return what is said of rungs, each with its steps and its `on_resolve`."""
    ladder, natures = [], {}
    for i, (steps, on_resolve) in enumerate(rungs):
        do = tuple(StepSpec(action, params, timedelta(seconds=5)) for action, params in steps)
        ladder.append(RungSpec(f"rung {i}", do, on_resolve=on_resolve))
        natures |= {
            ("ladder", i, "do", j): Nature(Danger.BOUNDED, reverts=reverts) for j in range(len(steps))
        }
    rule = Rule("p", "one", "", (), ladder=tuple(ladder))
    return [each for each in remarks(Subject(rule, natures)) if each.code == "swap-back"]


def test_a_database_that_recovery_exchanges_for_the_bad_one_is_odd():
    stop = ("service", {"at": "systemd://x", "state": "stopped"})
    (remark,) = said(((stop, RESTORE), OnFailure.REVERT))
    assert remark.path == ("ladder", 0, "do", 1)
    assert "the state that was bad comes back" in remark.text
    assert remark.hint == "write on_resolve: keep in its rung"


def test_files_that_come_back_and_fill_the_disk_are_odd():
    (remark,) = said(((MOVE,), OnFailure.REVERT))
    assert "the files that were in the way are there again" in remark.text


@pytest.mark.parametrize("step", [RESTORE, MOVE])
def test_what_stays_after_recovery_is_well(step):
    assert said(((step,), OnFailure.KEEP)) == []


@pytest.mark.parametrize(
    "step", [("files", {"under": "/srv/x", "do": "delete"}), ("flag", {"at": "env:///x"}), ("wait", "30s")]
)
def test_what_is_no_exchange_may_be_taken_back(step):
    assert said(((step,), OnFailure.REVERT)) == []


def test_each_rung_is_told_once():
    remarks_of = said(((RESTORE, RESTORE), OnFailure.REVERT), ((MOVE,), OnFailure.REVERT))
    assert [each.path for each in remarks_of] == [("ladder", 0, "do", 0), ("ladder", 1, "do", 0)]

"""Unreachable rung: one below a rung that always succeeds, so that the ladder ends there."""

from collections.abc import Iterator

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.config.node import Path
from stopgap.rule import RungSpec


def unreachable_rung(subject: Subject) -> Iterator[Remark]:
    """Find the first rung that nothing leads to: the one above is never skipped, cannot fail and does not go on."""
    last = len(subject.rule.ladder) - 1
    for at, rung in subject.rungs():
        if at[1] != last and not rung.go_on and _succeeds(subject, at, rung):
            below = ("ladder", int(at[1]) + 1)
            text = "this rung is never reached: all steps above it are optional, and nothing verifies them"
            hint = "add verify: [{…}] or only_if: [{…}] to the rung above, or go_on: true"
            yield Remark(below, Odd.UNREACHABLE_RUNG, text, hint)
            return


def _succeeds(subject: Subject, at: Path, rung: RungSpec) -> bool:
    skipped = rung.only_if or rung.once  # once: it may be skipped along a chain of flaps
    return not (rung.verify or skipped) and all(step.optional for _, step, _ in subject.steps(at))

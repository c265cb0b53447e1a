"""Gentlest first: a rung that destroys, or does what can be neither taken back nor repeated, above one that is gentler."""

from collections.abc import Iterator

from stopgap.action import Danger
from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.config.node import Path

_PASSES = frozenset({"restart"})  # cannot be taken back either, and need not be: it is over by itself
_DESTRUCTIVE = 2


def gentlest_first(subject: Subject) -> Iterator[Remark]:
    """Find the harsh rungs that stand above gentler ones; an `only_if` says when a rung is right, whatever its place."""
    levels = [_harshness(subject, at) for at, _ in subject.rungs()]
    for i, (at, rung) in enumerate(subject.rungs()):
        mine, below = levels[i], [level for level in levels[i + 1 :] if level is not None]
        if mine is not None and below and min(below) < mine and not rung.only_if:
            what = "destroys" if mine == _DESTRUCTIVE else "can be neither taken back nor repeated"
            text = f"what this rung does {what}, and a gentler one stands below it"
            hint = "put the gentlest first, or say with only_if when it is right"
            yield Remark(at, Odd.HARSH_FIRST, text, hint)


def _harshness(subject: Subject, at: Path) -> int | None:
    """Say how harsh a rung is: 0 gentle, 1 for good, 2 destructive; None where it changes nothing."""
    acts = [(step.action, nature) for _, step, nature in subject.steps(at, "do") if nature.acts]
    if not acts:
        return None
    if any(nature.danger is Danger.DESTRUCTIVE for _, nature in acts):
        return _DESTRUCTIVE
    return int(any(nature.final and action not in _PASSES for action, nature in acts))

"""Unverified: a rung that acts, and no probe looks whether it helped."""

from collections.abc import Iterator

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject


def unverified(subject: Subject) -> Iterator[Remark]:
    """Find the rungs that nothing verifies; what a person does by hand is the person's to verify."""
    last = len(subject.rule.ladder) - 1
    for at, rung in subject.rungs():
        if not rung.verify and any(nature.acts for _, _, nature in subject.steps(at, "do")):
            text = "nothing verifies what this rung does"
            if at[1] != last and not rung.go_on:
                text += ": the next rung is tried only when a step of this one fails"
            hint = "add verify: [{…}] with a probe of its effect"
            yield Remark(at, Odd.UNVERIFIED, text, hint)

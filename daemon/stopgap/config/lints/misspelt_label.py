"""Misspelt label: a label that no alert has, and that is nearly one that alerts have.

A target without it is another one than was meant, and a step without it is skipped when the alert comes. Nobody knows here all the
labels of an alert, so only what is nearly, and not quite, a well-known name is odd.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject, labels_in
from stopgap.config.node import Path

USUAL = frozenset(
    ("alertname", "cluster", "container", "deployment", "instance", "namespace", "service", "severity")
)
ALIKE = 0.85  # of get_close_matches: some one slip in eight letters
SHORTEST = 5  # letters: shorter names are too much alike


def misspelt_label(subject: Subject) -> Iterator[Remark]:
    """Find each label that is asked for and is nearly a known one, once."""
    asked: dict[str, Path] = {}
    for path, label in _asked(subject):
        if len(label) >= SHORTEST:
            asked.setdefault(label, path)
    if not asked:
        return
    known = USUAL | {matcher.name for matcher in subject.rule.matchers}
    known |= {label for alert in subject.alerts for label in alert.labels}
    for label, path in asked.items():
        near = get_close_matches(label, sorted(known), 1, ALIKE)
        if not near or label in known or _made(label, subject):
            continue
        text = f"labels.{label} is no label that is known here: an alert without it is not what was meant"
        yield Remark(path, Odd.MISSPELT_LABEL, text, f"did you mean `{near[0]}`?")


def _asked(subject: Subject) -> Iterator[tuple[Path, str]]:
    rule = subject.rule
    yield from labels_in(rule.target, ("target",))
    yield from ((("per", i), label) for i, label in enumerate(rule.per))
    for at, _ in subject.rungs():
        for path, step, _ in subject.steps(at):
            yield from labels_in(step.params, (*path, "params"))
    for path, probes in subject.probes():
        for i, probe in enumerate(probes):
            yield from labels_in(probe.params, (*path, i, "params"))


def _made(label: str, subject: Subject) -> bool:
    """Tell whether the expression of an alert names it."""
    word = re.compile(rf"\b{re.escape(label)}\b")
    return any(word.search(alert.expr) for alert in subject.alerts)

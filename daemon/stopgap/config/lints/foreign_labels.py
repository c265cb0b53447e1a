"""Foreign labels: labels that steps use and the target does not have, so that one incident stands for several of them.

Alerts that differ in such a label share an incident: the step is planned for one of them, or for none, because templates know only
the labels that all of them share; and two incidents of one target would act on different things under one lock.
"""

from collections.abc import Iterator

from stopgap.config.alerts import AlertRule
from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject, labels_in
from stopgap.config.values import values_of
from stopgap.plan import references
from stopgap.rule import TARGET_LABELS, Rule


def foreign_labels(subject: Subject) -> Iterator[Remark]:
    """Find each label that steps use and the target leaves open, once."""
    told: set[str] = set()
    settled: frozenset[str] | None = None
    for at, _ in subject.rungs():
        for path, step, nature in subject.steps(at):
            if not nature.acts or not references(step.params):
                continue
            for leaf, label in labels_in(step.params, (*path, "params")):
                settled = _settled(subject) if settled is None else settled
                if label in settled | told or leaf[len(path) + 1] in nature.prose:
                    continue
                told.add(label)
                text = (
                    f"the target does not tell labels.{label} apart: alerts that differ in it share one incident,"
                    " and this step acts for one of them or for none"
                )
                hint = f"add per: {label}, or let the target name it"
                yield Remark(leaf, Odd.FOREIGN_LABEL, text, hint)


def _settled(subject: Subject) -> frozenset[str]:
    """Return the labels of which all alerts of one incident have the same value."""
    rule = subject.rule
    fixed = {matcher.name for matcher in rule.matchers if (values := values_of(matcher)) and len(values) == 1}
    fixed |= _static(subject.alerts)
    target = (
        _default(rule, fixed) if rule.target is None else {label for _, label in labels_in(rule.target, ())}
    )
    return frozenset({*fixed, *target, *rule.per})


def _static(alerts: tuple[AlertRule, ...]) -> set[str]:
    """Return the labels that all alerts set alike."""
    if not alerts:
        return set()
    first, *others = alerts
    return {
        name
        for name, value in {**first.labels, "alertname": first.name}.items()
        if all({**other.labels, "alertname": other.name}.get(name) == value for other in others)
    }


def _default(rule: Rule, fixed: set[str]) -> set[str]:
    """Return the labels one of which is the target where a rule names none: alerts with an `instance` have a `job` too."""
    first, second, _ = TARGET_LABELS
    present = {*fixed, *(matcher.name for matcher in rule.matchers if not matcher.matches({}))}
    return {first} if first in present else {first, second}

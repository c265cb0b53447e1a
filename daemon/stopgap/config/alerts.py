"""Alerts: the alerting rules of Prometheus that stand beside a pack's rules, as far as they tell what its rules will be given."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from stopgap.config.lookback import lookback
from stopgap.config.node import Mark, Node
from stopgap.config.values import values_of
from stopgap.duration import parse_duration
from stopgap.matcher import Matcher, Op

NAME = "alertname"
MOST_COMPARED = 200  # alerts of a pack with which a rule is compared that lists no names


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule. `labels` are those that it sets itself; what its expression and Prometheus add, nobody knows here."""

    name: str
    mark: Mark
    labels: Mapping[str, str] = field(default_factory=dict)
    expr: str = ""
    for_: timedelta = timedelta()
    keep: timedelta = timedelta()

    @property
    def lookback(self) -> timedelta:
        """Return for how long what is over can go on making it fire, or fire again."""
        return self.for_ + lookback(self.expr) + self.keep

    def may_match(self, matchers: Iterable[Matcher]) -> bool:
        """Tell whether matchers can all hold, its unknown labels being what they want."""
        known = {**self.labels, NAME: self.name}
        return all(matcher.name not in known or matcher.matches(known) for matcher in matchers)


class Alerts:
    """The alerting rules of one pack."""

    def __init__(self, rules: Iterable[AlertRule] = ()) -> None:
        self.rules: list[AlertRule] = []
        self._named: dict[str, list[AlertRule]] = {}
        self.add(rules)

    def add(self, rules: Iterable[AlertRule]) -> None:
        """Take those of one more file."""
        for rule in rules:
            self.rules.append(rule)
            self._named.setdefault(rule.name, []).append(rule)

    def of(self, matchers: Sequence[Matcher]) -> tuple[AlertRule, ...]:
        """Return those that matchers may take."""
        if not self.rules:
            return ()
        names = names_in(matchers)
        near: Iterable[AlertRule] = self.rules[:MOST_COMPARED]
        if names is not None:
            near = (rule for name in sorted(names) for rule in self._named.get(name, ()))
        return tuple(rule for rule in near if rule.may_match(matchers))

    def misses(self, matchers: Sequence[Matcher]) -> bool:
        """Tell whether matchers ask for an alert by name, and there is none for them."""
        asks = any(matcher.name == NAME and matcher.op in {Op.EQUAL, Op.MATCHES} for matcher in matchers)
        known = len(self.rules) <= MOST_COMPARED or names_in(matchers) is not None
        return bool(self.rules) and asks and known and not self.of(matchers)


def names_in(matchers: Iterable[Matcher]) -> frozenset[str] | None:
    """Return the only alert names that matchers can take, None where they list none."""
    for matcher in matchers:
        if matcher.name == NAME and (names := values_of(matcher)) is not None:
            return names
    return None


def alerts_in(node: Node) -> Iterator[AlertRule]:
    """Find the alerting rules of a file; what is wrong with it, Prometheus says (`promtool check rules`)."""
    groups = node.within(("groups",))
    for group in (groups.items or ()) if groups is not None else ():
        rules = group.within(("rules",))
        for rule in (rules.items or ()) if rules is not None else ():
            name = rule.within(("alert",))
            if name is not None and name.text:
                yield _alert(name, rule)


def _alert(name: Node, rule: Node) -> AlertRule:
    labels = rule.within(("labels",))
    static = {
        key: label.text
        for key, label in ((labels.table or {}) if labels is not None else {}).items()
        if "{{" not in label.text
    }
    expr = rule.within(("expr",))
    return AlertRule(
        name.text,
        name.mark,
        static,
        expr.text if expr is not None else "",
        _time(rule, "for"),
        _time(rule, "keep_firing_for"),
    )


def _time(rule: Node, key: str) -> timedelta:
    node = rule.within((key,))
    try:
        return parse_duration(node.text) if node is not None else timedelta()
    except ValueError:
        return timedelta()

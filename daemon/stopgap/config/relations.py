"""Relations: what only all rules together show: whom a rule yields to, and which rules act on the same alerts."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import NamedTuple

from stopgap.config.alerts import names_in
from stopgap.config.codes import Odd, Wrong
from stopgap.config.findings import Findings, did_you_mean
from stopgap.config.node import Mark
from stopgap.matcher import Matcher, Op
from stopgap.rule import Mode, Rule

ALERTNAME = "alertname"
MOST_CYCLES = 20  # that are said at once
MOST_NAMES = 20  # of the alert names that one rule lists
MOST_COMPARED = 200  # rules of one alert name that each is compared with


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule's name stands, each entry of its `yield_to`, and its own matchers."""

    name: Mark
    yields: tuple[Mark, ...] = ()
    match: Mark | None = None


class Relations:
    """Judges loaded rules.

    `named` are all rules that the files name, those that do not load too; `hidden` tells whether a pack may have other rules,
    because only a part of the directory was loaded.
    """

    def __init__(
        self,
        rules: Mapping[str, Rule],
        places: Mapping[str, Place],
        named: Collection[str],
        findings: Findings,
        hidden: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._rules = rules
        self._places = places
        self._named = frozenset(named)
        self._findings = findings
        self._hidden = hidden

    def judge(self) -> None:
        """Tell what is wrong, then what is odd."""
        for rule in self._rules.values():
            for other, mark in zip(rule.yield_to, self._places[rule.id].yields, strict=True):
                self._yield(rule, other, mark)
        self._cycles()
        self._overlaps()

    def _yield(self, rule: Rule, other: str, mark: Mark) -> None:
        if other == rule.id:
            self._findings.error(mark, "a rule cannot yield to itself", "remove it", code=Wrong.YIELD_CYCLE)
        elif other not in self._named:
            pack, _, name = other.partition("/")
            if self._hidden(pack):
                text = f"`{other[:100]}` is not among the rules that were loaded"
                self._findings.warning(mark, text, "load them all", code=Odd.UNSEEN_RULE)
                return
            start = f"{pack}/"
            near = [each.removeprefix(start) for each in self._named if each.startswith(start)]
            hint = did_you_mean(name, near, "write the name of a rule of this pack, or pack/name")
            self._findings.error(mark, f"no rule is called `{other[:100]}`", hint, code=Wrong.UNKNOWN_RULE)

    def _cycles(self) -> None:
        """Tell of rules that wait for each other: none of them would ever act."""
        graph = {rule.id: {*rule.yield_to} - {rule.id} for rule in self._rules.values() if rule.yield_to}
        for _ in range(MOST_CYCLES):
            try:
                TopologicalSorter(graph).prepare()
            except CycleError as cycle:
                ring: list[str] = list(reversed(cycle.args[1]))  # each yields to the one after it
                at = min(range(len(ring) - 1), key=ring.__getitem__)
                first, second = ring[at], ring[at + 1]
                graph[first].discard(second)
                mark = self._places[first].yields[self._rules[first].yield_to.index(second)]
                way = " → ".join([*ring[at:-1], *ring[:at], first])
                text = f"these rules wait for each other: {way[:300]}"
                self._findings.error(mark, text, "remove one yield_to", code=Wrong.YIELD_CYCLE)
            else:
                return

    def _overlaps(self) -> None:
        """Warn of rules that act on the same alerts, each once."""
        by_alert: dict[str, list[_Known]] = {}
        for rule in self._rules.values():
            labels = _labels(rule)
            if rule.mode is Mode.SHADOW or not rule.ladder or labels is None:
                continue
            told = False
            for name in _names(rule):
                known = _Known(rule, {**labels, ALERTNAME: name})
                others = by_alert.setdefault(name, [])
                told = told or self._overlap(known, others)
                others.append(known)

    def _overlap(self, known: "_Known", others: Iterable["_Known"]) -> bool:
        """Warn of the first rule with which one can act on the same alert, and tell whether there is one."""
        rule = known.rule
        for other, theirs in islice(others, MOST_COMPARED):
            if _may_meet(rule, known.labels, other, theirs) and not self._connected(rule, other):
                name = other.name if other.pack == rule.pack else other.id
                alert = f"{ALERTNAME}={known.labels[ALERTNAME]!r}"
                text = f"`{rule.name}` and `{other.id}` can act on the same alert ({alert})"
                hint = f"add yield_to: [{name}], or a matcher that tells them apart"
                self._findings.warning(self._places[rule.id].name, text, hint, code=Odd.OVERLAP)
                return True
        return False

    def _connected(self, one: Rule, other: Rule) -> bool:
        """Tell whether one of two rules waits for the other, be it through others."""
        return other.id in self._waited_for(one) or one.id in self._waited_for(other)

    def _waited_for(self, rule: Rule) -> set[str]:
        found: set[str] = set()
        ahead = [*rule.yield_to]
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += self._rules[name].yield_to if name in self._rules else ()
        return found


class _Known(NamedTuple):
    """A rule, and the labels that the alerts have for certain that it takes under one name."""

    rule: Rule
    labels: Mapping[str, str]


def _names(rule: Rule) -> tuple[str, ...]:
    """Return the alert names that a rule lists, as far as there are not too many."""
    found = names_in(rule.matchers) or ()
    own = [matcher for matcher in rule.matchers if matcher.name == ALERTNAME]
    held = (name for name in sorted(found) if all(matcher.matches({ALERTNAME: name}) for matcher in own))
    return tuple(islice(held, MOST_NAMES))


def _labels(rule: Rule) -> dict[str, str] | None:
    """Return the labels that a rule's alerts have for certain, None if it has none that could match."""
    found: dict[str, str] = {}
    for matcher in rule.matchers:
        if matcher.op is Op.EQUAL and found.setdefault(matcher.name, matcher.value) != matcher.value:
            return None
    return found if all(_allows(matcher, found) for matcher in rule.matchers) else None


def _may_meet(one: Rule, labels: Mapping[str, str], other: Rule, theirs: Mapping[str, str]) -> bool:
    """Tell whether one alert very likely matches both: where regexes differ, nobody knows."""
    if any(theirs.get(name, value) != value for name, value in labels.items()):
        return False
    both = {**labels, **theirs}
    if not all(_allows(matcher, both) for matcher in (*one.matchers, *other.matchers)):
        return False
    mine, other_regexes = dict(_regexes(one)), dict(_regexes(other))
    return all(other_regexes.get(name, value) == value for name, value in mine.items() if name not in both)


def _allows(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    return matcher.name not in labels or matcher.matches(labels)


def _regexes(rule: Rule) -> Iterator[tuple[str, str]]:
    for matcher in rule.matchers:
        if matcher.op is Op.MATCHES:
            yield matcher.name, matcher.value

"""Stray: why no rule takes an alert that a test lets fire. Pure."""

from collections.abc import Mapping

from stopgap.rule import Rule
from stopgap.rulebook import Rulebook

ALERTNAME = "alertname"


def stray(rulebook: Rulebook, labels: Mapping[str, str]) -> str:
    """Say what the nearest rule misses in an alert; empty where a rule takes it."""
    if rulebook.index.find(labels) or not rulebook.rules:
        return ""
    nearest = min(rulebook.rules.values(), key=lambda rule: _failed(rule, labels))
    matcher = next(matcher for matcher in nearest.matchers if not matcher.matches(labels))
    value = labels.get(matcher.name)
    has = f"no label {matcher.name}" if value is None else f'{matcher.name}="{value}"'
    return f"no rule takes {labels.get(ALERTNAME, '')}: {nearest.id} wants {matcher}, and it has {has}"


def _failed(rule: Rule, labels: Mapping[str, str]) -> int:
    return sum(not matcher.matches(labels) for matcher in rule.matchers)

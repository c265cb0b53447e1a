"""Expectation: what must be so at an instant, held against what a play showed until then. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stopgap.audience import DEFAULT, clock_words
from stopgap.incident import EventKind as K, Incident
from stopgap.rule import Rule
from stopgap.simulate.scene import about
from stopgap.suite.form import ExpectKeys
from stopgap.suite.seen import Seen

ANYTHING = "anything"
MOST = 5  # incidents or alerts that are named where none fits


@dataclass(frozen=True, slots=True)
class Miss:
    """One thing that is not as it was expected."""

    key: str
    expected: str
    got: str


def misses(expected: ExpectKeys, seen: Seen, values: Callable[[str], Any]) -> tuple[Miss, ...]:
    """Return all that is not as expected; `values` tells what a resource is at."""
    return tuple(_misses(expected, seen, values))


def _misses(expected: ExpectKeys, seen: Seen, values: Callable[[str], Any]) -> Iterator[Miss]:
    if expected.incidents is not None and expected.incidents != len(seen.states):
        yield Miss("incidents", str(expected.incidents), str(len(seen.states)))
    for resource, wanted in expected.values.items():
        if str(values(resource)) != wanted:
            yield Miss(f"values.{resource}", wanted, str(values(resource)))
    if not _asks_for_one(expected):
        return
    state = seen.chosen(expected.rule, expected.target, expected.incident)
    if state is None:
        yield Miss("incident", _meant(expected), _there(seen))
        return
    yield from _standing(expected, state)
    yield from _course(expected, state, seen)
    yield from _hearing(expected, seen.heard(state.id))
    yield from _in_vain(expected, seen.rules.values())


def _asks_for_one(expected: ExpectKeys) -> bool:
    """Tell whether anything but what concerns no incident is expected."""
    return bool(expected.model_fields_set - {"at", "incidents", "values"})


def _meant(expected: ExpectKeys) -> str:
    """Say which incident is asked for."""
    number = f"number {expected.incident}" if expected.incident is not None else "one"
    of = f" of {expected.rule}" if expected.rule is not None else ""
    return f"{number}{of}{f' on {expected.target}' if expected.target is not None else ''}"


def _there(seen: Seen) -> str:
    """Say which incidents there are instead, and which alerts opened none."""
    opened = [f"{state.rule} on {state.target}" for state in seen.states.values()]
    there = f"only {_list(opened[:MOST])}{', …' if len(opened) > MOST else ''}" if opened else "none opened"
    return "; ".join((there, *list(seen.strays)[:MOST]))


def _standing(expected: ExpectKeys, state: Incident) -> Iterator[Miss]:
    is_now: dict[str, Any] = {
        "phase": state.phase,
        "outcome": state.outcome or "none",
        "reason": state.reason,
        "handed_over": state.handed_over,
        "severity": state.severity,
        "flaps": state.flaps,
        "rung": state.rungs[max(state.rungs)].name if state.rungs else "",
    }
    for key, got in is_now.items():
        wanted = getattr(expected, key)
        if wanted is not None and wanted != got:
            yield Miss(key, _word(wanted), _word(got))
    if expected.held is not None:
        holds = sorted(name for number in state.held for name in state.rungs[number].resources)
        if len(holds) != len(expected.held) or not all(_any(pattern, holds) for pattern in expected.held):
            yield Miss("held", _list(expected.held), _list(holds))


def _course(expected: ExpectKeys, state: Incident, seen: Seen) -> Iterator[Miss]:
    started = seen.started(state.id)
    events = [str(event.kind) for event in seen.lines[state.id]]
    reasons = [
        str(event.detail.get("reason", ""))
        for event in seen.lines[state.id]
        if event.kind in (K.REFUSED, K.RUNG_SKIPPED)
    ]
    if not _in_order(expected.steps, started, about):
        yield Miss("steps", _list(expected.steps), _list(started))
    if not _in_order(expected.events, events, str.__eq__):
        yield Miss("events", _list(expected.events), _list(events))
    if missing := set(expected.refused) - set(reasons):
        yield Miss("refused", _list(sorted(missing)), _list(dict.fromkeys(reasons)))
    unwanted: dict[str, Iterable[str]] = {
        "not_steps": [
            words for words in started if any(about(pattern, words) for pattern in expected.not_steps)
        ],
        "not_events": sorted(set(expected.not_events) & set(events)),
        "not_refused": sorted(set(expected.not_refused) & set(reasons)),
    }
    for key, got in unwanted.items():
        if got:
            yield Miss(key, f"none of {_list(getattr(expected, key))}", _list(got))


def _hearing(expected: ExpectKeys, heard: Mapping[str, Sequence[str]]) -> Iterator[Miss]:
    for contact, wanted in expected.told.items():
        known = heard.get(contact, [])
        missing = [word for word in wanted if word not in known and not (word == ANYTHING and known)]
        if missing:
            yield Miss(f"told.{contact}", _list(missing), _list(known))
    for contact, unwanted in expected.not_told.items():
        got = [word for word in heard.get(contact, []) if ANYTHING in unwanted or word in unwanted]
        if got:
            yield Miss(f"not_told.{contact}", f"none of {_list(unwanted)}", _list(got))


def _in_vain(expected: ExpectKeys, rules: Iterable[Rule]) -> Iterator[Miss]:
    """Find what nobody could ever be told: a misspelt word would prove nothing."""
    if not expected.not_told:
        return
    entries = [entry for rule in rules for entry in rule.escalate]
    contacts = {DEFAULT, *(contact for entry in entries for contact in entry.notify)}
    words = {ANYTHING, *map(str, K), *(clock_words(entry) for entry in entries if entry.after or entry.every)}
    for contact, unwanted in expected.not_told.items():
        if contact not in contacts:
            yield Miss(f"not_told.{contact}", "", f"no rule tells {contact} of anything")
        if unknown := [word for word in unwanted if word not in words]:
            yield Miss(f"not_told.{contact}", "", f"no event, and no clock of a rule: {_list(unknown)}")


def _in_order(wanted: Sequence[str], found: Sequence[str], fits: Callable[[str, str], Any]) -> bool:
    """Tell whether all that is wanted is found in this order, whatever stands between."""
    rest = iter(found)
    return all(any(fits(one, each) for each in rest) for one in wanted)


def _any(pattern: str, names: Iterable[str]) -> bool:
    return any(about(pattern, name) for name in names)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or "none"


def _list(words: Iterable[object]) -> str:
    return ", ".join(map(str, words)) or "none"

"""Words: a backtest in rows and sentences, which the terminal and the page share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stopgap.backtest.result import Alerts, Overlap, Result, Score, StormSpell
from stopgap.duration import span

ALL = "all rules"
HEADS = ("incidents", "started", "helped", "reverted", "refused", "handed over", "longest hold")
LONGEST = 120  # characters of one value
NAMED = 10  # alerts that are named


@dataclass(frozen=True, slots=True)
class Section:
    """A table with its title; without rows there is nothing to say."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    whole: int = 2  # columns that are never cut where room is short


def intro(result: Result) -> tuple[str, ...]:
    """Say in sentences what was replayed."""
    period, alerts = result.period, result.alerts
    length = span(period.until - period.since)
    already = f", {alerts.already} of them since before" if alerts.already else ""
    return (
        f"What {result.rules_from} would have done from {when(period.since)} to {when(period.until)} ({length}).",
        f"History: {result.source}: {alerts.distinct} alerts fired{already}, {alerts.transitions} transitions.",
        *_untaken(alerts),
    )


def _untaken(alerts: Alerts) -> tuple[str, ...]:
    """Say which alerts no rule takes; of no alerts there is nothing to say."""
    if not alerts.unmatched:
        return ("A rule takes each of them.",) if alerts.distinct else ()
    left = len(alerts.untaken) - NAMED
    more = f" and {left} more" if left > 0 else ""
    names = ", ".join(name[:LONGEST] for name in alerts.untaken[:NAMED])
    return (f"No rule takes {alerts.unmatched} of these alerts: {names}{more}.",)


def totals(result: Result) -> tuple[tuple[str, str], ...]:
    """Return the numbers that matter most, each with its word."""
    total = result.total
    return (
        ("incidents", str(total.incidents)),
        ("rungs started", str(total.mitigations)),
        ("mitigated", str(total.mitigated)),
        ("taken back", str(total.reverts)),
        ("refusals", str(sum(total.refusals.values()))),
        ("handed over", str(total.handed_over)),
        ("longest hold", longest(total)),
        ("past max_hold", str(total.past_max_hold)),
        ("messages", str(sum(total.messages.values()))),
        ("storms", str(len(result.storms))),
    )


def ranking(result: Result) -> list[tuple[str, tuple[str, ...]]]:
    """Return a row for all rules together, then one for each."""
    rows = [(ALL, cells(result.total))]
    return rows + [(name, cells(score)) for name, score in sorted(result.rules.items())]


def cells(score: Score) -> tuple[str, ...]:
    """Return what stands under HEADS."""
    numbers = (score.incidents, score.mitigations, score.mitigated, score.reverts)
    return (*map(str, numbers), str(sum(score.refusals.values())), str(score.handed_over), longest(score))


def sections(result: Result) -> tuple[Section, ...]:
    """Return all that is told in tables beside the ranking."""
    rules = result.rules
    return (
        Section("Refusals", ("times", "reason", "rule"), _counted(rules, "refusals")),
        Section("Handed over", ("times", "reason", "rule"), _counted(rules, "hand_overs")),
        Section("How they ended", ("incidents", "outcome", "rule"), _counted(rules, "outcomes")),
        Section("Holds", ("longest", "past max_hold", "since", "rule", "target"), _holds(rules), 3),
        Section("Budgets at the worst moment", ("left", "budget", "at", "rule"), _budgets(result), 3),
        Section(
            "Wanted by two at once",
            ("times", "first", "what", "rules"),
            [_overlap(one) for one in result.overlaps],
        ),
        Section("Storms", ("targets", "since", "until"), [_storm(one) for one in result.storms]),
        Section("Messages", ("messages", "contact", "rule"), _counted(rules, "messages")),
    )


def notes(result: Result) -> tuple[str, ...]:
    """Say on what all of it rests."""
    left_out = [f"{count} {what} are left out" for what, count in result.left_out.items()]
    return (*map(sentence, result.assumed), *map(sentence, result.caveats), *map(sentence, left_out))


def sentence(text: str) -> str:
    """Begin with a capital, end with a stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def when(at: datetime | None) -> str:
    """Write an instant for people, to the minute; everything is UTC."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%MZ}"


def longest(score: Score) -> str:
    """Say how long the longest hold was."""
    return span(score.longest_hold.lasted) if score.longest_hold is not None else "-"


def _counted(rules: Mapping[str, Score], name: str) -> list[tuple[str, str, str]]:
    found = [
        (count, word, rule) for rule, score in rules.items() for word, count in getattr(score, name).items()
    ]
    return [(str(count), word.replace("_", " "), rule) for count, word, rule in sorted(found, key=_most)]


def _most(row: tuple[int, str, str]) -> tuple[int, str, str]:
    return -row[0], row[1], row[2]


def _holds(rules: Mapping[str, Score]) -> list[tuple[str, ...]]:
    found = [
        (score.longest_hold, score.past_max_hold, rule) for rule, score in rules.items() if score.longest_hold
    ]
    found.sort(key=lambda row: (-row[0].lasted, row[2]))
    return [(span(hold.lasted), str(past), when(hold.since), rule, hold.target) for hold, past, rule in found]


def _budgets(result: Result) -> list[tuple[str, ...]]:
    scores: Iterable[tuple[str, Score]] = [(ALL, result.total), *sorted(result.rules.items())]
    spent = [(rule, score.headroom) for rule, score in scores if score.headroom and score.headroom.at]
    spent.sort(key=lambda row: (row[0] != ALL, row[1].left / max(row[1].of.count, 1)))
    return [(str(least.left), str(least.of), when(least.at), rule) for rule, least in spent]


def _overlap(one: Overlap) -> tuple[str, ...]:
    return str(one.times), when(one.first_at), f"{one.kind} {one.of}"[:LONGEST], " and ".join(one.rules)


def _storm(one: StormSpell) -> tuple[str, ...]:
    return str(one.targets), when(one.since), when(one.until) or "still"

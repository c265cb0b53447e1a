"""Auditor: holds what the outside wrote down against what the database says. Pure, and without a line of the daemon's code.

Each check is one promise. Most hold at any moment, also in what a killed daemon left; `at_end` asks for what holds when all alerts
are over and nothing is under way.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from tests.crash.book import Copybook, Page
from tests.crash.effect import MISSING, TAKES_BACK, Effect, undo_place

HAPPENED = {"step_succeeded", "step_reverted", "drifted"}
QUEUED = 5_000_000  # microseconds: an alert is dated by its arrival, and may wait behind the end of the incident before
AFTERMATH = {"notified", "notify_failed"}


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and how."""

    promise: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


@dataclass(frozen=True, slots=True)
class Records:
    """What the auditor is given. `said` are the acknowledged messages by the alert's `instance` label; True: it fires."""

    book: Copybook
    effects: Sequence[Effect] = ()
    said: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    changed: Sequence[str] = ()  # what is outside not as at first

    @property
    def timelines(self) -> dict[str, list[Page]]:
        """Return the lines of each incident."""
        found: dict[str, list[Page]] = defaultdict(list)
        for page in self.book.pages:
            found[page.incident].append(page)
        return found


def audit(records: Records, *, at_end: bool) -> list[Violation]:
    """Return everything that is wrong."""
    checks = [acknowledged(records, at_end=at_end), intended(records), once(records), in_turn(records)]
    checks += [done(records), ordered(records), single(records), holding(records), sound(records)]
    if at_end:
        checks.append(over(records))
    return [violation for check in checks for violation in check]


def acknowledged(records: Records, *, at_end: bool) -> Iterator[Violation]:
    """What was answered with 200 is in the journal, and what is in the journal was said."""
    heard, waiting = _heard(records.book), _waiting(records.book)
    for name in sorted({*records.said, *heard}):
        said, letters = _turns(records.said.get(name, ())), waiting.get(name, [])
        # a letter that is worked off may still be there
        found = [_turns([*heard.get(name, ()), *letters[i:]]) for i in range(len(letters) + 1)]
        if not any(each[: len(said)] == said and len(each) - len(said) <= (not at_end) for each in found):
            text = f"{name}: said {_drawn(said)}, in the journal {_drawn(found[-1])}"
            yield Violation("acknowledged", text + (f", waiting {_drawn(letters)}" if letters else ""))


def intended(records: Records) -> Iterator[Violation]:
    """Every effect was preceded by its own intent, and by the undo that puts back exactly what was there."""
    keys = {page.detail["key"] for page in records.book.pages if page.kind == "step_started"}
    for effect in records.effects:
        if not effect.intended or effect.key not in keys:
            yield Violation("intent", f"{_named(effect)} has none that was on disk before it")
        if effect.undo == MISSING or undo_place(effect.key) not in records.book.undo:
            yield Violation("undo", f"{_named(effect)} has none that was on disk before it")
            continue
        kept, was = _bare(effect.undo), effect.after if effect.role in TAKES_BACK else effect.before
        if kept is not None and kept != (_part(was, kept)):
            yield Violation("undo", f"{_named(effect)}: kept is {kept}, and it was {was}")


def once(records: Records) -> Iterator[Violation]:
    """No idempotency key has two effects."""
    for key, count in Counter(effect.key for effect in records.effects).items():
        if count > 1:
            yield Violation("once", f"{key} took effect {count} times")


def in_turn(records: Records) -> Iterator[Violation]:
    """What is changed is taken back before it is changed again, and nothing is taken back twice."""
    by_resource: dict[str, list[Effect]] = defaultdict(list)
    for effect in records.effects:
        if not effect.resource.startswith("kick:"):
            by_resource[effect.resource].append(effect)
    for effects in by_resource.values():
        for before, after in pairwise(effects):
            if before.role == after.role:
                yield Violation("in turn", f"{_named(before)}, then {_named(after)}")


def done(records: Records) -> Iterator[Violation]:
    """What the journal says was done has happened."""
    keys = {effect.key for effect in records.effects}
    for page in records.book.pages:
        detail = page.detail
        if page.kind == "step_succeeded" or (page.kind == "step_reverted" and detail.get("changed")):
            key = f"{page.incident}/{_act(detail)}"
            if key not in keys:
                yield Violation("done", f"the journal says that {key} was done, and nothing happened")


def ordered(records: Records) -> Iterator[Violation]:
    """Timelines have no gap, begin with `opened`, end with `closed`, and have no result without an intent."""
    rows = {entry.id: entry for entry in records.book.entries}
    permits = Counter(records.book.permits)
    for name, pages in records.timelines.items():
        if name not in rows:
            yield Violation("order", f"{name} has lines and no row")
            continue
        seqs, kinds = [page.seq for page in pages], [page.kind for page in pages]
        if seqs != [*range(1, len(seqs) + 1)] or rows[name].seq != len(seqs) or kinds[0] != "opened":
            yield Violation(
                "order", f"{name} has the lines {seqs} from {kinds[0]} on, its row says {rows[name].seq}"
            )
        ends = [kind for kind in kinds if kind not in AFTERMATH][-1] == "closed"
        if ends != (rows[name].closed_at is not None) or kinds.count("closed") > 1:
            yield Violation("order", f"{name}: the timeline and the row do not agree on whether it is closed")
        if kinds.count("rung_started") != permits[name]:
            yield Violation("order", f"{name}: {kinds.count('rung_started')} rungs, {permits[name]} permits")
        yield from _results(name, pages)


def _results(name: str, pages: Iterable[Page]) -> Iterator[Violation]:
    begun: set[str] = set()
    for page in pages:
        if page.kind == "step_started":
            begun.add(_act(page.detail))
        elif page.kind in HAPPENED and _act(page.detail) not in begun:
            yield Violation("order", f"{name}: {page.kind} of {_act(page.detail)} without an intent")


def single(records: Records) -> Iterator[Violation]:
    """At any moment a rule has one live incident on a target."""
    lines = records.timelines
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in records.book.entries:
        places[entry.rule, entry.target].append(entry.id)
    for place, names in places.items():
        for earlier, later in pairwise(names):
            ends = [page.at for page in lines.get(earlier, ()) if page.kind == "closed"]
            if not ends or (lines.get(later) and lines[later][0].at < ends[0] - QUEUED):
                yield Violation("single", f"{earlier} and {later} were live at once for {' on '.join(place)}")


def holding(records: Records) -> Iterator[Violation]:
    """What is held is held by an incident that is live, and by one that began a rung."""
    live = {entry.id for entry in records.book.entries if entry.closed_at is None}
    begun = {page.incident for page in records.book.pages if page.kind == "rung_started"}
    for resource, incident in records.book.held:
        if incident not in live & begun:
            yield Violation(
                "held", f"{resource} is held by {incident}, which is closed or never began a rung"
            )


def sound(records: Records) -> Iterator[Violation]:
    """The database is whole."""
    if records.book.damage:
        yield Violation("integrity", records.book.damage)


def over(records: Records) -> Iterator[Violation]:
    """When all alerts are over, nothing is live, nothing is held, and the outside is as it was at first."""
    for entry in records.book.entries:
        if entry.closed_at is None:
            last = records.timelines[entry.id][-1] if entry.id in records.timelines else None
            yield Violation("over", f"{entry.id} of {entry.rule} on {entry.target} is live, after {last}")
    yield from (Violation("over", f"{resource} is still held") for resource, _ in records.book.held)
    yield from (
        Violation("over", f"a notification still waits: {text[:200]}") for text in records.book.waiting
    )
    yield from (Violation("taken back", text) for text in records.changed)
    for effects in _by_place(records.effects).values():
        if effects[-1].role not in TAKES_BACK:
            yield Violation("taken back", f"{_named(effects[-1])} was the last that happened")


# --- reading ---


def _by_place(effects: Iterable[Effect]) -> dict[str, list[Effect]]:
    found: dict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        if not effect.resource.startswith("kick:"):
            found[effect.resource].append(effect)
    return found


def _heard(book: Copybook) -> dict[str, list[bool]]:
    """Return what the journal says of each alert, by its `instance` label."""
    names: dict[str, str] = {}
    heard: dict[str, list[bool]] = defaultdict(list)
    for page in book.pages:
        detail = page.detail
        if page.kind == "opened":
            for fingerprint, alert in detail.get("alerts", {}).items():
                names[fingerprint] = alert["labels"]["instance"]
                heard[names[fingerprint]].append(True)
        elif page.kind == "alert_joined":
            names[detail["fingerprint"]] = detail["labels"]["instance"]
            heard[names[detail["fingerprint"]]].append(True)
        elif page.kind in ("refired", "alert_resolved"):
            heard[names.get(detail["fingerprint"], detail["fingerprint"])].append(page.kind == "refired")
    return heard


def _waiting(book: Copybook) -> dict[str, list[bool]]:
    """Return what was taken and is not yet worked off."""
    said: dict[str, list[bool]] = defaultdict(list)
    for letter in book.waiting:
        for alert in json.loads(letter)["alerts"]:
            said[alert["labels"]["instance"]].append(alert["firing"])
    return said


def _turns(said: Iterable[bool]) -> list[bool]:
    """Return what changed something: repeats do not, nor does the end of what never fired."""
    turns = [firing for firing, _ in groupby(said)]
    return turns[1:] if turns[:1] == [False] else turns


def _drawn(turns: Iterable[bool]) -> str:
    return "".join("F" if firing else "r" for firing in turns) or "nothing"


def _act(detail: Mapping[str, Any]) -> str:
    return f"{detail['rung']}/{detail['step']}/{detail['role']}/{detail['n']}"


def _named(effect: Effect) -> str:
    return f"effect {effect.number} ({effect.resource}, key {effect.key or 'missing'})"


def _bare(undo: Any) -> Any:
    """Return what was observed, out of the form that an action keeps it in."""
    if isinstance(undo, dict) and len(undo) == 1:
        return undo.get("stdout", undo.get("value", undo))
    return undo


def _part(was: Any, kept: Any) -> Any:
    """Return of several settings those that are kept."""
    return {name: was.get(name) for name in kept} if isinstance(was, dict) and isinstance(kept, dict) else was

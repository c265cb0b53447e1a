"""Auditor of replicas: what several daemons must not do together, beside what one must not (`tests/crash/auditor.py`). Pure.

It holds three witnesses against each other: the log of effects, the journal with the server's own times of commit, and the triggers
that saw who wrote and who led.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

from tests.crash import auditor as single
from tests.crash.auditor import Records, Violation
from tests.crash.book import Copybook
from tests.crash.effect import MISSING, Effect, undo_place

LOST = frozenset({"acknowledged"})
DOUBLED = frozenset({"once", "in turn", "again", "reign"})


@dataclass(frozen=True, slots=True)
class Deed:
    """One line of the log of effects. `at` and `began` in microseconds since 1970; `began` 0: by the daemon itself."""

    key: str
    who: str
    resource: str
    before: str
    after: str
    at: int
    began: int = 0
    phase: str = "done"


@dataclass(frozen=True, slots=True)
class Reign:
    """Who led, from the commit of its election on; since when nobody had renewed the lease before, if anybody ever had."""

    epoch: int
    who: str
    began: int
    silent_since: int | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """When an intent was on disk."""

    key: str
    committed: int


@dataclass(frozen=True, slots=True)
class Written:
    """Who wrote one line, and which epoch it was."""

    incident: str
    seq: int
    who: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of one alert and acknowledged: that it fires, since when, or that it is over; `at` it was first sent."""

    firing: bool
    starts_at: str
    at: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the auditor is given, at the end of a campaign."""

    book: Copybook = field(default_factory=Copybook)
    deeds: Sequence[Deed] = ()
    undo: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    reigns: Sequence[Reign] = ()
    intents: Sequence[Intent] = ()
    written: Sequence[Written] = ()
    said: Mapping[str, Sequence[Told]] = field(default_factory=dict)  # by the alert's `instance` label
    doubts: Mapping[str, int] = field(default_factory=dict)
    changed: Sequence[str] = ()
    left: Mapping[str, str] = field(default_factory=dict)  # how files are in the end


def audit(evidence: Evidence) -> list[Violation]:
    """Return everything that is wrong."""
    effects = effects_of(evidence)
    records = Records(book=evidence.book, effects=effects, changed=evidence.changed)
    of_one = (
        single.intended, single.once, single.in_turn, single.done, single.ordered, single.single,
        single.holding, single.over,
    )  # fmt: skip
    checks = [check(records) for check in of_one]
    checks += [
        acknowledged(evidence),
        present(evidence),
        again(records),
        reigned(evidence),
        fenced(evidence),
        chained(evidence),
    ]
    return [violation for check in checks for violation in check]


def effects_of(evidence: Evidence) -> list[Effect]:
    """Return what happened, each with what was on disk right before. A change that was only announced may have happened."""
    committed = {intent.key: intent.committed for intent in evidence.intents}
    effects = []
    for number, deed in enumerate(_happened(evidence), 1):
        values = (_value(deed, deed.before), _value(deed, deed.after))
        intended = deed.key in committed and committed[deed.key] <= deed.at
        undo = evidence.undo.get(undo_place(deed.key), MISSING)
        life = int(deed.who) if deed.who.isdigit() else 0
        effects.append(Effect(number, deed.at, life, deed.key, deed.resource, *values, intended, _kept(undo)))
    return effects


def _happened(evidence: Evidence) -> list[Deed]:
    """Return the deeds that were done: also one whose doer died before it could say so, if what follows shows it."""
    by_resource: dict[str, list[Deed]] = defaultdict(list)
    for deed in evidence.deeds:
        by_resource[deed.resource].append(deed)
    done = []
    for resource, said in by_resource.items():
        for i, deed in enumerate(said):
            later = said[i + 1 :]
            then = later[0].before if later else evidence.left.get(resource)
            if deed.phase == "done" or (then == deed.after and not any(_same(deed, one) for one in later)):
                done.append(deed)
    return sorted(done, key=lambda deed: deed.at)


def _same(about: Deed, other: Deed) -> bool:
    return other.phase == "done" and (other.key, other.who) == (about.key, about.who)


# --- promises ---


def acknowledged(evidence: Evidence) -> Iterator[Violation]:
    """What was answered with 200 is in the journal. Beyond that, only what an attempt without an answer may have brought."""
    heard = heard_of(evidence.book)
    for name in sorted({*evidence.said, *heard}):
        said = _turns(told.firing for told in evidence.said.get(name, ()))
        found = _turns(turn.firing for turn in heard.get(name, ()))
        drawn = f"{name}: said {_drawn(said)}, in the journal {_drawn(found)}"
        if found[: len(said)] != said:
            yield Violation("acknowledged", drawn)
        elif len(found) - len(said) > 2 * evidence.doubts.get(name, 0):
            yield Violation("unsaid", f"{drawn}; {evidence.doubts.get(name, 0)} attempts had no answer")
        elif found[-1:] != said[-1:]:
            yield Violation("acknowledged", f"{drawn}: the last word is another one")


def present(evidence: Evidence) -> Iterator[Violation]:
    """Each firing that was acknowledged is in the journal by its own start, unless an older one came late and fired still."""
    heard = heard_of(evidence.book)
    for name, said in evidence.said.items():
        found = [(_instant(turn.starts_at), turn.at) for turn in heard.get(name, ()) if turn.firing]
        older: set[datetime] = set()
        for before, told in pairwise((Told(False, "", 0), *said)):
            if not told.firing or before.firing:
                continue
            start = _instant(told.starts_at)
            late = any(since in older and at > before.at for since, at in found)
            if not late and start not in {since for since, _ in found}:
                yield Violation("acknowledged", f"{name}: that it fires since {told.starts_at} is nowhere")
            older.add(start)


def again(records: Records) -> Iterator[Violation]:
    """A step takes effect once more only when it is known that it had not before."""
    failed = {
        f"{page.incident}/{single._act(page.detail)}"
        for page in records.book.pages
        if page.kind in ("step_failed", "revert_failed") and "n" in page.detail
    }
    by_step: dict[str, list[str]] = defaultdict(list)
    for effect in records.effects:
        by_step[effect.key.rpartition("/")[0]].append(effect.key)
    for keys in by_step.values():
        for key in keys[:-1]:
            if key != keys[-1] and key not in failed:
                yield Violation("again", f"{key} took effect, and {keys[-1]} too")


def reigned(evidence: Evidence) -> Iterator[Violation]:
    """Whoever acts leads: nobody has taken over since."""
    begins = [reign.began for reign in evidence.reigns]
    for deed in _happened(evidence):
        i = bisect_right(begins, deed.at) - 1
        if i >= 0 and evidence.reigns[i].who == deed.who:
            continue
        leads = (
            f"{evidence.reigns[i].who} leads since {_ms(deed.at - begins[i])}" if i >= 0 else "nobody leads"
        )
        since = f", by a command that ran for {_ms(deed.at - deed.began)}" if deed.began else ""
        yield Violation("reign", f"{deed.who} did {deed.key} to {deed.resource}{since}, while {leads}")


def fenced(evidence: Evidence) -> Iterator[Violation]:
    """Every line of every timeline was written by whoever led at that moment."""
    who = {reign.epoch: reign.who for reign in evidence.reigns}
    for line in evidence.written:
        if who.get(line.epoch) != line.who:
            leader = who.get(line.epoch, "nobody")
            yield Violation(
                "fence", f"{line.who} wrote {line.incident}/{line.seq} while {leader} led ({line.epoch})"
            )


def chained(evidence: Evidence) -> Iterator[Violation]:
    """Each change begins with what the one before left: nothing happens unseen."""
    now: dict[str, str] = {}
    for deed in _happened(evidence):
        if deed.before != now.get(deed.resource, deed.before):
            yield Violation("unseen", f"{deed.resource} was {now[deed.resource]!r}, and then {deed.before!r}")
        now[deed.resource] = deed.after


# --- figures ---


def takeovers(reigns: Sequence[Reign]) -> list[float]:
    """Return after how many seconds without a leader's sign of life each new one was elected, shortest first."""
    return sorted((one.began - one.silent_since) / 1e6 for one in reigns if one.silent_since is not None)


def late(evidence: Evidence) -> int:
    """Return how many turns came from attempts that were not answered: what was said already, or somebody else was told."""
    heard = heard_of(evidence.book)
    return sum(
        max(
            0,
            len(_turns(turn.firing for turn in heard.get(name, ())))
            - len(_turns(told.firing for told in said)),
        )
        for name, said in evidence.said.items()
    )


def count(violations: Iterable[Violation], promises: frozenset[str]) -> int:
    """Return how many broke one of these promises."""
    return sum(number for name, number in Counter(v.promise for v in violations).items() if name in promises)


# --- reading ---


def heard_of(book: Copybook) -> dict[str, list[Told]]:
    """Return what the journal says of each alert, by its `instance` label."""
    names: dict[str, str] = {}
    heard: dict[str, list[Told]] = defaultdict(list)
    for page in book.pages:
        said = page.detail
        alerts = said.get("alerts", {}) if page.kind == "opened" else {}
        if page.kind == "alert_joined":
            alerts = {said["fingerprint"]: said}
        for fingerprint, alert in alerts.items():
            names[fingerprint] = alert["labels"]["instance"]
            heard[names[fingerprint]].append(Told(True, alert["starts_at"], page.at))
        if page.kind in ("refired", "alert_resolved"):
            firing = page.kind == "refired"
            heard[names[said["fingerprint"]]].append(Told(firing, said.get("starts_at", ""), page.at))
    return heard


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _turns(said: Iterable[bool]) -> list[bool]:
    """Return what changed something: repeats do not, nor does the end of what never fired."""
    turns = [firing for firing, _ in groupby(said)]
    return turns[1:] if turns[:1] == [False] else turns


def _drawn(turns: Iterable[bool]) -> str:
    return "".join("F" if firing else "r" for firing in turns) or "nothing"


def _ms(micros: int) -> str:
    return f"{micros / 1000:.1f} ms"


def _value(deed: Deed, text: str) -> Any:
    """Return the settings of a file, or the text."""
    if not deed.resource.startswith("file:"):
        return text
    lines = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name: value.strip("'") for name, value in lines}


def _kept(undo: Any) -> Any:
    """Return of the undo of a flag its values."""
    if (
        isinstance(undo, dict)
        and undo
        and all(isinstance(each, dict) and "value" in each for each in undo.values())
    ):
        return {name: each["value"] for name, each in undo.items()}
    return undo

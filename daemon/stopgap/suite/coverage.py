"""Coverage: which rungs, reverts, guards and escalations of each rule the tests of its pack came to. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stopgap.audience import clock_words
from stopgap.guard import Reason
from stopgap.incident import EventKind as K
from stopgap.rule import Escalation, Rule
from stopgap.suite.seen import Seen

APPROVAL = "approval"


@dataclass(slots=True)
class Reached:
    """What of one rule was reached, out of what there is. A rung is among `backs` once it held something, to be taken back."""

    rungs: dict[str, bool] = field(default_factory=dict)
    backs: dict[str, bool] = field(default_factory=dict)
    guards: dict[str, bool] = field(default_factory=dict)
    escalations: dict[str, bool] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, dict[str, bool]]:
        """Return everything by its kind, in the words of the report."""
        return {
            "rungs": self.rungs,
            "taken back": self.backs,
            "guards": self.guards,
            "escalations": self.escalations,
        }


class Coverage:
    """Collects what plays reached, by rule."""

    def __init__(self) -> None:
        self.rules: dict[str, Reached] = {}
        self._known: set[tuple[str, str]] = set()  # rule and version, as a hundred tests have the same

    def know(self, rules: Iterable[Rule]) -> None:
        """Take note of what there is to be reached."""
        for rule in rules:
            if (rule.id, rule.version) in self._known:
                continue
            self._known.add((rule.id, rule.version))
            known = self.rules.setdefault(rule.id, Reached())
            for rung in rule.ladder:
                known.rungs.setdefault(rung.name, False)
            for guard in guards_of(rule):
                known.guards.setdefault(guard, False)
            for entry in rule.escalate:
                known.escalations.setdefault(entry_words(entry), False)

    def join(self, other: "Coverage") -> None:
        """Take note of what others reached."""
        for name, theirs in other.rules.items():
            ours = self.rules.setdefault(name, Reached())
            for kind, there in theirs.kinds.items():
                known = ours.kinds[kind]
                for word, was in there.items():
                    known[word] = known.get(word, False) or was

    def add(self, seen: Seen) -> None:
        """Take note of what one play reached."""
        for incident, events in seen.lines.items():
            state = seen.states.get(incident)
            reached = self.rules.get(state.rule) if state is not None else None
            if state is None or reached is None:
                continue
            for event in events:
                reason = str(event.detail.get("reason", ""))
                if event.kind in (K.REFUSED, K.RUNG_SKIPPED) and reason in reached.guards:
                    reached.guards[reason] = True
                elif event.kind is K.APPROVAL_REQUESTED and APPROVAL in reached.guards:
                    reached.guards[APPROVAL] = True
            for rung in state.rungs.values():
                reached.rungs[rung.name] = True
                if rung.resources:
                    reached.backs[rung.name] = reached.backs.get(rung.name, False) or rung.reverted
        self._hear(seen)

    def _hear(self, seen: Seen) -> None:
        for one in seen.told:
            rule, reached = seen.rules.get(one.rule), self.rules.get(one.rule)
            entry = one.due.entry
            if rule is not None and reached is not None and entry is not None and entry < len(rule.escalate):
                reached.escalations[entry_words(rule.escalate[entry])] = True


def entry_words(entry: Escalation) -> str:
    """Say which entry of `escalate` it is."""
    when = clock_words(entry) if entry.after or entry.every else entry.when
    return f"{when} → {', '.join(entry.notify)}"


def guards_of(rule: Rule) -> list[str]:
    """Return the refusals that a rule asks for itself, and those that its own limits lead to."""
    limits = rule.limits
    asked: list[tuple[str, object]] = [
        (Reason.COOLDOWN.value, rule.ladder and limits.cooldown),
        (Reason.BUDGET_RULE.value, rule.ladder),
        (Reason.CIRCUIT_OPEN.value, rule.ladder),
        (Reason.OUTSIDE_WINDOW.value, limits.windows.allow or limits.windows.deny),
        (Reason.BLAST_RADIUS.value, limits.blast_radius),
        (Reason.YIELDED.value, rule.yield_to),
        (Reason.PRECONDITION_FAILED.value, any(rung.only_if for rung in rule.ladder)),
        (APPROVAL, any(rung.approval for rung in rule.ladder)),
    ]
    return [name for name, there in asked if there]

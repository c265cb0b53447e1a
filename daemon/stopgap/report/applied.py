"""Applied: what was done, rung by rung and step by step, what came of it, and what became of it afterwards."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stopgap.duration import span
from stopgap.facts import ref_of, rung_of
from stopgap.incident import Cause, Event, EventKind as K, Phase, Ref, Role, RungState
from stopgap.report.markdown import code, items, listed, table, words
from stopgap.report.story import Story, instant, took

MOST_ITEMS = 20  # in a sentence

PURPOSE = {
    Role.DO: "apply",
    Role.ACTIVATE: "make effective",
    Role.REVERT: "take back",
    Role.REACTIVATE: "make that effective",
}
RESULTS = {
    K.STEP_SUCCEEDED: "done",
    K.STEP_FAILED: "**FAILED**",
    K.STEP_SKIPPED: "skipped",
    K.STEP_UNKNOWN: "outcome unknown",
    K.STEP_REVERTED: "taken back",
    K.REVERT_FAILED: "**FAILED**",
    K.DRIFTED: "left alone, as somebody changed it meanwhile",
}
BECAUSE: dict[str, str] = {
    Cause.RECOVERED: " once the cause was proven gone",
    Cause.RUNG_FAILED: " as it did not help",
}


@dataclass
class Act:
    """One act: when its intent was written, and every result that was known of it, first to last."""

    ref: Ref
    begun: Event
    results: list[Event] = field(default_factory=list)

    @property
    def result(self) -> str:
        """Say what came of it."""
        return "; then ".join(map(_result, self.results)) or "no result on record"


def _result(event: Event) -> str:
    said = RESULTS[event.kind]
    if event.detail.get("by"):
        said += f" by {words(event.detail['by'])}"
    told = [code(event.detail[key]) for key in ("why", "detail") if event.detail.get(key)]
    return f"{said}: {', '.join(told)}" if told else said


def acts(story: Story) -> list[Act]:
    """Return all acts in order; one that failed before it began has no intent, and stands by its result."""
    found: list[Act] = []
    last: dict[Ref, Act] = {}
    for event in story.of(K.STEP_STARTED, *RESULTS):
        act = last.get(ref_of(event))
        if act is None or event.kind is K.STEP_STARTED or _of_another_attempt(act, event):
            act = last[ref_of(event)] = Act(ref_of(event), event)
            found.append(act)
        if event.kind in RESULTS:
            act.results.append(event)
    return found


def _of_another_attempt(act: Act, event: Event) -> bool:
    return event.kind is not K.STEP_SKIPPED and event.detail.get("n", 1) != act.begun.detail.get("n", 1)


def applied(story: Story) -> str:
    """Write one part per rung, in the order in which they stand on the ladder."""
    if story.shadow:
        return _would_have(story)
    done = acts(story)
    parts = []
    for number in _reached(story, done):
        of_it = [act for act in done if act.ref.rung == number]
        lines = [*_fate(story, number), *_skipped(story, number)]
        parts += [f"### Rung {number + 1}: {story.rung_name(number)}", items(lines)]
        parts += [_table(story, number, of_it)] if of_it else []
    return "\n\n".join(part for part in parts if part) or "Nothing was applied."


def _reached(story: Story, done: Iterable[Act]) -> list[int]:
    started = [rung_of(event) for event in story.of(K.RUNG_STARTED, K.RUNG_SKIPPED)]
    return sorted({*started, *(act.ref.rung for act in done)})


# --- what became of a rung ---


def _fate(story: Story, number: int) -> Iterator[str]:
    rung = story.state.rungs.get(number)
    if rung is None:
        return
    for event in story.of(K.MITIGATED, K.RUNG_FAILED, K.MITIGATION_LOST, K.RUNG_HELD):
        said = _verdict(story, event) if rung_of(event) == number else ""
        if said:
            yield said
    yield _place(story, number, rung)


def _verdict(story: Story, event: Event) -> str:
    """Say what a line says of a rung; empty when another line says it better."""
    detail, after = event.detail, story.since_opening(event.at)
    why = f": {code(detail['why'])}" if detail.get("why") else ""
    if event.kind is K.MITIGATED:
        proof = "its probes were healthy" if detail.get("verified") else "no probe verifies it"
        return f"In effect {after} after opening: {proof}."
    if event.kind is K.RUNG_FAILED:
        said = listed(story.said_at(event), MOST_ITEMS)
        return f"Given up {after} after opening{why}{f', as it said {said}' if said else ''}."
    if event.kind is K.MITIGATION_LOST:
        return f"It stopped helping {after} after opening{why}."
    if detail.get("go_on"):
        return "It was kept and the ladder went on, as the rule says."
    if detail.get("verdict") == "unknown":
        return f"Its probes could not tell in time whether it helps, so it was kept {after} after opening."
    return f"It was kept all the same{why}." if why else ""


def _place(story: Story, number: int, rung: RungState) -> str:
    what = listed([code(resource) for resource in rung.resources], MOST_ITEMS)
    if not what:
        return "There is nothing to take back."
    if rung.reverted:
        return f"Taken back{_after(story, number)}{_cause(story, number)}: {what}."
    if rung.kept and not story.live:
        return f"**Kept for good**: {what}."
    if number in story.state.reverting and story.state.phase is Phase.REVERTING and not story.state.stuck:
        return f"Being taken back{_cause(story, number)}: {what}."
    return f"**Still in place**: {what}."


def _after(story: Story, number: int) -> str:
    spells = [over - began for rung, began, over in story.in_place if rung == number and over is not None]
    return f" after {span(spells[-1])}" if spells else ""


def _cause(story: Story, number: int) -> str:
    """Say why a rung was taken back."""
    of_it = [e for e in story.of(K.REVERT_STARTED) if number in e.detail.get("rungs", ())]
    cause = of_it[-1].detail.get("cause", Cause.PERSON) if of_it else None
    if cause == Cause.PERSON:
        return f" by order of {code(of_it[-1].detail.get('by', 'a person'))}"
    return BECAUSE.get(str(cause), "")


def _skipped(story: Story, number: int) -> Iterator[str]:
    for event in story.of(K.RUNG_SKIPPED):
        if rung_of(event) == number:
            reason, text = event.detail.get("reason", "unknown"), event.detail.get("text", "")
            said = f": {code(text)}" if text else ""
            yield f"Skipped {story.since_opening(event.at)} after opening ({code(reason)}){said}."


# --- its steps ---


def _table(story: Story, number: int, done: list[Act]) -> str:
    rows = [_row(story, act) for act in done]
    rows += [("", "apply", code(text), "never begun", "") for text in _never_begun(story, number, done)]
    return table(("Time", "To", "Step", "Result", "Took"), rows)


def _row(story: Story, act: Act) -> tuple[str, str, str, str, str]:
    detail = act.begun.detail
    text = story.step_text(act.ref) or detail.get("text") or detail.get("action") or f"step {act.ref}"
    purpose, attempt = PURPOSE[act.ref.role], detail.get("n", 1)
    if act.begun.kind is K.STEP_STARTED and detail.get("why"):
        purpose += f", again as {code(detail['why'])}"
    elif attempt != 1:
        purpose += f", attempt {code(attempt)}"
    seconds = next((took(event) for event in reversed(act.results) if took(event)), "")
    return instant(act.begun.at), purpose, code(text), act.result, seconds


def _never_begun(story: Story, number: int, done: list[Act]) -> list[str]:
    """Return the planned steps that were not reached, unless they may still be."""
    rung = story.state.rungs.get(number)
    if rung is None or (story.state.phase is Phase.MITIGATING and not rung.failed):
        return []
    planned = [Ref(number, Role.DO, i) for i in range(rung.do)]
    planned += [Ref(number, Role.ACTIVATE, i) for i in range(rung.activate)]
    begun = {act.ref for act in done}
    return [story.step_text(ref) for ref in planned if ref not in begun and story.step_text(ref)]


# --- shadow ---


def _would_have(story: Story) -> str:
    """Write down what a shadow only planned."""
    event = story.last(K.SHADOW_PLANNED)
    if event is None:
        return "Nothing was applied, and nothing was planned before it ended."
    detail = event.detail
    because = code(detail.get("because") or "it only watches")
    parts = [f"Nothing was applied, because of {because}."]
    for told in detail.get("ladder", ()):
        number = int(told.get("rung", 0))
        parts.append(f"### Rung {number + 1}: {code(told.get('name', number + 1))}")
        parts.append(items(_planned(told)))
    if detail.get("refusal"):
        parts.append(f"A guard would have held it back: {code(detail['refusal'])}.")
    return "\n\n".join(parts)


def _planned(told: dict[str, object]) -> list[str]:
    lines = [f"Do {code(step)}." for step in _texts(told.get("steps"))]
    lines += [f"Verify {code(probe)}." for probe in _texts(told.get("verify"))]
    lines += [f"Its precondition was {code(said)}." for said in _texts(told.get("only_if"))]
    lines += [f"But before that {code(told['approval'])}."] if told.get("approval") else []
    lines += [f"Skip it: {code(told['skipped'])}."] if told.get("skipped") else []
    return lines or ["Nothing is known of it."]


def _texts(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []

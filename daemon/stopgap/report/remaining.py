"""Remaining: what a person was handed, and what is left to do."""

from collections.abc import Iterator
from typing import NamedTuple

from stopgap.audience import wanted
from stopgap.incident import Answer, EventKind as K, Phase, Role, StepStatus
from stopgap.report.markdown import brief, code, items, listed
from stopgap.report.story import Story, instant

MOST_ITEMS = 20  # in a sentence
MOST_TIMES = 10  # that one incident is said to have been handed over
BACK = (Role.REVERT, Role.REACTIVATE)


def handed_over(story: Story) -> str:
    """Say when and why it was handed over, how to undo by hand what was in place then, and who has it."""
    parts = []
    for event in story.of(K.HANDED_OVER)[-MOST_TIMES:]:
        reason, text = event.detail.get("reason"), event.detail.get("text")
        why = "".join((f" ({code(reason)})" if reason else "", f": {code(text)}" if text else ""))
        stuck = " From then on nothing was taken back by itself." if event.detail.get("stuck") else ""
        parts.append(f"At {instant(event.at)}, after {story.since_opening(event.at)}{why}.{stuck}")
        undo = [code(one) for one in event.detail.get("undo") or ()]
        if undo:
            parts += ["To undo by hand what was in place then, in this order:", items(undo, "1.")]
    if parts:
        parts.append(_who_has_it(story))
    return "\n\n".join(parts)


def _who_has_it(story: Story) -> str:
    event = story.last(K.ACKNOWLEDGED)
    if event is None:
        return "Nobody has acknowledged it so far." if story.live else "Nobody acknowledged it."
    return f"{code(event.detail.get('by', 'somebody'))} acknowledged it at {instant(event.at)}."


class Task(NamedTuple):
    """One thing left to do, and who should; empty: who has the incident."""

    what: str
    who: str = ""


def remaining(story: Story) -> str:
    """Write the list of what is left to do."""
    if story.shadow:
        return "None: nothing was changed."
    whom = _whom(story)
    told = [f"{task.what} Who: {task.who or whom}." for task in _tasks(story)]
    return (
        items(told, "- [ ]") or "None: nothing is in place, nothing failed, and nobody waits for an answer."
    )


def _whom(story: Story) -> str:
    """Name who should look: who has it, else whom the rule tells of a hand-over, else who was told."""
    if story.state.acknowledged_by:
        return brief(story.state.acknowledged_by)
    named = wanted(story.rule, K.HANDED_OVER) if story.rule is not None else ()
    return listed([brief(name) for name in named or story.told]) or "whoever is on call"


def _tasks(story: Story) -> Iterator[Task]:
    yield from _answer(story)
    yield from _take_over(story)
    yield from _settle(story)
    yield from _decide(story)
    yield from _check(story)
    yield from _cure(story)
    yield from _improve(story)


def _answer(story: Story) -> Iterator[Task]:
    """Answer the request that waits."""
    asked = story.state.approval
    if asked is not None and asked.answer is Answer.PENDING and story.state.phase is Phase.WAITING:
        approve, deny = code(f"stopgap approve {story.short}"), code(f"stopgap deny {story.short} --why …")
        until = f"until {instant(asked.until)}"
        yield Task(f"Say {until} whether {story.rung_name(asked.rung)} may begin: {approve} or {deny}.")


def _take_over(story: Story) -> Iterator[Task]:
    if story.live and story.state.handed_over and not story.state.acknowledged_by:
        yield Task(f"Take it over, as automation applies nothing more: {code(f'stopgap ack {story.short}')}.")


def _settle(story: Story) -> Iterator[Task]:
    """Settle the acts that failed on the way back, and those whose outcome nobody knows."""
    for ref, step in story.state.steps.items():
        what = code(story.step_text(ref) or str(ref))
        if step.status in (StepStatus.UNCLEAR, StepStatus.UNKNOWN):
            did = "was taken back" if ref.role is Role.REVERT else "took effect"
            yield Task(f"Find out whether this {did}, as nobody can tell: {what}.")
        elif step.status is StepStatus.FAILED and ref.role is Role.REVERT:
            yield Task(f"Take this back by hand, as Stopgap could not: {what}.")
        elif step.status is StepStatus.FAILED and ref.role is Role.REACTIVATE:
            yield Task(f"Do this by hand to make effective what was taken back: {what}.")


def _decide(story: Story) -> Iterator[Task]:
    """Decide about what is in place."""
    state = story.state
    for number in state.held:
        name = story.rung_name(number)
        what = listed([code(resource) for resource in state.rungs[number].resources], MOST_ITEMS)
        if number in _failed_back(story):
            continue
        if not story.live:
            yield Task(f"Make permanent, or take back by hand, what {name} left in place: {what}.")
        elif state.handed_over or state.unproven or state.lost:
            revert = code(f"stopgap revert {story.short} --why …")
            keep = code(f"stopgap close {story.short} --keep --why …")
            yield Task(f"Decide about {name}, still in place on {what}{_lease(story)}: {revert}, or {keep}.")
        else:
            yield Task(f"Watch {name}, still in place on {what}{_lease(story)}.")


def _failed_back(story: Story) -> set[int]:
    """Return the rungs that could not be taken back, about which `_settle` says more."""
    return {
        ref.rung
        for ref, step in story.state.steps.items()
        if step.status is StepStatus.FAILED and ref.role in BACK
    }


def _lease(story: Story) -> str:
    end = story.lease_end
    return f" ({story.lease_words} {instant(end)})" if end is not None else ""


def _check(story: Story) -> Iterator[Task]:
    """Check what somebody changed, and why probes and contacts could not do their work."""
    for detail in story.state.drifted:
        yield Task(
            f"Check what somebody changed meanwhile, it was left alone: {code(detail or 'no detail')}."
        )
    unknown = [code(key) for key, probe in story.state.probes.items() if probe.verdict == "unknown"]
    if unknown:
        yield Task(
            f"Find out why these probes could not look when asked last: {listed(unknown, MOST_ITEMS)}."
        )
    silent = sorted({str(event.detail.get("contact", "unknown")) for event in story.of(K.NOTIFY_FAILED)})
    if silent:
        contacts = listed([code(contact) for contact in silent], MOST_ITEMS)
        yield Task(f"Repair the contacts to which a message failed: {contacts}.", "whoever runs Stopgap")


def _cure(story: Story) -> Iterator[Task]:
    """Remove the cause, which Stopgap never does."""
    if story.state.rungs or story.state.handed_over:
        runbook = story.rule.runbook_url if story.rule is not None else ""
        where = f" The runbook is {code(runbook)}." if runbook else ""
        yield Task(f"Find and remove the cause of {story.alerts}: a mitigation is no repair.{where}")


def _improve(story: Story) -> Iterator[Task]:
    """Improve the rule."""
    author = "whoever wrote the rule"
    failed = [story.rung_name(number) for number, rung in story.state.rungs.items() if rung.failed]
    if failed:
        yield Task(f"Ask why {listed(failed)} did not help.", author)
    if story.state.flaps or story.followed_by:
        yield Task(
            "Ask why the alert came back once all was taken back: was recovery proven too early?", author
        )

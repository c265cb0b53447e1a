"""Inventory: what an incident has done and not taken back, in the words of its timeline, for people who read a message. Pure."""

from collections.abc import Iterator

from stopgap.incident import Incident, Phase, Ref, Role, StepState, StepStatus
from stopgap.transitions import forward
from stopgap.wording import one_line

MOST_STEPS, LONGEST_LINE = 4, 99  # characters of one line
_PERHAPS = (StepStatus.STARTED, StepStatus.UNKNOWN, StepStatus.UNCLEAR)


def goes_back(state: Incident) -> bool:
    """Tell whether what it did is being taken back just now, and nothing stands in the way of that."""
    return state.phase is Phase.REVERTING and not state.stuck


def in_place(state: Incident) -> tuple[int, ...]:
    """Return the rungs that hold something, and the last one even where it left nothing to take back; lowest first."""
    if goes_back(state):
        return ()
    last = state.rungs.get(state.rung)
    done = {state.rung} if last is not None and not last.reverted else set[int]()
    return tuple(sorted(done.union(state.held)))


def rung_name(state: Incident, number: int) -> str:
    """Return how its rule calls a rung."""
    return one_line(state.rungs[number].name, LONGEST_LINE // 2) or f"rung {number}"


def inventory(state: Incident) -> tuple[str, ...]:
    """Return what is in place: each rung by its name, below it its steps, a few bounded lines in all."""
    found = [(number, words) for number in in_place(state) for words in _steps(state, number)]
    lines: list[str] = []
    for number, words in found[:MOST_STEPS]:
        nothing_held = "" if state.rungs[number].resources else ", which leaves nothing to take back"
        heading = f"applied: {rung_name(state, number)}{nothing_held}"
        lines += [heading] if heading not in lines else []
        lines.append(one_line(f"- {words}", LONGEST_LINE))
    rest = len(found) - MOST_STEPS
    return (*lines, f"- and {rest} more") if rest > 0 else tuple(lines)


def _steps(state: Incident, number: int) -> Iterator[str]:
    rung = state.rungs[number]
    if not rung.words:  # as it was written by an early release
        yield from rung.resources
        return
    for words, ref in zip(rung.words, forward(number, rung), strict=False):
        step, back = state.steps.get(ref), state.steps.get(Ref(number, Role.REVERT, ref.step))
        taken_back = ref.role is Role.DO and back is not None and back.status is StepStatus.SUCCEEDED
        if step is None or taken_back:
            continue
        if step.status is StepStatus.SUCCEEDED:
            yield words
        elif _perhaps(step):
            yield f"perhaps: {words}"


def _perhaps(step: StepState) -> bool:
    """Tell whether an act may have taken effect; what waits for a person has not begun."""
    return step.status in _PERHAPS and not step.by_hand

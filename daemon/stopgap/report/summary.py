"""Summary: two sentences: what fired and what was done about it; how that ended, or how it stands."""

from stopgap.duration import span
from stopgap.facts import rung_of
from stopgap.guard import WAITS
from stopgap.incident import Cause, EventKind as K, Outcome, Phase
from stopgap.report.markdown import brief, listed, words
from stopgap.report.refusals import spells
from stopgap.report.story import Story, instant


def summary(story: Story) -> str:
    """Say in two sentences what happened."""
    return f"{_began(story)} {_ended(story)}"


# --- the first sentence ---


def _began(story: Story) -> str:
    state = story.state
    first = "SHADOW: " if story.shadow else ""
    on = f" for {brief(state.target)}" if state.target else ""
    what = ", ".join(brief(said) for said in (state.severity, state.annotations.get("summary")) if said)
    fired = f"At {instant(story.opened_at)} {story.alerts} fired{on} ({what})"
    return f"{first}{fired}, and Stopgap {_did(story)}."


def _did(story: Story) -> str:
    if story.shadow:
        return _would_have(story)
    if story.state.rungs:
        return _tried(story)
    if story.rule is not None and not story.rule.ladder:
        return "told people, as the rule does nothing else"
    reasons = list(dict.fromkeys(str(s.event.detail.get("reason", "unknown")) for s in spells(story)))
    if story.first(K.APPROVAL_REQUESTED) is not None:
        return f"asked a person to approve what it would do, and did nothing{_yet(story)}"
    why = f": {listed([words(reason) for reason in reasons])}" if reasons else ""
    return f"did nothing{_yet(story)}{why}"


def _yet(story: Story) -> str:
    return " so far" if story.live else ""


def _would_have(story: Story) -> str:
    event = story.last(K.SHADOW_PLANNED)
    if event is None:
        return "only watched"
    if not event.detail.get("steps"):
        return "would have found no way out that it could take"
    name = story.rung_name(rung_of(event))
    if event.detail.get("refusal"):
        return f"would have tried {name}, had a guard not held it back"
    return f"would have applied {name}"


def _tried(story: Story) -> str:
    """Name what did not help, then what was applied."""
    failed = [n for n, rung in story.state.rungs.items() if rung.failed]
    held = [n for n in story.state.rungs if n not in failed]
    vain = f"tried {listed([story.rung_name(n) for n in failed])}, which did not help" if failed else ""
    done = f"applied {listed([story.rung_name(n) for n in held])}{_effect(story)}" if held else ""
    return f"{vain}, and then {done}" if vain and done else vain or done


def _effect(story: Story) -> str:
    """Say whether it helped."""
    event = story.first(K.MITIGATED)
    if event is not None:
        if not event.detail.get("verified"):
            return ", which nothing verifies"
        lost = ", until it stopped helping" if story.first(K.MITIGATION_LOST) is not None else ""
        return f", which helped after {story.since_opening(event.at)}{lost}"
    if any(e.detail.get("verdict") == "unknown" for e in story.of(K.RUNG_HELD)):
        return ", of which its probes could not tell whether it helped"
    if story.live and story.state.phase in (Phase.MITIGATING, Phase.VERIFYING):
        return ", of which it is not known yet whether it helps"
    return ", which had no time to prove itself" if story.state.phase is not Phase.REVERTING else ""


# --- the second sentence ---


def _ended(story: Story) -> str:
    return _stands(story) if story.live else _closed(story)


def _closed(story: Story) -> str:
    state = story.state
    how = {
        Outcome.RECOVERED: _recovered,
        Outcome.SELF_RESOLVED: _by_itself,
        Outcome.REVERTED: _reverted,
        Outcome.KEPT: _kept,
        Outcome.HANDED_OVER: _handed_over,
        Outcome.SHADOW: _shadow,
    }[state.outcome or Outcome.RECOVERED](story)
    return f"{how}, and it was closed{_by(story, K.CLOSED)} after {span(story.until - story.opened_at)}."


def _by(story: Story, kind: K, **wanted: str) -> str:
    """Say which person did something and why, if one did."""
    found = [e for e in story.of(kind) if all(e.detail.get(key) == value for key, value in wanted.items())]
    if not found or not found[-1].detail.get("by"):
        return ""
    detail = found[-1].detail
    return f" by {brief(detail['by'])}" + (f" ({brief(detail['why'])})" if detail.get("why") else "")


def _recovered(story: Story) -> str:
    if not any(rung.resources for rung in story.state.rungs.values()):
        return "The alerts ended, there was nothing to take back"
    return f"Its cause was proven gone, what was in place was taken back{_except(story)}"


def _except(story: Story) -> str:
    return " except what somebody had changed meanwhile" if story.state.drifted else ""


def _by_itself(story: Story) -> str:
    handed = ", which had been handed over to a person," if story.state.handed_over else ""
    return f"The alerts{handed} ended without its help"


def _reverted(story: Story) -> str:
    return (
        f"What was in place was taken back{_by(story, K.REVERT_STARTED, cause=Cause.PERSON)}{_except(story)}"
    )


def _kept(story: Story) -> str:
    names = listed([story.rung_name(n) for n in story.state.held]) or "What was applied"
    return f"{names} was kept in place{_by(story, K.KEPT) or ', as its rule says'}"


def _handed_over(story: Story) -> str:
    event = story.first(K.HANDED_OVER)
    if event is None:
        return "It was left to a person"
    reason = event.detail.get("reason")
    return f"It was handed over to a person after {story.since_opening(event.at)}" + (
        f" ({words(reason)})" if reason else ""
    )


def _shadow(_: Story) -> str:
    return "Nothing was changed"


def _stands(story: Story) -> str:
    state = story.state
    firing = "still fires" if state.firing else "is over"
    handed = f", and {_owner(story)}" if state.handed_over else ""
    age = span(story.until - story.opened_at)
    return f"So far, {age} after it opened, the alert {firing} and {_standing(story)}{handed}."


def _owner(story: Story) -> str:
    by = story.state.acknowledged_by
    return f"{brief(by)} has it" if by else "it was handed over to a person"


def _standing(story: Story) -> str:
    state = story.state
    names = listed([story.rung_name(n) for n in state.held])
    if story.shadow:
        return "nothing was changed"
    if state.phase in (Phase.MITIGATING, Phase.VERIFYING):
        doing = "applied" if state.phase is Phase.MITIGATING else "verified"
        return f"{story.rung_name(state.rung)} is being {doing}"
    if state.phase is Phase.REVERTING and not state.stuck:
        return f"{names or 'what was in place'} is being taken back"
    if not names:
        return f"nothing is in place{_waits(story)}"
    return f"{names} is in place{_how_long(story)}{_lease(story)}"


def _how_long(story: Story) -> str:
    state = story.state
    if state.stuck:
        return " until a person settles what automation cannot"
    if state.unproven:
        return " until a person decides, as recovery cannot be proven"
    return " until the cause is proven gone" if state.phase is Phase.RECOVERING else ""


def _waits(story: Story) -> str:
    reason = story.state.reason
    return f"; it waits: {words(reason)}" if reason in WAITS and not story.state.handed_over else ""


def _lease(story: Story) -> str:
    end = story.lease_end
    return f" ({story.lease_words} {instant(end)})" if end is not None else ""

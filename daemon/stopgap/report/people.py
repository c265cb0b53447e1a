"""People: who was asked, who said what and why, and who was told."""

from stopgap.approval import Fate, requested
from stopgap.facts import rung_of
from stopgap.incident import Event, EventKind as K
from stopgap.report.markdown import code, table, words
from stopgap.report.story import Story, instant, moment

DEEDS = {
    K.ACKNOWLEDGED: "acknowledged it",
    K.APPROVED: "approved",
    K.APPROVAL_DENIED: "denied",
    K.REVERT_STARTED: "had it taken back",
    K.KEPT: "kept what is in place",
    K.NOTE_ADDED: "noted",
    K.MANUAL_DONE: "did by hand what was asked for",
    K.RETRIED: "gave it back to automation",
    K.ADOPTED: "let it act, and no longer only watch",
}


def people(story: Story) -> str:
    """Write a table of what people were asked, said and did, with their reasons."""
    rows = [row for event in story.timeline for row in _rows(story, event)]
    return table(("Time", "Who", "What", "In their words"), rows) if rows else ""


def _rows(story: Story, event: Event) -> list[tuple[str, str, str, str]]:
    detail = event.detail
    if event.kind is K.APPROVAL_REQUESTED:
        return [(instant(event.at), "Stopgap", _asked(story, event), _why(event))]
    if event.kind is K.APPROVAL_EXPIRED:
        return [(instant(event.at), "nobody", "answered, and silence means no", _why(event))]
    if not detail.get("by") or detail["by"] == "observation":
        return []
    return [(instant(event.at), code(detail["by"]), _did(event), _why(event))]


def _why(event: Event) -> str:
    said = event.detail.get("why") or event.detail.get("text")
    return code(said) if said else ""


def _asked(story: Story, event: Event) -> str:
    asked = (
        f"asked to approve {story.rung_name(rung_of(event))} until {moment(event.detail.get('until', ''))}"
    )
    told = requested(story.timeline, event.seq, story.now)
    fate = {
        Fate.PENDING: "waits for an answer",
        Fate.EXPIRED: "nobody answered in time",
        Fate.REPLACED: "asked anew before it could begin",
        Fate.LAPSED: "no longer needed",
    }
    return f"{asked}: {fate[told.fate]}" if told is not None and told.fate in fate else asked


def _did(event: Event) -> str:
    if event.kind is K.LEASE_EXTENDED:
        return f"extended the lease until {moment(event.detail.get('until', ''))}"
    if event.kind is K.CLOSED:
        return f"closed it: {words(event.detail.get('outcome', 'closed'))}"
    return DEEDS.get(event.kind) or words(event.kind)


def messages(story: Story) -> str:
    """Write a table of who was told, and who could not be reached."""
    rows = [
        (
            instant(event.at),
            code(event.detail.get("contact", "unknown")),
            words(event.detail.get("when", "unknown")),
            "sent"
            if event.kind is K.NOTIFIED
            else f"**FAILED**: {code(event.detail.get('why') or 'no reason given')}",
        )
        for event in story.of(K.NOTIFIED, K.NOTIFY_FAILED)
    ]
    return table(("Time", "Contact", "About", "Result"), rows) if rows else ""

"""Document: the report as a whole, part by part; a part about which there is nothing to say is left out."""

from stopgap.report.answers import answers
from stopgap.report.applied import applied
from stopgap.report.glance import alerts, glance
from stopgap.report.impact import impact
from stopgap.report.lines import lines
from stopgap.report.markdown import brief, code
from stopgap.report.people import messages, people
from stopgap.report.refusals import refusals
from stopgap.report.remaining import handed_over, remaining
from stopgap.report.story import Story, instant
from stopgap.report.summary import summary

PARTS = (
    ("Impact", impact),
    ("Alerts", alerts),
    ("What was applied and taken back", applied),
    ("What the probes said", answers),
    ("What held it back", refusals),
    ("Handed over", handed_over),
    ("People", people),
    ("Messages", messages),
    ("Open actions", remaining),
    ("Timeline", lines),
)
WATCHED = {"What was applied and taken back": "What it would have done"}
"""Titles of a shadow's parts, where they differ."""


def report(story: Story) -> str:
    """Write the report of one incident."""
    parts = [f"# {_title(story)}", summary(story), glance(story)]
    for title, part in PARTS:
        body = part(story)
        if body:
            shown = WATCHED.get(title, title) if story.shadow else title
            parts += [f"## {shown}", body]
    parts.append(_colophon(story))
    return "\n\n".join(parts) + "\n"


def _title(story: Story) -> str:
    kind = "SHADOW incident" if story.shadow else "Incident"
    if story.state.drill:
        kind = f"DRILL {brief(story.state.drill)}: {kind}"
    what = story.alerts if story.state.alerts else brief(story.state.rule or "unknown rule")
    return f"{kind} {code(story.state.id)}: {what}"


def _colophon(story: Story) -> str:
    ends = "the incident goes on, so it is not the last word" if story.live else "the incident is closed"
    return f"*Written at {instant(story.now)} from the journal of Stopgap; {ends}. All times are UTC.*"

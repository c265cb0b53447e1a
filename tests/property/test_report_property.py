"""Label values are hostile: whatever they are, a report has the same structure, shows them as they are, and links nowhere."""

from datetime import timedelta
from html.parser import HTMLParser

import markdown
from hypothesis import example, given, strategies as st
from markdown_it import MarkdownIt
from tests.timelines import START, Timeline

from stopgap.incident import EventKind as K
from stopgap.report import Story, report
from stopgap.report.markdown import LONGEST, code, table

MARKUP = "`|<>[]()*_~#\\\n\r !&;:/@-+=.'\"1aé\u202e\x1b\u2028"
VALUE = st.text(MARKUP, max_size=40) | st.text(max_size=40)
GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])
STEP = {"rung": 0, "role": "do", "step": 0, "n": 1}


def told(value):
    """Return the report of an incident in which everything that comes from outside is this value."""
    alert = {
        "labels": {"alertname": value, value: value},
        "annotations": {"summary": value},
        "starts_at": value,
    }
    timeline = Timeline().opens(severity=value, follows=value, flaw=value)
    timeline.say(K.ALERT_JOINED, fingerprint="b", **alert)
    timeline.say(K.OBSERVED, **STEP, action=value, **{value: value})
    timeline.say(K.REFUSED, reason=value, text=value, until=value)
    timeline.say(K.APPROVAL_REQUESTED, rung=0, name=value, text=value, steps=[value, value])
    timeline.say(K.APPROVED, by=value, why=value)
    plan = {"do": 1, "activate": 1, "reverts": [True], "resources": [value], "steps": [value, value]}
    timeline.say(K.RUNG_STARTED, rung=0, name=value, labels={}, annotations={}, **plan)
    timeline.say(K.STEP_STARTED, **STEP, text=value).say(K.STEP_FAILED, **STEP, why=value)
    timeline.say(K.PROBE_UNKNOWN, probe=value, role=value, why=value)
    timeline.say(K.PROBE_UNKNOWN, role="recovered", why=value)
    timeline.say(K.DRIFTED, rung=0, role="revert", step=0, detail=value)
    timeline.say(K.RUNG_SKIPPED, rung=1, name=value, reason=value, text=value)
    timeline.say(K.NOTIFY_FAILED, contact=value, when=value, why=value)
    timeline.say(K.HANDED_OVER, reason=value, text=value, undo=[value, value])
    timeline.say(K.LEASE_EXTENDED, by=value, why=value).say(K.ACKNOWLEDGED, by=value)
    story = Story(timeline.state, tuple(timeline.events), None, START + timedelta(hours=1), value)
    return report(story)


def structure(text):
    """Return what the text is made of, without what is in it."""
    return [(token.type, [inner.type for inner in token.children or ()]) for token in GFM.parse(text)]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, [name for name, _ in attrs if name != "style"]))


def tags(text):
    """Return the tags that another implementation makes of it."""
    return Tags(markdown.markdown(text, extensions=["tables"])).tags


PLAIN, PLAIN_TAGS = structure(told("Zulu")), tags(told("Zulu"))


@given(VALUE)
@example("`")
@example("``")
@example("a|b\\|c\\")
@example("\\")
@example("</table><script>alert(1)</script>")
@example("[x](https://evil.example) https://evil.example <https://evil.example> @everyone #1")
@example("x\n\n# Resolved\n\n| a | b |\n| --- | --- |")
@example("&lt;b&gt;")
def test_no_value_becomes_structure_a_link_or_html(value):
    text = told(f"Z{value}")
    assert structure(text) == PLAIN
    kinds = {kind for token, inner in PLAIN for kind in (token, *inner)}
    assert not kinds & {"link_open", "html_inline", "html_block", "image", "fence", "code_block"}
    assert text.replace("\n", "").isprintable()


# Python-Markdown has no way to write a `|` into a code span of a table: there only GFM is promised.
@given(st.text(MARKUP.replace("\\", "").replace("|", ""), max_size=40))
def test_another_renderer_sees_no_structure_in_it_either(value):
    assert tags(told(f"Z{value}")) == PLAIN_TAGS


@given(VALUE)
def test_a_value_in_a_table_is_shown_as_it_is(value):
    visible = " ".join(f"Z{value}"[: 10 * LONGEST].split())
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in visible)
    for text in (code(f"Z{value}"), table(("A", "B"), [(code(f"Z{value}"), code("b"))])):
        spans = [i.content for t in GFM.parse(text) for i in t.children or () if i.type == "code_inline"]
        assert spans[0] == visible


def test_a_long_value_is_cut_and_an_empty_one_is_said():
    assert code("x" * (LONGEST + 1)) == f"`{'x' * LONGEST}…`"
    assert code(" \n") == "(empty)"

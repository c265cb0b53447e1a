"""Whether libyaml or ruamel.yaml reads a file, it is the same file, to the last column."""

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from stopgap.config import events
from stopgap.config.findings import Findings
from stopgap.config.read import read, read_thoroughly

ROOT = Path(__file__).parents[2]

FILES = sorted(path for folder in ("rules", "deploy", "tests") for path in (ROOT / folder).rglob("*.y*ml"))
TEXTS = [path.read_text(encoding="utf-8-sig", errors="replace") for path in FILES]
PIECES = (
    *"{}[]:,#&*!|>'\"%@`-?\\ \n\t~<=\r\x85\u2028\xe9\U0001f600\x00\x7f\ufeff\xa0",
    *("\n\n", "  ", ": ", "- ", "? ", "---\n", "...\n", "# x", "|-\n", "|+\n", ">2\n", "''", '""', "<<: "),
    *(
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud800",
        "!!str ",
        "&a ",
        "*a",
        "*a ",
        "\r\n",
        "http://x",
        "::",
        "a:b",
        "\n ",
    ),
    *("\n  # c\n", "\\/", "\\x41", "%YAML 1.1\n---\n", "{{ x }}", "[a:b]", "{a:b}", "a: b", "\\\n", " #"),
)


@st.composite
def texts(draw):
    """Some lines of a file that ships or breaks a rule, with a few pieces in the wrong place."""
    lines = draw(st.sampled_from(TEXTS)).splitlines(keepends=True)
    first = draw(st.integers(0, max(0, len(lines) - 2)))
    text = "".join(lines[first : first + draw(st.integers(1, 14))])
    for piece in draw(st.lists(st.sampled_from(PIECES), max_size=3)):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + piece + text[at + draw(st.sampled_from((0, 0, 0, 1, 3))) :]
    return text


def said(source: str, reader):
    findings = Findings()
    return reader(source, "x.yaml", findings), findings.errors, findings.allows


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_this_repository_reads_the_same_whoever_reads_it(path: Path):
    source = path.read_text(encoding="utf-8-sig", errors="replace")
    assert said(source, read) == said(source, read_thoroughly)


@given(texts())
@settings(max_examples=600, deadline=None)
def test_whatever_libyaml_reads_ruamel_reads_likewise(source):
    assert said(source, read) == said(source, read_thoroughly)


@pytest.mark.parametrize(
    "source", ["""[null, 'a':b]""", '[&a "a":1]', "!!s!!str a: b\n", "a: 1\n...\n\n...\n", '{"a":1}']
)
def test_what_only_libyaml_would_take_is_left_to_ruamel(source):
    assert said(source, read) == said(source, read_thoroughly)


def test_most_files_that_ship_are_read_by_libyaml():
    shipped = [text for path, text in zip(FILES, TEXTS, strict=True) if path.is_relative_to(ROOT / "rules")]

    def swiftly(text: str) -> bool:
        try:
            return bool(list(events.swift(text)))
        except events.Doubt:
            return False

    assert sum(map(swiftly, shipped)) >= 0.9 * len(shipped)

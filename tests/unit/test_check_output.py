"""What `check` prints: for eyes, for scripts, and for GitHub; and what a refused start says."""

import io
import json
import sys

import pytest

from stopgap.cli import problems as said
from stopgap.cli.excerpt import Files, excerpt
from stopgap.cli.problems import Format, refuse, show, written
from stopgap.config.codes import Odd, Wrong
from stopgap.errors import Problem

WIDTH = 40


def problem(path="a.yaml", line=1, column=1, **more) -> Problem:
    given = {"key": "", "code": "unknown-key", "text": "unknown", "hint": "mend it"} | more
    return Problem(str(path), line, column, **given)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("line", "column", "shown", "at"),
    [
        ("key: value", 6, "key: value", 5),
        ("key:", 5, "key:", 4),  # right behind the end
        ("", 1, "", 0),
        ("\tkey: v", 2, "→   key: v", 4),
        ("a\x1b[31mb", 7, "a\\x1b[31mb", 9),
        ("a\u202eb", 3, "a\\u202eb", 7),
        ("日本: x", 5, "日本: x", 6),
        ("e\u0301: x", 5, "e\u0301: x", 3),
        ("x" * 40, 40, "x" * 39 + "x", 39),
        ("u: https://me:hunter2@host/", 1, "u: https://me:*******@host/", 0),
        ('u: "https://me:{{ secrets.x }}@host/"', 1, 'u: "https://me:{{ secrets.x }}@host/"', 0),
    ],
)  # fmt: skip
def test_a_line_is_shown_safely_and_the_caret_stands_under_its_place(line, column, shown, at):
    assert excerpt(line, column, WIDTH) == (shown, at)


@pytest.mark.parametrize("column", [1, 2, 20, 39, 40, 41, 60, 119, 120, 121, 200])
@pytest.mark.parametrize("line", ["".join(chr(0x100 + i) for i in range(120)), "日\t" * 60, "\x00é" * 60])
def test_a_long_line_is_cut_around_its_place(line, column):
    text, at = excerpt(line, column, WIDTH)
    cells = sum(2 if c == "日" else 1 for c in text)
    assert cells <= WIDTH
    assert at <= WIDTH
    if line.startswith(chr(0x100)) and column <= 120:
        assert text[at] == line[column - 1]
    if column > len(line):
        assert text[at:] == ""


def test_a_file_that_is_away_too_short_or_no_file_has_no_lines(tmp_path):
    (tmp_path / "a").write_bytes(b"one\r\ntwo \xff\n")
    files = Files()
    assert files.line(str(tmp_path / "a"), 1) == "one"
    assert files.line(str(tmp_path / "a"), 2) == "two \ufffd"
    assert files.line(str(tmp_path / "a"), 3) is None
    assert files.line(str(tmp_path / "a"), 0) is None
    assert files.line(str(tmp_path), 1) is None
    assert files.line("--var", 1) is None


def test_what_no_line_shows_is_said_with_its_key():
    lines = list(written([problem("--var", key="vars.x")], colour=False))
    assert lines[0] == "--var: error: vars.x: unknown [unknown-key]"
    assert lines[1:] == ["         hint: mend it", ""]


def test_a_line_that_holds_a_secret_is_not_shown(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("token: hunter2\n")
    shown = "\n".join(written([problem(path, code="secret-in-yaml")], colour=False))
    assert f"{path}:1:1:" in shown
    assert "hunter2" not in shown
    assert {str(code) for code in (*Wrong, *Odd)} >= said.HIDDEN


def test_a_terminal_gets_colours_and_a_pipe_no_color_and_a_dumb_one_do_not(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("mach: x\n")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    show([problem(path), problem(path, warning=True, code="overlap")], 1, Format.TEXT)
    assert "\x1b[31m\x1b[1merror:\x1b[0m" in out.getvalue()
    assert "\x1b[33m\x1b[1mwarning:\x1b[0m" in out.getvalue()
    assert "\x1b[31m\x1b[1m^\x1b[0m" in out.getvalue()
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            patched.setattr(sys, "stdout", out := Terminal())
            show([problem(path)], 1, Format.TEXT)
            assert "\x1b" not in out.getvalue()


def test_what_a_file_holds_steers_no_terminal(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("\x1b]0;x\x07: y\n")
    wrong = problem(path, text="unknown \x1b[2J", hint="not \x9b1m", key="\x1b")
    assert "".join(written([wrong], colour=False)).isprintable()


def test_errors_come_before_warnings_each_once_and_all_are_counted(capsys):
    odd, wrong = problem(text="odd", warning=True), problem(text="wrong")
    show([odd, wrong, odd], 3, Format.TEXT)
    out = capsys.readouterr().out
    assert out.index("error: wrong") < out.index("warning: odd")
    assert out.splitlines()[-1] == "3 rules, 1 error, 1 warning"


def test_json_has_every_field_by_its_stable_name(capsys):
    show([problem(key="rules[0].mach", line=3, column=5)], 2, Format.JSON)
    told = json.loads(capsys.readouterr().out)
    assert told["rules"] == 2
    assert told["problems"] == [
        {
            "path": "a.yaml",
            "line": 3,
            "column": 5,
            "key": "rules[0].mach",
            "code": "unknown-key",
            "text": "unknown",
            "hint": "mend it",
            "warning": False,
        }
    ]


def test_github_gets_workflow_commands_in_which_nothing_can_end_early(tmp_path, capsys):
    path = tmp_path / "a,b:c%.yaml"
    path.write_text("x\n")
    show([problem(path, text="100% of\n::error::x", hint="a\r")], 0, Format.GITHUB)
    show([problem("--var", warning=True, hint="")], 0, Format.GITHUB)
    first, _, second, last = capsys.readouterr().out.splitlines()
    place = f"file={tmp_path}/a%2Cb%3Ac%25.yaml,line=1,col=1,title=unknown-key"
    assert first == f"::error {place}::100%25 of\\n::error::x%0Aa\\r"
    assert second == "::warning title=unknown-key::unknown"
    assert last == "0 rules, 0 errors, 1 warning"


def test_a_refused_start_says_the_same_on_stderr(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text("mach: x\n")
    refuse([problem(path)])
    out, err = capsys.readouterr()
    assert out == ""
    assert "     1 | mach: x\n       | ^\n         hint: mend it\n" in err
    assert err.splitlines()[-1] == "stopgap: these rules do not load: 1 error"

"""Allow: a comment silences one warning, where it stands, with its reason; everything else about it is said."""

import pytest
from tests.catalog_fakes import CATALOG
from tests.rule_files import ENVIRON, problems, read, write

from stopgap.config import load

RULE = """rules:
  - name: one
    match: alertname="Down"
    do: [{restart: "systemd://api"}]
"""
GUARDED = RULE + "    guard:\n      cooldown: 0s\n      budget: 9000/1h\n"


def codes(root, text: str, **more) -> list[tuple[int, str]]:
    return [(each.line, each.code) for each in read(root, {"p/a.yaml": text}, **more).warnings]


def with_comment(text: str, after: str, comment: str) -> str:
    assert after in text
    return text.replace(after, f"{after}  # stopgap: allow {comment}", 1)


def above(text: str, before: str, *comments: str) -> str:
    assert before in text
    return text.replace(before, "".join(f"# stopgap: allow {each}\n" for each in comments) + before, 1)


def test_a_warning_is_there_without_a_comment(tmp_path):
    assert codes(tmp_path, GUARDED) == [(2, "unverified"), (6, "no-limit"), (7, "no-limit")]


def test_a_comment_behind_the_value_silences_the_warning_of_its_line_only(tmp_path):
    text = with_comment(GUARDED, "cooldown: 0s", "no-limit a lab")
    assert codes(tmp_path, text) == [(2, "unverified"), (7, "no-limit")]


def test_a_comment_behind_a_value_is_not_for_the_next_line(tmp_path):
    text = with_comment(GUARDED, "guard:", "no-limit a lab")
    assert (6, "no-limit") in codes(tmp_path, text)


def test_a_comment_alone_on_the_line_above_silences_it(tmp_path):
    text = above(GUARDED, "      cooldown: 0s", "no-limit a lab")
    assert codes(tmp_path, text) == [(2, "unverified"), (8, "no-limit")]


def test_comments_above_a_line_stack_over_other_comments_and_empty_lines(tmp_path):
    text = above(GUARDED, "      cooldown: 0s\n", "no-limit a lab").replace(
        " a lab\n", " a lab\n\n  # and so on\n"
    )
    assert codes(tmp_path, text) == [(2, "unverified"), (10, "no-limit")]


def test_what_is_odd_about_a_whole_rule_is_allowed_beside_its_name(tmp_path):
    named_last = RULE.replace("  - name: one\n    match", "  - match") + "    name: one\n"
    assert codes(tmp_path / "a", named_last) == [(2, "unverified")]
    assert codes(tmp_path / "b", with_comment(named_last, "name: one", "unverified it is watched")) == []


def test_a_file_has_its_first_line_for_what_is_odd_about_all_of_it(tmp_path):
    text = "# stopgap: allow no-default-contact people watch\n" + with_comment(
        RULE, "name: one", "unverified x"
    )
    assert [each.code for each in read(tmp_path, {"a.yaml": text, "site.yaml": ""}).warnings] == []


def test_a_missing_reason_is_a_warning_and_silences_all_the_same(tmp_path):
    assert codes(tmp_path, with_comment(RULE, "name: one", "unverified")) == [(2, "bare-allow")]


def test_a_comment_that_silences_nothing_is_a_warning(tmp_path):
    text = with_comment(RULE, 'alertname="Down"', "unverified it is watched")
    assert codes(tmp_path, text) == [(2, "unverified"), (3, "unused-allow")]


def test_a_second_comment_for_the_same_is_one_too_many(tmp_path):
    text = above(with_comment(RULE, "name: one", "unverified x"), "  - name", "unverified x")
    assert codes(tmp_path, text) == [(3, "unused-allow")]


@pytest.mark.parametrize(
    ("comment", "said", "cure"),
    [
        ("# stopgap: allow", "it does not say what is allowed", "write # stopgap: allow CODE reason"),
        ("# stopgap: alow unverified x", "`alow` is nothing that a comment can say", "write # stopgap: allow"),
        ("# stopgap: allow unverfied x", "no warning is called `unverfied`", "did you mean `unverified`?"),
        ("# stopgap: allow nonsense x", "no warning is called `nonsense`", "see the codes in rules/README.md"),
        ("#stopgap:allow unknown-key x", "`unknown-key` is an error: it cannot be allowed", "remove it"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_comment_is_said_with_its_place(tmp_path, comment, said, cure):
    *_, found = read(tmp_path, {"p/a.yaml": RULE + comment + "\n"}).warnings
    assert (found.line, found.column, found.code) == (5, 1, "unused-allow")
    assert found.text == said
    assert found.hint.startswith(cure)


def test_an_error_is_never_silenced(tmp_path):
    text = with_comment(RULE + "    mach: x", "mach: x", "unknown-key x")
    assert any("unknown key `mach`" in each for each in problems(tmp_path, {"p/a.yaml": text}))


@pytest.mark.parametrize(
    "summary",
    [
        '"x # stopgap: allow unverified x"',
        "'it''s # stopgap: allow unverified x'",
        "x#stopgap:allow unverified x",
        "|\n      # stopgap: allow unverified x\n      text",
        '"x\n      # stopgap: allow unverified x"',
    ],
)
def test_what_stands_in_a_text_is_no_comment(tmp_path, summary):
    text = RULE.replace("name: one\n", f"name: one\n    summary: {summary}\n")
    if "#" not in summary.split("\n")[0]:
        text = RULE + f"    summary: {summary}\n"
    assert codes(tmp_path, text) == [(2, "unverified")]


def test_a_comment_behind_a_quoted_hash_counts_and_so_does_one_behind_the_sign_of_a_block(tmp_path):
    quoted = RULE.replace("name: one", 'name: "one" # stopgap: allow unverified x')
    assert codes(tmp_path / "a", quoted) == []
    block = RULE + "    summary: | # stopgap: allow unverified x\n      text\n"
    assert codes(tmp_path / "b", block) == [(2, "unverified"), (5, "unused-allow")]


def test_a_part_of_the_directory_does_not_show_what_is_unused(tmp_path):
    text = with_comment(with_comment(RULE, "name: one", "unverified x"), 'alertname="Down"', "overlap x")
    root = write(tmp_path, {"p/pack.yaml": "name: p\n", "p/a.yaml": text})
    assert [each.code for each in load(root, CATALOG, environ=ENVIRON).warnings] == ["unused-allow"]
    assert load(root / "p" / "a.yaml", CATALOG, environ=ENVIRON).warnings == ()


def test_an_address_that_only_another_machine_has_may_be_allowed_everywhere(tmp_path):
    site = "contacts:\n  default: {url_env: CHAT}  # stopgap: allow unset-contact set in production\n"
    rule = with_comment(RULE, "name: one", "unverified x")
    files = {"p/a.yaml": rule, "site.yaml": site}
    assert read(tmp_path, files).warnings == ()
    assert read(tmp_path, files, environ={}).warnings == ()

"""Matchers that exclude each other are an error; those that only look as if they did are not."""

import pytest
from tests.lints import FLAG, found, rule, said

from stopgap.config.lints.never_matches import never_matches
from stopgap.config.lints.subject import Subject
from stopgap.config.values import values_of
from stopgap.matcher import parse_matcher, parse_matchers
from stopgap.rule import Rule

CODE = "never-matches"
BODY = "do: [{restart: 'systemd://x'}]\nverify: [{http: 'http://x'}]"


@pytest.mark.parametrize(
    "match",
    [
        ['a="x"', 'a="y"'],
        ['a="x"', 'a!="x"'],
        ['a!="x"', 'a="x"'],
        ['a="x"', 'a=~"y|z"'],
        ['a="x"', 'a=~"y.*"'],
        ['a="xy"', 'a!~"x.*"'],
        ['a=~"x|y"', 'a=~"z|w"'],
        ['a=~"(?:x|y)"', 'a!~"x|y"'],
        ['a=~"x|y"', 'a!="x"', 'a!="y"'],
        ['a=""', 'a!=""'],
        ['a=""', 'a=~".+"'],
        ['a=~""', 'a="x"'],
        ['a!~".+"', 'a="x"'],
        ['a!~".*"'],
        ['a=~"x.*"', 'a!~"x.*"'],
        ['a!~".+x"', 'a=~".+x"'],
        [r'a=~"a\\.b"', r'a=~"a\\.c|axb"'],
    ],
)
def test_matchers_that_no_value_satisfies_are_an_error(tmp_path, match):
    texts = "[" + ", ".join(f"'{each}'" for each in match) + "]"
    (problem,) = found(tmp_path, {"p/a.yaml": rule(BODY, match=texts)}, CODE)
    assert not problem.warning
    assert problem.text.endswith("this rule can never match")
    assert (problem.line, problem.key) == (3, f"rules[0].match[{len(match) - 1}]")
    assert problem.hint


@pytest.mark.parametrize(
    "match",
    [
        ['a="x"', 'b="y"'],
        ['a="x"', 'a!="y"'],
        ['a="x"', 'a=~"x|y"'],
        ['a=~"x|y"', 'a!="x"'],
        ['a=~"x|y"', 'a=~"y|z"'],
        ['a=~"x.*"', 'a!~"x.*y"'],
        ['a=~"x.*"', 'a=~"y.*"'],
        ['a=""'],
        ['a!~".+"'],
        ['a!=""', 'a=~".*"'],
        [r'a=~"a\\.b"', 'a="a.b"'],
        ['a=~"(x|y)(z|)"', 'a!="xz"'],
        ['a="x"', 'a="x"'],
    ],
)
def test_matchers_that_some_value_satisfies_are_none(tmp_path, match):
    texts = "[" + ", ".join(f"'{each}'" for each in match) + "]"
    assert said(tmp_path, {"p/a.yaml": rule(BODY, match=texts)}, CODE) == []


def test_a_pack_and_its_rule_can_exclude_each_other(tmp_path):
    files = {
        "p/pack.yaml": "name: p\nmatch: ['job=~\"{{ vars.job }}\"']\nvars: {job: shop.*}",
        "p/a.yaml": rule(f"do: [{FLAG}]", match='\'alertname="Down",job="hotel"\''),
    }
    (problem,) = found(tmp_path, files, CODE)
    assert problem.path.endswith("a.yaml")
    assert problem.text == '`job=~"shop.*"` and `job="hotel"` exclude each other: this rule can never match'


def test_it_is_the_later_of_the_two_that_is_pointed_at(tmp_path):
    match = '[\'job="a"\', \'env="x"\', \'job!="a", zone="z"\', \'tier="t"\']'
    assert said(tmp_path, {"p/a.yaml": rule(BODY, match=match)}, CODE)[0].startswith(
        "3:35 rules[0].match[2]:"
    )


def test_where_the_text_of_a_matcher_is_not_found_the_whole_list_is_pointed_at():
    matchers = parse_matchers('job="a",job="b"')
    document = {"match": ['job=~"("', "{{ labels.x }}", "{{ vars.x }}"]}
    one = Rule("p", "one", "", matchers, document=document)
    assert [each.path for each in never_matches(Subject(one))] == [("match",)]


def test_what_is_said_of_very_long_matchers_is_short(tmp_path):
    match = f"['job=\"{'a' * 500}\"', 'job=\"{'b' * 500}\"']"
    (problem,) = found(tmp_path, {"p/a.yaml": rule(BODY, match=match)}, CODE)
    assert len(problem.text) < 250


def test_a_matcher_that_cannot_be_read_is_told_once(tmp_path):
    match = "['job=~\"(\"', 'env=\"x\"', 'env=\"y\"']"
    assert len(said(tmp_path, {"p/a.yaml": rule(BODY, match=match)}, CODE)) == 1


@pytest.mark.parametrize(
    ("matcher", "values"),
    [
        ('a="x"', {"x"}),
        ('a=~"x|y|"', {"x", "y", ""}),
        ('a=~"(?:High Latency|Down)"', {"High Latency", "Down"}),
        (r'a=~"a\\.b|c\\|d"', {"a.b", "c|d"}),
        ('a!~".*"', set()),
        ('a!~"(.+)"', {""}),
        (f'a=~"{"x" * 5000}"', None),
        ('a=~"x.y"', None),
        ('a=~"[ab]"', None),
        ('a=~"x(y|z)"', None),
        (r'a=~"\\d"', None),
        ('a!="x"', None),
        ('a!~"x"', None),
    ],
)
def test_the_values_that_a_matcher_leaves_are_listed_where_they_can_be(matcher, values):
    assert values_of(parse_matcher(matcher)) == values

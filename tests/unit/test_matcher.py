"""Matchers: Alertmanager's grammar, its fallback and its disagreements, and the index by alertname."""

import pytest

from stopgap.matcher import LONGEST, Matcher, MatcherError, MatcherIndex, Op, parse_matcher, parse_matchers


def read(text: str) -> list[tuple[str, str, str]]:
    return [(m.name, str(m.op), m.value) for m in parse_matchers(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("{}", []),
        (" { } ", []),
        ("a=b", [("a", "=", "b")]),
        ("a!=b", [("a", "!=", "b")]),
        ("a=~b", [("a", "=~", "b")]),
        ("a!~b", [("a", "!~", "b")]),
        ('{a="b", c!~"d.*",}', [("a", "=", "b"), ("c", "!~", "d.*")]),
        ('a="b",c="d",', [("a", "=", "b"), ("c", "=", "d")]),
        (' a = "b" , c = d ', [("a", "=", "b"), ("c", "=", "d")]),
        ('a="b,c"', [("a", "=", "b,c")]),
        ('a="{}"', [("a", "=", "{}")]),
        ('a=""', [("a", "=", "")]),
        ('a="say \\"hi\\"\\n\\\\"', [("a", "=", 'say "hi"\n\\')]),
        ("a=ü🙂", [("a", "=", "ü🙂")]),
    ],
)
def test_what_both_syntaxes_read_alike_is_read(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a.b"="c"', ("a.b", "=", "c")),
        ("a.b=c", ("a.b", "=", "c")),
        ("naïve=x", ("naïve", "=", "x")),
        ('"a b"="\\x41\\101\\u00e9\\U0001F642\\a\\b\\f\\r\\t\\v"', ("a b", "=", "AAé🙂\a\b\f\r\t\v")),
        ('"a b"="\\xc3\\xa9"', ("a b", "=", "é")),
        ('{"a,b"="c"}', ("a,b", "=", "c")),
        ('"{"="}"', ("{", "=", "}")),
    ],
)
def test_the_utf8_syntax_is_read_where_the_classic_one_cannot(
    text: str, expected: tuple[str, str, str]
) -> None:
    assert read(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a=~"x\\.y"', [("a", "=~", "x\\.y")]),
        ("a=~x\\.y", [("a", "=~", "x\\.y")]),
        ("a=", [("a", "=", "")]),
        ("a=,b=c", [("a", "=", ""), ("b", "=", "c")]),
        ("a=b c", [("a", "=", "b c")]),
        ("a=b'c", [("a", "=", "b'c")]),
        ("{a=b", [("a", "=", "b")]),
        ("a=b}", [("a", "=", "b")]),
        ("a=b\\", [("a", "=", "b\\")]),
        ("a=b\\nc", [("a", "=", "b\nc")]),
        ('a="b\nc"', [("a", "=", "b\nc")]),
        ("a=b=c", [("a", "=", "b=c")]),
    ],
)
def test_the_classic_syntax_is_the_fallback(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "column", "suggestion"),
    [
        ('a="\\t"', 2, 'a="\\\\t"'),
        ('b=c,a="\\x41"', 6, 'b="c",a="\\\\x41"'),
        ("a=\u00a0b", 3, 'a="\u00a0b"'),
    ],
)
def test_a_text_that_the_syntaxes_read_differently_is_refused_with_the_quoted_form(
    text: str, column: int, suggestion: str
) -> None:
    with pytest.raises(MatcherError, match="quote it") as caught:
        parse_matchers(text)
    assert caught.value.column == column
    assert suggestion in caught.value.cure
    assert parse_matchers(suggestion)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("foo", 3, "expected an operator"),
        ("!=x", 0, "expected a label's name"),
        ("a=b,,c=d", 4, "expected a label's name"),
        ('a="x', 2, "close the double quote"),
        ('"a=b', 0, "close the double quote"),
        ('a="b"c"', 5, "expected a comma or the end"),
        ('{"a b"="c"', 10, "close the brace"),
        ('"a b"="c"}', 9, "expected a comma or the end"),
        ('"a b"="\\q"', 6, "not a Go string"),
        ('"a b"="\n"', 6, "not a Go string"),
        ('"a b"="\\ud800"', 6, "not a Go string"),
        ('"a b"="\\U00110000"', 6, "not a Go string"),
        ('"a b"="\\xff"', 6, "not a Go string"),
        ('"a b"=', 6, "expected a value"),
        ('a=="b"', 2, "two operators in a row"),
        ('a=b"c', 3, "expected a comma or the end"),
        ('a="\\"', 2, "close the double quote"),
        ('a="\\,",b=c', 2, "not a Go string"),  # classic takes the quote after the comma for an escaped one
        ('""="x"', 3, "a label's name is missing"),
        ('a=~"["', 3, "not a regex: a bracket [ is not closed"),
        ('a=~"(?=x)"', 3, "not a regex: it looks around"),
        ('a=~"((x{100}){100}){10}"', 3, "not a regex: it repeats too often"),
        ('a=~"[b-a]"', 3, "not a regex: invalid character class range: b-a"),
        ("a=\ud800", 0, "lone surrogate"),
        ("a=" + "b" * LONGEST, LONGEST, "longer than"),
    ],
)
def test_what_neither_syntax_reads_is_refused_with_place_and_cure(text: str, column: int, words: str) -> None:
    with pytest.raises(MatcherError) as caught:
        parse_matchers(text)
    assert words in str(caught.value)
    assert caught.value.column == column


def test_one_matcher_takes_a_comma_as_classic_does_and_no_braces() -> None:
    assert parse_matcher("a=b c,d") == Matcher("a", Op.EQUAL, "b c,d")
    assert parse_matcher('"a b"=c') == Matcher("a b", Op.EQUAL, "c")
    for text, column in (("{a=b}", 0), ("a=b}", 3)):
        with pytest.raises(MatcherError, match="brace") as caught:
            parse_matcher(text)
        assert caught.value.column == column
    with pytest.raises(MatcherError, match="quote it"):
        parse_matcher("a=b,")
    with pytest.raises(MatcherError, match="expected one matcher, found 2"):
        parse_matcher('"a b"=b,c=d')
    with pytest.raises(MatcherError, match="expected one matcher, found 0"):
        parse_matcher("")


def test_a_value_quoted_in_the_classic_way_must_close_its_quote() -> None:
    for text in ('a="', 'a="b\\"', 'a="b"c', 'a="b\\q"c"'):
        with pytest.raises(MatcherError):
            parse_matcher(text)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ('a=""', {}, True),
        ('a=~"b|c"', {"a": "c"}, True),
        ('a=~"b|c"', {"a": "cc"}, False),
        ('a=~".*"', {}, True),
        ('a=~".+"', {}, False),
        ('a!~"b.*"', {"a": "bcd"}, False),
        ('a!~"b.*"', {}, True),
        ('a=~"x.y"', {"a": "x\ny"}, False),
        ('a=~"x(?s:.)y"', {"a": "x\ny"}, True),
        ('a=~"x.y"', {"a": "x\0y"}, True),
        ('a=~"x"', {"a": "x\n"}, False),
        ('a=~"(?i)ÉÉ"', {"a": "éé"}, True),
        ('a=~"."', {"a": "🙂"}, True),
        ('a=~"x.y"', {"a": "x\ud800y"}, True),
        ("a=x", {"a": "\ud800"}, False),
    ],
)
def test_a_regex_is_anchored_and_a_missing_label_is_empty(
    text: str, labels: dict[str, str], *, expected: bool
) -> None:
    assert parse_matchers(text)[0].matches(labels) is expected


def test_a_regex_that_explodes_elsewhere_is_linear_here() -> None:
    assert not parse_matcher('a=~"(a+)+"').matches({"a": "a" * 5000 + "b"})


def test_a_bad_regex_writes_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MatcherError):
        parse_matcher('a=~"("')
    assert capfd.readouterr() == ("", "")


def test_a_matcher_prints_the_form_that_both_syntaxes_read() -> None:
    assert str(Matcher("a", Op.MATCHES, 'x\\.y"\n')) == 'a=~"x\\\\.y\\"\\n"'
    assert str(Matcher("naïve", Op.EQUAL, "x")) == 'naïve="x"'
    assert str(Matcher("a b", Op.NOT_EQUAL, "x")) == '"a b"!="x"'


def test_a_matcher_made_in_code_is_checked_too() -> None:
    with pytest.raises(MatcherError, match="lone surrogate"):
        Matcher("a", Op.EQUAL, "\udfff")


def index(*rules: str) -> MatcherIndex[str]:
    return MatcherIndex((parse_matchers(rule), rule) for rule in rules)


def test_the_index_finds_every_rule_whose_matchers_all_hold_in_the_order_given() -> None:
    rules = (
        "job=api",
        'alertname="Down"',
        'alertname=~"Down|Slow",job="api"',
        "",
        'alertname="Down",job="web"',
        'alertname=~"Do.*"',
    )
    found = index(*rules).find({"alertname": "Down", "job": "api"})
    assert found == (
        "job=api",
        'alertname="Down"',
        'alertname=~"Down|Slow",job="api"',
        "",
        'alertname=~"Do.*"',
    )
    assert index(*rules).find({"alertname": "Slow", "job": "api"}) == (
        "job=api",
        'alertname=~"Down|Slow",job="api"',
        "",
    )
    assert index(*rules).find({}) == ("",)


def test_an_alert_without_alertname_is_found_by_its_emptiness() -> None:
    assert index('alertname=""', 'alertname="x"').find({"foo": "bar"}) == ('alertname=""',)


def test_two_different_alertnames_in_one_rule_match_nothing() -> None:
    assert index('alertname="a",alertname="b"').find({"alertname": "a"}) == ()


def test_only_the_rules_of_the_alertname_are_looked_at() -> None:
    asked: list[str] = []

    class Labels(dict[str, str]):
        def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
            asked.append(key)
            return super().get(key, default)

    many = index(*(f'alertname="A{n}",job="j{n}"' for n in range(1000)))
    assert many.find(Labels(alertname="A7", job="j7")) == ('alertname="A7",job="j7"',)
    assert len(asked) == 3

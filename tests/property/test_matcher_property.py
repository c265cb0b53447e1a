"""Matchers: what is printed is read back, and matching never raises."""

import re

from hypothesis import given, strategies as st

from stopgap.matcher import Matcher, MatcherError, MatcherIndex, Op, parse_matcher, parse_matchers

TEXT = st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('"\\\n\0,{}=~! \tn'), max_size=20)
NAMES = st.text(
    alphabet=st.characters(codec="utf-8") | st.sampled_from('"\\\n\0,{}=~! \ta_'), min_size=1, max_size=12
)
PLAIN = st.builds(Matcher, NAMES, st.sampled_from([Op.EQUAL, Op.NOT_EQUAL]), TEXT)
REGEX = st.builds(
    Matcher,
    NAMES,
    st.sampled_from([Op.MATCHES, Op.NOT_MATCHES]),
    TEXT.map(re.escape).filter(lambda t: "\0" not in t),
)
MATCHERS = PLAIN | REGEX


@given(MATCHERS)
def test_a_printed_matcher_is_read_back_alone_and_in_a_list(matcher: Matcher) -> None:
    assert parse_matcher(str(matcher)) == matcher
    assert parse_matchers(str(matcher)) == (matcher,)
    assert parse_matchers("{" + str(matcher) + ",}") == (matcher,)


@given(st.lists(MATCHERS, max_size=4))
def test_a_printed_list_is_read_back(matchers: list[Matcher]) -> None:
    assert parse_matchers("{" + ", ".join(map(str, matchers)) + "}") == tuple(matchers)


@given(st.text(alphabet=st.sampled_from('ab"\\\n,{}=~! \tnx41\u00a0é')) | st.text())
def test_any_text_is_read_or_refused_with_a_column_inside_it(text: str) -> None:
    for parse in (parse_matcher, parse_matchers):
        try:
            parse(text)
            column = 0
        except MatcherError as wrong:
            column = wrong.column
        assert 0 <= column <= len(text)


@given(MATCHERS, st.text(alphabet=st.characters()))
def test_matching_never_raises_and_negation_is_the_opposite(matcher: Matcher, value: str) -> None:
    opposite = {
        Op.EQUAL: Op.NOT_EQUAL,
        Op.NOT_EQUAL: Op.EQUAL,
        Op.MATCHES: Op.NOT_MATCHES,
        Op.NOT_MATCHES: Op.MATCHES,
    }
    labels = {matcher.name: value}
    assert matcher.matches(labels) is not Matcher(matcher.name, opposite[matcher.op], matcher.value).matches(
        labels
    )


SMALL = st.builds(
    Matcher,
    st.sampled_from(["alertname", "job"]),
    st.sampled_from(Op),
    st.sampled_from(["", "A", "B", "A|B", "A.*"]),
)


@given(
    st.lists(st.lists(SMALL, max_size=3), max_size=8),
    st.dictionaries(st.sampled_from(["alertname", "job"]), st.sampled_from(["", "A", "B", "A|B", "AB"])),
)
def test_the_index_finds_what_a_scan_finds(rules: list[list[Matcher]], labels: dict[str, str]) -> None:
    scanned = tuple(
        at for at, matchers in enumerate(rules) if all(matcher.matches(labels) for matcher in matchers)
    )
    assert MatcherIndex((matchers, at) for at, matchers in enumerate(rules)).find(labels) == scanned

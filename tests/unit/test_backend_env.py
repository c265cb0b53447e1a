"""An env file keeps every byte that is not a changed value."""

import re

import pytest
from hypothesis import given, strategies as st

from stopgap.backends.capability import Entry
from stopgap.backends.env import Env
from stopgap.backends.locator import parse_locator
from stopgap.errors import PermanentError

ENV = Env(parse_locator("env:///etc/app.env"))


def edit(text: str, **settings: str | None) -> str:
    return ENV.edit(text, {key: Entry(value) for key, value in settings.items()})


def value(text: str, key: str = "A") -> str | None:
    return ENV.find(text, [key])[key].value


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("A=1", "1"),
        ("A=", ""),
        ("A = 1 ", "1"),
        ("  export A=1", "1"),
        ("A=a b # comment", "a b"),
        ("A=a#b", "a#b"),
        ("A= # comment", ""),
        ("A='it # is'  # comment", "it # is"),
        (r'A="say \"x\" \$HOME"', 'say "x" $HOME'),
        ("A='x'y", "'x'y"),
        ('A="open', '"open'),
        ("A=1\r", "1"),
        ("A=1\nA=2", "2"),
        ('A="one\nB=two"\n', "one\nB=two"),
        ("#A=1", None),
        ("AA=1", None),
        ("A", None),
        ("", None),
    ],
)
def test_a_value_is_read_as_programs_read_it(line, read):
    assert value(line) == read


def test_a_key_inside_a_quoted_value_is_no_setting():
    assert value('X="one\nA=two"\n') is None


@pytest.mark.parametrize(
    ("text", "new", "after"),
    [
        ("A=1 # one\n", "2", "A=2 # one\n"),
        ("A='1'\n", "2", "A='2'\n"),
        ('A="1"\r\n', "a b", 'A="a b"\r\n'),
        ("A=1\n", "a b", 'A="a b"\n'),
        ("A=1\n", "x#y", 'A="x#y"\n'),
        ("A=1\n", "pa$$", "A='pa$$'\n"),
        ("A='1'\n", "it's", 'A="it\'s"\n'),
        ('A="1"\n', "pa$$", "A='pa$$'\n"),
        ("A= # none\n", "1", "A=1 # none\n"),
        ("export A=1", "2", "export A=2"),
        ("A=1\nA=2\n", "3", "A=1\nA=3\n"),
        ("B=1\n", "2", "B=1\nA=2\n"),
        ("B=1", "2", "B=1\nA=2"),
        ("B=1\r\n", "2", "B=1\r\nA=2\r\n"),
        ("export B=1\n", "2", "export B=1\nexport A=2\n"),
        ("", "2", "A=2\n"),
        ("A=1\n", "", "A=\n"),
    ],
)
def test_only_the_value_changes_and_it_reads_back(text, new, after):
    assert edit(text, A=new) == after
    assert value(after) == new


def test_removing_takes_every_line_of_the_key():
    assert edit("A=1\nB=2\nA=3\n", A=None) == "B=2\n"


@pytest.mark.parametrize("hostile", ["a\nB=1", "a\rB", "a\0", "both ' and \"", "\x1b[31m", "tick ` and '"])
def test_what_readers_would_read_differently_is_refused_without_showing_it(hostile):
    with pytest.raises(PermanentError) as refused:
        edit("A=1\n", A=hostile)
    assert hostile not in str(refused.value)


@pytest.mark.parametrize("key", ["A B", "A\nB", "1A", "", "A=B", "--A"])
def test_a_key_that_is_no_name_is_refused(key):
    with pytest.raises(PermanentError):
        ENV.edit("", {key: Entry("1")})


KEYS = st.sampled_from(["A", "B", "PMS_TYPE", "x.y"])
ANY_LINE = st.one_of(
    st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "export ", " "]),
        KEYS,
        st.text(alphabet="ab'\"\\ #$=", max_size=12),
    ),
    st.text(alphabet="AB=#'\" \t", max_size=8),
    st.sampled_from(["# comment", "", 'A="two\nlines"', "A='x' # c"]),
)
FILES = st.builds(
    lambda lines, newline, last: newline.join(lines) + (newline if last else ""),
    st.lists(ANY_LINE, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
VALUES = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(FILES, st.dictionaries(KEYS, st.none() | VALUES, min_size=1))
def test_setting_and_setting_back_gives_the_same_bytes(text, settings):
    before = ENV.find(text, settings)
    try:
        after = ENV.edit(text, {key: Entry(new) for key, new in settings.items()})
    except PermanentError:
        return
    found = ENV.find(after, settings)
    if any(found[key].value != new for key, new in settings.items()):
        return  # refused by the file, which reads back before it writes
    if any(new is None and before[key].value is not None for key, new in settings.items()):
        return  # `flag` never removes what was there
    assert ENV.edit(after, before) == text


@given(FILES, KEYS, VALUES.filter(lambda v: re.fullmatch(r"\w*", v)))
def test_other_keys_keep_their_values(text, key, new):
    others = {"A", "B", "PMS_TYPE", "x.y"} - {key}
    after = ENV.edit(text, {key: Entry(new)})
    if ENV.find(after, [key])[key].value == new:
        assert ENV.find(after, others) == ENV.find(text, others)

"""Who is let in, and how rarely strangers are heard."""

import base64
from datetime import timedelta

import pytest
from pydantic import SecretStr

from stopgap.credential import FEW, Credential
from stopgap.seldom import MOST_KEYS, Seldom


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("shown", "admitted"),
    [
        ("Bearer word", True),
        ("BEARER  word ", True),
        (basic(b"anybody:word"), True),
        (basic(b":word"), True),
        (basic(b"word"), False),
        (basic(b"word:"), False),
        ("Bearer wor", False),
        ("Bearer wordy", False),
        ("word", False),
        ("", False),
        ("Bearer", False),
        ("Basic \udcff", False),
        ("Bearer \udcff", False),
        ("Digest word", False),
    ],
)
def test_only_the_word_opens(shown, admitted):
    assert Credential(SecretStr("word"), basic=True).admits(shown) is admitted


@pytest.mark.parametrize(
    ("shown", "wrong"), [("Bearer other", True), ("Bearer ", False), ("", False), ("Basic eDp5", False)]
)
def test_a_refusal_tells_a_wrong_word_from_none(shown, wrong):
    refusal = Credential(SecretStr("word")).refusal(shown)
    assert ("is wrong" in refusal) == wrong
    assert "other" not in refusal
    assert refusal != Credential(SecretStr("word")).refusal("" if wrong else "Bearer other")


def test_basic_is_refused_where_it_is_not_allowed():
    assert not Credential(SecretStr("word")).admits(basic(b"x:word"))


def test_an_empty_word_is_never_shown_by_showing_nothing():
    assert not Credential(SecretStr("")).admits("Bearer ")


def test_without_a_word_everybody_is_let_in():
    assert Credential().admits("")


def test_the_word_is_not_printed():
    assert "word" not in repr(Credential(SecretStr("word"))).replace("word=", "")


def test_something_is_said_once_per_interval_with_the_number_of_those_unsaid():
    now = [0.0]
    seldom = Seldom(timedelta(seconds=10), lambda: now[0])
    assert [seldom.ask("a"), seldom.ask("a"), seldom.ask("a"), seldom.ask("b")] == [0, None, None, 0]
    now[0] = 10.0
    assert seldom.ask("a") == 2
    assert seldom.ask("b") == 0


def test_keys_that_strangers_invent_do_not_fill_the_memory():
    seldom = Seldom(timedelta(seconds=10), lambda: 0.0)
    answers = [seldom.ask(f"key {n}") for n in range(10 * MOST_KEYS)]
    assert sum(answer is not None for answer in answers) == MOST_KEYS + 1


def test_a_header_that_showed_the_word_still_does_and_lets_no_other_in():
    credential = Credential(SecretStr("word"), basic=True)
    for _ in range(2):
        assert credential.admits("Bearer word")
        assert not credential.admits("Bearer wore")
    for n in range(100):
        assert credential.admits(basic(f"user-{n}:word".encode()))
    assert len(credential._admitted) == FEW
    assert "word" not in repr(credential)
    assert credential == Credential(SecretStr("word"), basic=True)

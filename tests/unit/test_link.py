"""Signed links: what they cover, and what they give away."""

import re
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import SecretStr

from stopgap.link import Links

TOKEN = "control word"
INCIDENT = "INC-20261121-101500-bbbbbb"


def links(token: str = TOKEN, url: str = "https://ops.example.com/stopgap") -> Links:
    return Links(SecretStr(token), url)


def signature(url: str) -> str:
    return url.rpartition("/")[2]


def test_a_link_leads_to_the_daemon_and_names_what_it_is_for():
    url = links().url(INCIDENT, 7, "oncall")
    assert re.fullmatch(
        rf"https://ops\.example\.com/stopgap/approve/{INCIDENT}/7/oncall/[A-Za-z0-9_-]{{43}}", url
    )
    assert links().admits(INCIDENT, 7, "oncall", signature(url))


def test_a_contact_of_any_name_fits_into_the_path():
    url = links().url(INCIDENT, 7, "a/b ü?#")
    *_, contact, signed = urlsplit(url).path.split("/")
    assert unquote(contact) == "a/b ü?#"
    assert links().admits(INCIDENT, 7, "a/b ü?#", signed)


@pytest.mark.parametrize(
    ("incident", "request_", "contact"),
    [("INC-other", 7, "oncall"), (INCIDENT, 8, "oncall"), (INCIDENT, 7, "chat"), (INCIDENT, 77, "ncall")],
)
def test_a_signature_is_good_for_nothing_else(incident, request_, contact):
    signed = signature(links().url(INCIDENT, 7, "oncall"))
    assert not links().admits(incident, request_, contact, signed)


@pytest.mark.parametrize("change", [str.lower, str.upper, lambda s: s[:-1], lambda s: s + "A", lambda _: ""])
def test_a_changed_signature_is_none(change):
    signed = signature(links().url(INCIDENT, 7, "oncall"))
    assert not links().admits(INCIDENT, 7, "oncall", change(signed))
    assert not links().admits(INCIDENT, 7, "oncall", "ü\udcff")


def test_another_token_makes_every_link_void():
    signed = signature(links().url(INCIDENT, 7, "oncall"))
    assert not links("another word").admits(INCIDENT, 7, "oncall", signed)


@pytest.mark.parametrize("mark", ["", "/", "|", ",", "\0", "\n", '", "'])
def test_the_parts_cannot_be_shifted_into_each_other(mark):
    shifted = links().url("a", 1, f"2{mark}b"), links().url(f"a{mark}1", 2, "b")
    assert signature(shifted[0]) != signature(shifted[1])


def test_neither_token_nor_key_is_printed():
    assert TOKEN not in f"{links()!r} {links()} {links().url(INCIDENT, 7, 'oncall')}"

"""A JSON or YAML file keeps every byte that is not a changed value, and the kind of each value."""

import json

import pytest
from hypothesis import given, settings as hypothesis, strategies as st
from ruamel.yaml import YAML

from stopgap.backends.capability import Entry
from stopgap.backends.json import JsonFile
from stopgap.backends.locator import parse_locator
from stopgap.backends.yaml import YamlFile
from stopgap.errors import PermanentError

JSON = JsonFile(parse_locator("json:///etc/app.json"))
YAML_FILE = YamlFile(parse_locator("yaml:///etc/app.yaml"))

LOAD = YAML(typ="safe", pure=True).load
DOCUMENT = (
    '{\n\t"rate": 120, "on": true, "mode": "real",\n  "pms": {'
    '"url": "http:\\/\\/x", "ttl": null, "none": {}, "list": [1, {"a": 2}]},\n  "a.b": 1 }\n'
)
TEXT = """\
# settings of the hotel
rate: 120   # per minute
"on": true
mode: 'real'
pms:
  # the property system
  url: "http://x"
  ttl:
  none: {}
  list: [1, 2]
  block: |
    text
plain: real
anchored: &x 1
alias: *x
tagged: !!str 5
flow: {k: v, 'q': "z"}
last: yes
# the end"""


def edit(place, text, **settings):
    changes = {key.replace("__", "."): Entry(value) for key, value in settings.items()}
    after = place.edit(text, changes)
    assert {key: entry.value for key, entry in place.find(after, changes).items()} == {
        key: entry.value for key, entry in changes.items()
    }
    return after


def test_json_values_keep_their_kind():
    after = edit(JSON, DOCUMENT, rate="300", on="false", mode="007", pms__ttl="5", pms__url="http://y")
    expected = (
        DOCUMENT.replace("120", "300")
        .replace("true", "false")
        .replace('"real"', '"007"')
        .replace("null", "5")
    )
    assert after == expected.replace('"http:\\/\\/x"', '"http://y"')


def test_yaml_values_keep_their_kind_their_quotes_and_their_comments():
    after = edit(
        YAML_FILE,
        TEXT,
        rate="300",
        on="false",
        mode="it's",
        pms__ttl="5",
        pms__url="a",
        plain="no",
        flow__k="1:2",
    )
    assert after == (
        TEXT.replace("120 ", "300 ")
        .replace("true", "false")
        .replace("'real'", "'it''s'")
        .replace("ttl:", "ttl: 5")
        .replace('"http://x"', '"a"')
        .replace("plain: real", 'plain: "no"')
        .replace("k: v", 'k: "1:2"')
    )


@pytest.mark.parametrize(("place", "text"), [(JSON, DOCUMENT), (YAML_FILE, TEXT)])
@pytest.mark.parametrize(
    ("key", "new"), [("rate", "many"), ("rate", "0120"), ("rate", ""), ("on", "yes"), ("on", "True")]
)
def test_a_value_that_would_change_its_kind_is_refused(place, text, key, new):
    with pytest.raises(PermanentError, match="would not be"):
        place.edit(text, {key: Entry(new)})


@pytest.mark.parametrize(("place", "text"), [(JSON, DOCUMENT), (YAML_FILE, TEXT)])
@pytest.mark.parametrize("key", ["pms", "pms.list"])
def test_a_section_or_a_list_is_not_a_value(place, text, key):
    with pytest.raises(PermanentError, match="not a single value"):
        place.find(text, [key])


@pytest.mark.parametrize("key", ["anchored", "alias", "tagged", "pms.block"])
def test_yaml_values_that_others_hang_on_are_left_alone(key):
    with pytest.raises(PermanentError, match="not a single value"):
        YAML_FILE.find(TEXT, [key])


def test_a_key_with_dots_wins_over_a_path():
    assert JSON.find(DOCUMENT, ["a.b"])["a.b"].value == "1"


def test_a_missing_section_is_named():
    with pytest.raises(PermanentError, match="no section 'features'"):
        JSON.find(DOCUMENT, ["features.mock"])


def test_the_fragment_is_the_section():
    place = YamlFile(parse_locator("yaml:///etc/app.yaml#pms"))
    assert place.find(TEXT, ["url"])["url"].value == "http://x"
    with pytest.raises(PermanentError, match="no section"):
        YamlFile(parse_locator("yaml:///etc/app.yaml#rate")).find(TEXT, ["url"])


def test_a_new_value_is_a_json_scalar_if_it_reads_as_one():
    after = json.loads(edit(JSON, "{}", a="1", b="true", c="on", d="01", e="null"))
    assert after == {"a": 1, "b": True, "c": "on", "d": "01", "e": None}


@pytest.mark.parametrize("text", ["", "[]", "{", "1", '{"a":}', '{"a": 1} x', "{" * 200, '{"a": "\udcff"}'])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(PermanentError):
        JSON.find(text, ["a"])


@pytest.mark.parametrize(
    "text", ["", "- 1", "a: [", "a: 1\n---\na: 2\n", "text", "{" * 2000, "a: *x", "\ta: 1"]
)
def test_what_is_no_yaml_mapping_is_refused(text):
    with pytest.raises(PermanentError):
        YAML_FILE.find(text, ["a"])


KEYS = [
    "rate",
    "on",
    "mode",
    "plain",
    "new",
    "more",
    "pms.url",
    "pms.ttl",
    "pms.new",
    "pms.none.k",
    "flow.k",
    "flow.new",
    "last",
]
VALUES = st.sampled_from(
    [
        "1",
        "-2.5e3",
        "true",
        "false",
        "null",
        "on",
        "",
        "a b",
        "it's",
        'say "x"',
        "007",
        "x: y",
        "# c",
        "é",
        "{}",
        "y",
        "~",
        "2026-01-01",
    ]
) | st.text(max_size=8)


@pytest.mark.parametrize(
    ("place", "text", "load"),
    [
        (JSON, DOCUMENT, json.loads),
        (YAML_FILE, TEXT, LOAD),
        (YAML_FILE, TEXT.replace("\n", "\r\n"), LOAD),
    ],
    ids=["json", "yaml", "yaml-crlf"],
)
@hypothesis(deadline=None)
@given(settings=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=4))
def test_setting_and_setting_back_gives_the_same_bytes(place, text, load, settings):
    try:
        before = place.find(text, settings)
        after = place.edit(text, {key: Entry(value) for key, value in settings.items()})
        place.find(after, settings)  # as the file does before it writes
    except PermanentError:
        return
    assert place.edit(after, before) == text
    old, new = load(text), load(after)
    untouched = set(old) - {key.split(".")[0] for key in settings}
    assert {key: new[key] for key in untouched} == {key: old[key] for key in untouched}

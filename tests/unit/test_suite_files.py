"""Files of tests: where they are found, what they are about, and what is said about a wrong one."""

import pytest
from tests.suites import CALM, PACK, STAGE, pack, scripts

from stopgap.config.findings import Findings
from stopgap.errors import ConfigError
from stopgap.suite.packs import Packs, files_below, pack_of
from stopgap.suite.script import read_scripts

TEST = """
tests:
  - name: one
    expect: [{at: 0s, incidents: 0}]
"""


def wrong(place, text):
    """Return what is said about a file of tests."""
    path = place / "t.test.yaml"
    path.write_text(text)
    findings = Findings()
    assert read_scripts(path, findings) is not None
    return [f"{one.line}:{one.column} {one.key}: {one.text}, {one.hint}" for one in findings.errors]


def body(line):
    return f"tests:\n  - name: one\n    {line}\n    expect: [{{at: 0s, incidents: 0}}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tests: []\n", "1:8 tests: nothing stands here"),
        ("test: []\n", "1:1 test: unknown key `test`, did you mean `tests`?"),
        ("tests:\n\t- name: one\n", "2:1 : a tab stands where spaces must, indent with spaces"),
        ("", "1:1 : the file is empty, write tests: […]"),
        (
            body("alerts: [{fier: Slow}]"),
            "3:15 tests[0].alerts[0].fier: unknown key `fier`, did you mean `fire`?",
        ),
        (body("alerts: [{at: 0s}]"), "3:14 tests[0].alerts[0]: exactly one of fire, resolve must stand here"),
        (body("alerts: [{fire: Slow, at: soon}]"), "3:31 tests[0].alerts[0].at: 'soon' is not a duration"),
        (
            body("alerts: [{fire: Slow, at: 90d}]"),
            "3:31 tests[0].alerts[0].at: later than 31d after the beginning",
        ),
        (
            body("alerts: [{resolve: Slow, labels: {a: b}}]"),
            "3:14 tests[0].alerts[0]: `resolve` names an alert that fired",
        ),
        (
            body("alerts: [{fire: Slow}, {at: 1m, resolve: Solw}]"),
            "3:46 tests[0].alerts[1].resolve: no such alert fired before, did you mean `Slow`?",
        ),
        (
            body("world: [{is: healthy}]"),
            "3:13 tests[0].world[0]: exactly one of probe, query, values, action",
        ),
        ("tests: [{name: one, expect: [{at: 0s}]}]", "1:30 tests[0].expect[0]: nothing is expected here"),
        (
            "tests: [{name: one, expect: [{at: 0s, steps: []}]}]",
            "1:30 tests[0].expect[0]: nothing is expected",
        ),
        (body("world: [{probe: x}]"), "3:13 tests[0].world[0]: `probe` and `is` go together"),
        (body("world: [{probe: x, is: good}]"), "3:28 tests[0].world[0].is: `good` is not known here"),
        (body("world: [{query: x}]"), "3:13 tests[0].world[0]: `query` and `value` go together"),
        (body("world: [{query: x, value: many}]"), "3:31 tests[0].world[0].value: `many` is not a number"),
        (body("world: [{action: x}]"), "3:13 tests[0].world[0]: say what becomes of the act"),
        (body("world: [{action: x, crash: now}]"), "3:13 tests[0].world[0]: `crash: now` stands alone"),
        (body("world: [{crash: after}]"), "3:13 tests[0].world[0]: `crash: now` stands alone"),
        (
            body("world: [{probe: x, is: healthy, times: 2}]"),
            "3:13 tests[0].world[0]: `times` goes with `action`",
        ),
        (
            body("people: [{at: 1m, ack: anna, deny: ben}]"),
            "3:14 tests[0].people[0]: exactly one of ack, approve",
        ),
        (body("people: [{at: 1m, extend: anna}]"), "3:14 tests[0].people[0]: say for how long: for: 2h"),
        (body("people: [{ack: anna}]"), "3:14 tests[0].people[0]: `at` is missing"),
        (body("repeat: 1s"), "2:5 tests[0]: `repeat` is at least 1m"),
        (body("start: 2026-01-01T00:00:00"), "3:12 tests[0].start: say which time that is"),
        ("tests:\n  - name: one\n", "2:5 tests[0]: `expect` is missing"),
        (
            "tests:\n  - name: one\n    expect: [{at: 0s, events: [opend]}]\n",
            "3:32 tests[0].expect[0].events[0]: `opend` is no event, did you mean `opened`?",
        ),
        (
            "tests:\n  - name: one\n    expect: [{at: 0s, refused: [cooldwn]}]\n",
            "3:33 tests[0].expect[0].refused[0]: `cooldwn` is no reason, did you mean `cooldown`?",
        ),
        (
            "tests:\n  - name: one\n    expect: [{at: 0s, phase: mitigate}]\n",
            "3:30 tests[0].expect[0].phase: `mitigate` is not known here, did you mean `mitigated`?",
        ),
    ],
)
def test_what_is_wrong_is_said_with_line_column_and_cure(tmp_path, text, said):
    found = wrong(tmp_path, text)
    assert len(found) == 1, found
    assert found[0].startswith(said), found[0]


def test_an_alert_with_too_many_values_is_refused(tmp_path):
    many = ", ".join(map(str, range(1001)))
    (said,) = wrong(tmp_path, body(f"alerts: [{{fire: Slow, each: {{n: [{many}]}}}}]"))
    assert "more than 1000 alerts" in said


def test_two_tests_of_a_file_have_two_names(tmp_path):
    (said,) = wrong(tmp_path, TEST + TEST.split("tests:\n")[1])
    assert said.startswith("5:11 tests[1].name: a test of this file is called so already")


def test_files_are_found_where_packs_are(tmp_path):
    for name in (
        "a.test.yaml",
        "shop/b.test.yml",
        "shop/rules.yaml",
        ".hidden/c.test.yaml",
        "shop/deep/d.test.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEST)
    findings = Findings()
    found = files_below([tmp_path, tmp_path / "a.test.yaml"], findings)
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.test.yaml", "shop/b.test.yml"]
    assert not findings.errors
    assert files_below([tmp_path / "gone"], findings) == ()
    assert "cannot be read" in findings.errors[0].text


def test_too_many_files_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("stopgap.suite.packs.MOST_FILES", 1)
    for name in "ab":
        (tmp_path / f"{name}.test.yaml").write_text(TEST)
    findings = Findings()
    assert files_below([tmp_path], findings) == ()
    assert "more than 1 files" in findings.errors[0].text


def test_a_file_is_about_the_pack_beside_it_or_the_rules_of_its_name(tmp_path):
    place = pack(tmp_path)
    assert pack_of(place / "any.test.yaml") == place
    (tmp_path / "loose.yaml").write_text(CALM)
    assert pack_of(tmp_path / "loose.test.yaml") == tmp_path / "loose.yaml"
    assert pack_of(tmp_path / "other.test.yaml") == tmp_path


def test_rules_are_loaded_once_for_the_same_vars(tmp_path):
    place = pack(tmp_path)
    first, second = scripts(
        place, TEST + "  - name: two\n    vars: {hold: 9m}\n    expect: [{at: 0s, incidents: 0}]\n"
    )
    packs = Packs(STAGE.catalog, {"hold": "3m"})
    assert packs.cast(first, {}).rulebook.rules == packs.cast(first, {}).rulebook.rules
    assert len(packs._loaded) == 1
    hold = [packs.cast(one, {}).rulebook.rules["shop/calm"].limits.hold.seconds for one in (first, second)]
    assert hold == [180, 540]
    assert len(packs._loaded) == 2


def test_a_var_that_no_rule_has_is_an_error(tmp_path):
    (script,) = scripts(pack(tmp_path), "vars: {hodl: 1m}" + TEST)
    with pytest.raises(ConfigError, match=r"t\.yaml:3:5: vars\.hodl: no rule of the pack has a var `hodl`"):
        Packs(STAGE.catalog, {}).cast(script, {})


def test_a_secret_is_what_the_file_says(tmp_path):
    more = PACK.replace("secrets: [key]", "secrets: [key, url]")
    place = pack(tmp_path, CALM.replace('"http://cause/"', '"{{ secrets.url }}"'), more)
    (script,) = scripts(place, 'secrets: {url: "http://cause/"}' + TEST)
    loaded = Packs(STAGE.catalog, {}).load(place, {}, script.secrets)
    assert {name: one.get_secret_value() for name, one in loaded.secrets["shop"].items()} == {
        "key": "https://placeholder.invalid/",
        "url": "http://cause/",
    }


def test_who_is_no_contact_is_not_known(tmp_path):
    (script,) = scripts(pack(tmp_path), TEST)
    known = Packs(STAGE.catalog, {}).cast(script, {}).known
    assert (known("shop", "oncall"), known("shop", "nobody")) == (True, False)


def test_alerts_are_not_told_without_end(tmp_path):
    many = ", ".join(f"h{number}" for number in range(1000))
    alerts = f"alerts: [{{fire: Slow, each: {{host: [{many}]}}}}]"
    text = f"tests: [{{name: one, repeat: 1m, {alerts}, expect: [{{at: 31d, incidents: 0}}]}}]"
    assert wrong(tmp_path, text) == [
        "1:29 tests[0].repeat: more than 1,000,000 alerts would be told, write a longer `repeat`, or a shorter test"
    ]
    assert wrong(tmp_path, text.replace("1m", "4h")) == []

"""Loading a directory of packs: what is taken, what is merged, what is refused."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.catalog_fakes import CATALOG
from tests.rule_files import ENVIRON, SITE, SMALLEST, problems, read, rule, warnings, write

from stopgap.config import build_rule, load, read_vars
from stopgap.errors import ConfigError
from stopgap.rule import Mode, OnFailure
from stopgap.template import Template

# --- the smallest rule, and all keys ---


def test_the_smallest_rule_has_all_defaults(tmp_path):
    (one,) = read(tmp_path, {"pack/a.yaml": SMALLEST}).rules
    assert one.id == "pack/one"
    assert [rung.name for rung in one.ladder] == ["one"]
    assert one.ladder[0].do[0].timeout == timedelta(seconds=90)
    assert one.limits.hold == timedelta(minutes=5)
    assert one.mode is Mode.AUTO
    assert one.target is None


def test_every_key_arrives_in_the_rule(tmp_path):
    body = """
target: "{{ labels.instance }}"
per: instance
summary: why
runbook_url: https://runbooks/one
mode: shadow
recovered: [{promql: up, is: "== 1"}]
ladder:
  - name: first
    do: [{flag: {at: "env:///x", set: {A: 0.50, B: true}}, timeout: 1m, retries: 2, optional: true, title: flip}]
    activate: [{restart: "systemd://api"}]
    verify: [{http: {url: "http://api"}, after: 1s, within: 30s, for: 2s, every: 500ms, timeout: 3s}]
    on_failure: keep
    on_resolve: keep
guard: {cooldown: 1h}
hold: 10m
max_hold: 8h
flap_window: 20m
unknown_for: 1m
escalate: [{when: mitigated, notify: default}]
"""
    (one,) = read(tmp_path, {"pack/a.yaml": rule(body)}).rules
    rung, step, probe = one.ladder[0], one.ladder[0].do[0], one.ladder[0].verify[0]
    assert isinstance(one.target, Template)
    assert (one.per, one.summary, one.mode) == (("instance",), "why", Mode.SHADOW)
    assert one.recovered[0].params == {"query": "up", "is": "== 1"}
    assert one.recovered[0].after == timedelta(seconds=30)
    assert (step.params["set"], step.retries, step.optional, step.title) == (
        {"A": "0.50", "B": "true"},
        2,
        True,
        "flip",
    )
    assert (rung.on_failure, rung.on_resolve) == (OnFailure.KEEP, OnFailure.KEEP)
    assert (probe.after, probe.for_, probe.every) == (
        timedelta(seconds=1),
        timedelta(seconds=2),
        timedelta(milliseconds=500),
    )
    assert (one.limits.cooldown, one.limits.max_hold) == (timedelta(hours=1), timedelta(hours=8))
    assert one.escalate[0].notify == ("default",)


def test_a_ladder_without_rungs_is_a_rule_that_only_tells(tmp_path):
    (one,) = read(tmp_path, {"pack/a.yaml": rule("ladder: []")}).rules
    assert one.ladder == ()


# --- packs, files, site ---


def test_a_loose_file_is_the_pack_of_its_stem_and_a_folder_that_of_its_name(tmp_path):
    loaded = read(
        tmp_path,
        {
            "loose.yaml": SMALLEST,
            "folder/x.yml": SMALLEST,
            "named/pack.yaml": "name: other",
            "named/x.yaml": SMALLEST,
        },
    )
    assert [one.id for one in loaded.rules] == ["loose/one", "folder/one", "other/one"]


def test_tests_alerting_rules_and_hidden_files_are_not_rule_files(tmp_path):
    others = {
        "p/a.test.yaml": "x",
        "p/alerts.yaml": "groups: []",
        "p/.hidden.yaml": "x",
        ".git/a.yaml": "x",
        "p/README.md": "x",
    }
    assert len(read(tmp_path, {"p/a.yaml": SMALLEST, **others}).rules) == 1


def test_one_pack_or_one_file_can_be_loaded_alone(tmp_path):
    files = {
        "p/pack.yaml": "name: p\nvars: {at: systemd://x}",
        "p/a.yaml": SMALLEST,
        "p/b.yaml": SMALLEST.replace("one", "two"),
    }
    write(tmp_path, files)
    assert len(load(tmp_path / "p", CATALOG, environ=ENVIRON).rules) == 2
    alone = load(tmp_path / "p" / "b.yaml", CATALOG, environ=ENVIRON)
    assert [one.id for one in alone.rules] == ["p/two"]
    assert "default" in alone.contacts[""]


def test_the_pack_gives_its_rules_match_defaults_and_severities(tmp_path):
    pack = """
name: p
match: ['job="api"']
severities: {critical: P0}
defaults: {guard: {cooldown: 7m}, hold: 1m, mode: shadow}
"""
    (one,) = read(
        tmp_path, {"p/pack.yaml": pack, "p/a.yaml": rule("do: [{restart: 'systemd://x'}]\nhold: 2m")}
    ).rules
    assert [str(matcher) for matcher in one.matchers] == ['job="api"', 'alertname="Down"']
    assert (one.limits.cooldown, one.limits.hold, one.mode) == (
        timedelta(minutes=7),
        timedelta(minutes=2),
        Mode.SHADOW,
    )
    assert one.severity({"severity": "critical"}) == "P0"


def test_the_index_finds_a_rule_by_the_matchers_of_pack_and_rule(tmp_path):
    loaded = read(tmp_path, {"p/pack.yaml": 'name: p\nmatch: job="api"', "p/a.yaml": SMALLEST})
    assert loaded.index.find({"alertname": "Down", "job": "api"}) == loaded.rules
    assert loaded.index.find({"alertname": "Down"}) == ()
    assert loaded.rulebook.rules == {"p/one": loaded.rules[0]}
    assert loaded.rulebook.versions() == loaded.documents


def test_a_directory_without_rules_is_a_mistake(tmp_path):
    assert problems(tmp_path, {}) == [f"{tmp_path}:1:1: there are no rules here, name a directory with packs"]


def test_a_directory_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "nope", CATALOG, environ={})


def test_two_packs_of_one_name_and_two_rules_of_one_name_are_refused(tmp_path):
    found = problems(
        tmp_path,
        {
            "a/pack.yaml": "name: b",
            "a/x.yaml": SMALLEST,
            "b.yaml": SMALLEST,
            "c/x.yaml": SMALLEST,
            "c/y.yaml": SMALLEST,
        },
    )
    assert any("a pack is called `b` already" in each for each in found)
    assert any(
        each.startswith("c/y.yaml:3:11: rules[0].name: a rule is called `one` already") for each in found
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"p/a.yaml": "x" * (1 << 20) + "y"}, "larger than 1 MiB"),
        ({"p/a.yaml": "rule: []"}, "unknown key `rule`, did you mean `rules`?"),
        ({"p/a.yaml": "- name: x"}, "a file of rules is a table, and this is a list"),
        ({"p/a.yaml": "rules: {name: x}"}, "rules are a list, and this is a table"),
        ({"p/a.yaml": "rules: [x]"}, "a rule is a table, and this is `x`"),
        ({"p/pack.yaml": "- x", "p/a.yaml": SMALLEST}, "this file holds a table, and this is a list"),
        ({"p/pack.yaml": "nam: p", "p/a.yaml": SMALLEST}, "unknown key `nam`, did you mean `name`?"),
        ({"p/pack.yaml": "vars: [x]", "p/a.yaml": SMALLEST}, "vars are a table, and this is a list"),
        ({"p/pack.yaml": "vars: {x: [1]}", "p/a.yaml": SMALLEST}, "a var is a text, and this is a list"),
        ({"p/pack.yaml": 'vars: {x: "{{ vars.y }}"}', "p/a.yaml": SMALLEST}, "a var cannot be made of other vars"),
        ({"p/pack.yaml": "severities: {critical: high}", "p/a.yaml": SMALLEST}, "`high` is not well formed"),
        ({"p/pack.yaml": "defaults: {budgt: 3/1h}", "p/a.yaml": SMALLEST}, "unknown key `budgt`, did you mean `budget`?"),
        ({"p/pack.yaml": "defaults: {hold: long}", "p/a.yaml": SMALLEST}, "'long' is not a duration"),
        ({"site.yaml": "rules: []", "p/a.yaml": SMALLEST}, "unknown key `rules`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path, files, said):
    assert any(said in each for each in problems(tmp_path, files))


def test_counts_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("stopgap.config.source.MOST_FILES", 1)
    assert problems(tmp_path, {"a.yaml": SMALLEST, "b.yaml": SMALLEST}) == [
        f"{tmp_path}:1:1: 2 files, more than 1, put more rules into one file"
    ]
    monkeypatch.undo()
    monkeypatch.setattr(sys.modules["stopgap.config.load"], "MOST_RULES", 1)
    assert problems(tmp_path, {}) == [f"{tmp_path}:1:1: more than 1 rules"]


def test_a_file_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    write(tmp_path, {"p/pack.yaml": "name: p", "p/a.yaml": SMALLEST})

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, CATALOG, environ={})
    assert {problem.text for problem in caught.value.problems} == {"cannot be read: Permission denied"}


def test_bytes_that_are_no_text_are_said_with_their_place(tmp_path):
    write(tmp_path, {"p/a.yaml": ""})
    (tmp_path / "p" / "a.yaml").write_bytes(b"rules:\n  - \xff")
    with pytest.raises(ConfigError, match=r"a\.yaml:2:5: not UTF-8"):
        load(tmp_path, CATALOG, environ=ENVIRON)


def test_all_problems_of_all_files_are_said_at_once_in_order(tmp_path):
    found = problems(
        tmp_path,
        {"p/a.yaml": rule("do: [{flag: {}}]\nhold: x"), "p/b.yaml": "rules: x", "q.yaml": "a:\n\t- x"},
    )
    assert [each.split(" ")[0] for each in found] == [
        "p/a.yaml:4:17:",
        "p/a.yaml:4:17:",
        "p/a.yaml:5:11:",
        "p/b.yaml:1:8:",
        "q.yaml:2:1:",
    ]


# --- steps and probes ---


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("hold: 5m", "`do` is missing"),
        ("do: []", "rules[0].do: nothing stands here"),
        ("ladder: []\nverify: [{http: 'http://x'}]", "`verify` beside `ladder`"),
        ("do: [{}]", "the action is missing"),
        ("do: [wait]", "a step is a table, and this is `wait`"),
        ("do: [{wait: 1s, restart: 'systemd://x'}]", "`restart` and `wait` in one step"),
        ("do: [{wait: 1s, params: {}}]", "unknown key `params`"),
        ("do: [{wait: 1s, timeuot: 5s}]", "unknown key `timeuot`, did you mean `timeout`?"),
        ("do: [{wait: 1s, timeout: 0}]", "no time at all"),
        ("do: [{wait: 1s, retries: 11}]", "rules[0].do[0].retries: `11` should be less than or equal to 10"),
        ("do: [{wait: 1s, retries: many}]", "`many` is not a whole number"),
        ("do: [{wait: 1s, optional: perhaps}]", "`perhaps` is not true or false"),
        ("do: [{wipe: 'systemd://x'}]", "`wipe` is destructive and needs an approval"),
        ("do: [{wait: 1s}]\nverify: [{ping: x}]", "no probe is called `ping`, write one of http, promql"),
        ("do: [{wait: 1s}]\nverify: [{promql: up}]", "rules[0].verify[0].promql: `is` is missing"),
        ("do: [{wait: 1s}]\nverify: [{promql: {query: up, is: x}, is: y}]", "`is` stands inside and beside `promql`"),
        ("do: [{wait: 1s}]\nverify: [{promql: up, is: x, after: 50s, for: 20s}]", "after + for is 1m10s, longer than within (1m)"),
        ("do: [{wait: 1s}]\nverify: [{http: 'http://x', every: 1ms}]", "oftener than every 100ms"),
        ("do: [{wait: 1s}]\nrecovered: [{http: 'http://x', within: 1m}]", "`within` is for `verify` only"),
        ("do: [{flag: {at: nowhere, set: {A: b}}}]", "do[0].flag.at: `nowhere` is not a locator, write scheme://…"),
        ("do: [{flag: {at: 'env:///x', set: {A: [b]}}}]", "do[0].flag.set.A: a list is not a text"),
        ("do: [{flag: {at: 5, set: {A: b}}}]", "do[0].flag.at: `5` is a number, not a text, put it in quotes"),
        ("do: [{wait: }]", "do[0].wait: `for` is missing"),
        ("do: [{wait: [1s]}]", "do[0].wait: ['1s'] is not a duration"),
        ("do: [{wait: 1s}]\nguard: {cooldwn: 3h}", "unknown key `cooldwn`, did you mean `cooldown`?"),
        ("do: [{wait: 1s}]\nescalate: [{when: mitigatd, notify: x}]", "`mitigatd` is no event, did you mean `mitigated`?"),
        ("do: [{wait: 1s}]\nescalate: [{when: closed, notify: []}]", "escalate[0].notify: nothing stands here"),
        ("do: [{notify: {contact: nobody, body: x}}]", "no contact is called `nobody`"),
        ("do: [{wait: 1s}]\nsummary: true", "rules[0].summary: `true` is true or false, not a text"),
        ("do: [{wait: 1s}]\nsummary:", "rules[0].summary: nothing stands here, write a text"),
        ("do: [{flag: [x]}]", "rules[0].do[0].flag: a list is not a table"),
        ("do: [{restart: , title: x}]", "rules[0].do[0].restart: `at` is missing"),
        ("recovered: x\ndo: [{wait: 1s}]", "rules[0].recovered: `x` is not a list"),
        ("do: [{wait: 1s}]\nguard: x", "rules[0].guard: `x` is not a table"),
        ("do: [{wait: 1s}]\nyield_to: {x: y}", "rules[0].yield_to: a table is not a list"),
        ("ladder: [x]", "ladder[0]: `x` is not a table"),
        ("ladder: 5", "rules[0].ladder: `5` is not a list"),
        ("do: [{wait: 1s}]\nmode: live", "`live` is not known here, write one of shadow, approve, auto"),
        ("do: [{wait: 1s}]\nmode: shadwo", "did you mean `shadow`?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rule_is_said(tmp_path, body, said):
    assert any(said in each for each in problems(tmp_path, {"p/a.yaml": rule(body)}))


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("'alertname=\"Down'", "a.yaml:3:23: rules[0].match: expected a value"),
        ("['job=\"x\"', 'severity=~\"(\"']", "a.yaml:3:35: rules[0].match[1]: not a regex"),
        ("''", "no matcher stands here"),
        ("[]", "nothing stands here"),
        ("{a: b}", "is not a text"),
    ],
)  # fmt: skip
def test_a_matcher_is_wrong_at_its_own_column(tmp_path, match, said):
    found = problems(tmp_path, {"p/a.yaml": SMALLEST.replace('alertname="Down"', match).lstrip()})
    assert any(said in each for each in found), found


# --- vars, secrets, labels ---

VARS = {"p/pack.yaml": "name: p\nvars: {at: systemd://api, hold: 10m, count: 3, port: 010}"}


def test_vars_stand_in_any_value_and_keep_their_characters(tmp_path):
    body = "do: [{flag: {at: '{{ vars.at }}', set: {PORT: '{{ vars.port }}'}}}]\nhold: '{{ vars.hold }}'"
    (one,) = read(tmp_path, {**VARS, "p/a.yaml": rule(body)}).rules
    assert one.ladder[0].do[0].params == {"at": "systemd://api", "set": {"PORT": "010"}}
    assert one.limits.hold == timedelta(minutes=10)
    assert one.vars == {"at": "systemd://api", "port": "010", "hold": "10m"}


def test_given_vars_outrank_the_sites_and_those_the_packs(tmp_path):
    site = SITE + "vars: {hold: 20m, at: systemd://site}\n"
    body = "do: [{restart: '{{ vars.at }}'}]\nhold: '{{ vars.hold }}'\nmax_hold: '{{ vars.count }}h'"
    files = {**VARS, "site.yaml": site, "p/a.yaml": rule(body)}
    (one,) = read(tmp_path, files, vars={"hold": "30m", "p/hold": "40m", "count": "5"}).rules
    assert one.vars == {"at": "systemd://site", "hold": "40m", "count": "5"}


def test_a_given_var_that_no_rule_has_is_a_warning(tmp_path):
    loaded = read(tmp_path, {**VARS, "p/a.yaml": SMALLEST}, vars={"hodl": "1m", "q/hold": "1m", "count": "1"})
    assert warnings(loaded)[:2] == ["no rule has a var `hodl`", "no rule has a var `q/hold`"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("do: [{restart: '{{ vars.att }}'}]", "a.yaml:4:20: rules[0].do[0].restart: no var is called `att`, did you mean `at`?"),
        ("do: [{restart: 'x{{ nope.x }}'}]", "a.yaml:4:22: rules[0].do[0].restart"),
        ("do: [{restart: 'systemd://{{ secrets.nope }}'}]", "no secret is called `nope`"),
        ("do: [{restart: '{{ secrets.key }}'}]", "do[0].restart: a secret cannot stand here"),
        ("do: [{wait: 1s}]\nsummary: '{{ labels.x }}'", "rules[0].summary: only vars can stand here"),
        ("do: [{wait: 1s}]\nhold: '{{ labels.x }}'", "rules[0].hold"),
        ("do: [{wait: 1s}]\ntarget: '{{ annotations.x }}'", "annotations.x cannot stand here, use labels or vars"),
        ("do: [{wait: '{{ vars.at | int }}s'}]", "rules[0].do[0].wait: vars.at is not a whole number, change `at` in `vars`"),
        ("do: [{wait: 1s}]\nhold: '{{ vars.at }}'", "'systemd://api' is not a duration"),
        ("do: [{scale: {at: '{{ vars.at }}', count: '{{ labels.n | int }}', max: 3}}]", "unknown key `max`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_template_is_said_once_at_its_place(tmp_path, body, said):
    pack = {"p/pack.yaml": VARS["p/pack.yaml"] + "\nsecrets: [key]"}
    found = problems(tmp_path, {**pack, "p/a.yaml": rule(body)})
    assert len(found) == 1
    assert said in found[0]


def test_a_parameter_that_an_alert_will_fill_is_left_to_the_plan(tmp_path):
    body = "do: [{scale: {at: 'fly://{{ labels.app }}', count: '1{{ labels.n }}0'}}]\nrecovered: [{http: 'http://x'}]"
    (one,) = read(tmp_path, {"p/a.yaml": rule(body)}).rules
    assert isinstance(one.ladder[0].do[0].params["count"], Template)


def test_a_secret_is_read_from_the_environment_or_from_a_file_and_never_shown(tmp_path):
    (tmp_path / "token").write_text("from-file\n")
    body = "do: [{flag: {at: 'env:///x', set: {A: '{{ secrets.key }}', B: '{{ secrets.token }}'}}}]"
    files = {"p/pack.yaml": "name: p\nsecrets: [key, token]", "p/a.yaml": rule(body)}
    loaded = read(tmp_path, files, environ={**ENVIRON, "STOPGAP_SECRET_TOKEN_FILE": str(tmp_path / "token")})
    assert loaded.secrets["p"] == {"key": SecretStr("hunter2"), "token": SecretStr("from-file")}
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in str(loaded.documents)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "the secret `key` is not set, set STOPGAP_SECRET_KEY, or STOPGAP_SECRET_KEY_FILE"),
        ({"STOPGAP_SECRET_KEY_FILE": "/nonexistent"}, "the secret `key` cannot be read: No such file"),
        ({"STOPGAP_SECRET_KEY_FILE": "/dev/null"}, "the secret `key` is an empty file"),
        ({"STOPGAP_SECRET_KEY_FILE": "/dev/zero"}, "the secret `key` is a file larger than 64 KiB"),
        ({"STOPGAP_SECRET_KEY_FILE": sys.executable}, "the secret `key` is not text"),
    ],
)
def test_a_missing_secret_is_an_error_that_names_its_variable(tmp_path, environ, said):
    body = "do: [{flag: {at: 'env:///x', set: {A: '{{ secrets.key }}'}}}]"
    files = {"p/pack.yaml": "name: p\nsecrets: [key]", "p/a.yaml": rule(body)}
    (found,) = problems(tmp_path, files, environ=environ)
    assert found.startswith("p/pack.yaml:2:11: secrets[0]: " + said)


def test_an_optional_secret_may_be_missing_but_not_unreadable(tmp_path):
    body = "do: [{flag: {at: 'env:///x', set: {A: '{{ secrets.key }}'}}}]"
    files = {"p/pack.yaml": "name: p\noptional_secrets: [key]", "p/a.yaml": rule(body)}
    assert read(tmp_path, files).secrets["p"] == {"key": SecretStr("hunter2")}
    assert read(tmp_path, files, environ={}).secrets["p"] == {}
    (found,) = problems(tmp_path, files, environ={"STOPGAP_SECRET_KEY_FILE": "/nonexistent"})
    assert "the secret `key` cannot be read" in found


# --- contacts and other warnings ---


def test_contacts_are_by_pack_and_each_has_the_addresses_of_its_variable(tmp_path):
    files = {"p/pack.yaml": "name: p\ncontacts: {lead: {url_env: LEAD}}", "p/a.yaml": SMALLEST}
    loaded = read(tmp_path, files)
    assert [url.get_secret_value() for url in loaded.contacts[""]["default"].urls] == [
        "json://chat",
        "json://backup",
    ]
    assert loaded.contacts["p"]["lead"].urls == ()
    assert warnings(loaded)[-1] == "the address of contact `lead` is not set: it cannot be told anything"


def test_a_contact_of_another_pack_is_not_known(tmp_path):
    files = {"p/pack.yaml": "name: p\ncontacts: {lead: {url_env: LEAD}}", "p/a.yaml": SMALLEST}
    files["q.yaml"] = rule("ladder: []\nescalate: [{when: opened, notify: lead}]")
    assert any("no contact is called `lead`" in each for each in problems(tmp_path, files))


def test_odd_rules_load_with_a_warning(tmp_path):
    flag = "{flag: {at: 'env:///x', set: {A: b}}}"
    files = {"site.yaml": "", "p/a.yaml": rule(f"do: [{flag}]\nhold: 5h")}
    assert warnings(read(tmp_path, files)) == [
        "no contact is called `default`: nobody hears when automation gives up",
        "nothing verifies what this rung does",
        "without `recovered`, it is taken back when its own alert is over, even if that is its own doing",
        "hold (5h) is not shorter than max_hold (4h)",
    ]


def test_a_rule_that_verifies_and_recovers_has_no_warning(tmp_path):
    body = "do: [{flag: {at: 'env:///x', set: {A: b}}}]\nverify: [{http: 'http://x'}]\nrecovered: [{http: 'http://y'}]"
    assert warnings(read(tmp_path, {"p/a.yaml": rule(body)})) == []


# --- documents and versions ---


def test_the_document_alone_builds_an_equal_rule(tmp_path):
    body = "do: [{flag: {at: '{{ vars.at }}', set: {A: '{{ secrets.key }}', B: 010}}}]\ntarget: '{{ labels.job }}'"
    pack = {"p/pack.yaml": VARS["p/pack.yaml"] + '\nsecrets: [key]\nmatch: job="x"\ndefaults: {hold: 1m}'}
    loaded = read(tmp_path, {**pack, "p/a.yaml": rule(body)})
    (one,) = loaded.rules
    assert build_rule(loaded.documents[one.version], CATALOG) == one


def test_a_version_changes_with_what_the_rule_uses_and_with_nothing_else(tmp_path):
    body = rule("do: [{restart: '{{ vars.at }}'}]")
    first = read(tmp_path / "a", {**VARS, "p/a.yaml": body})
    other = read(tmp_path / "b", {**VARS, "p/a.yaml": "# a comment\n" + body}, vars={"hold": "99m"})
    third = read(tmp_path / "c", {**VARS, "p/a.yaml": body}, vars={"at": "systemd://b"})
    assert first.rules[0].version == other.rules[0].version != third.rules[0].version
    assert first.hash == other.hash != third.hash


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: None, "there is no document"),
        (lambda document: {**document, "match": ["x=~("]}, "not a regex"),
        (lambda document: {"pack": "p"}, "`name` is missing"),
        (lambda document: {**document, "ladder": [{"do": [{"action": "gone", "params": {}}]}]}, "no action is called `gone`"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_built_any_more_says_why(tmp_path, change, said):
    (one,) = read(tmp_path, {"p/a.yaml": SMALLEST}).rules
    with pytest.raises(ValueError, match=said):
        build_rule(change(one.document), CATALOG)


def test_a_file_of_vars_is_read_as_text(tmp_path):
    (tmp_path / "v.yaml").write_text("a: 010\nb: on\n")
    assert read_vars(tmp_path / "v.yaml") == {"a": "010", "b": "on"}
    (tmp_path / "v.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match="vars are a table"):
        read_vars(tmp_path / "v.yaml")

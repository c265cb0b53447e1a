"""The schema of rules: it knows every key and says what it is for, refuses all others, and the files that ship are fine by it."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator
from tests.full_rules import CATALOG, TREES, at, complaints, places, plain, replaced, underlined

from stopgap.cli.schema import other_kinds
from stopgap.config import load
from stopgap.config.codes import Wrong
from stopgap.config.document import PACKS
from stopgap.config.escalations import EscalationKeys
from stopgap.config.findings import Findings
from stopgap.config.guards import (
    BlastRadiusKeys,
    CircuitKeys,
    DefaultKeys,
    GuardKeys,
    SiteDefaultKeys,
    StormKeys,
    WindowsKeys,
)
from stopgap.config.model import (
    ContactKeys,
    MessageKeys,
    PackKeys,
    ProbeKeys,
    RuleKeys,
    RungKeys,
    SiteKeys,
    StepKeys,
)
from stopgap.config.read import read
from stopgap.errors import ConfigError
from stopgap.schema import PACK, RULES, SITE, schema_of, whole
from stopgap.schema.form import Form

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "check"
OTHERS = other_kinds()
WHOLE = whole(CATALOG, OTHERS)
EACH = {kind: schema_of(kind, CATALOG, OTHERS) for kind in (RULES, PACK, SITE, *(one.name for one in OTHERS))}


def rule(**more: Any) -> dict[str, Any]:
    return {"rules": [{"name": "one", "match": 'a="b"', **more}]}


def tables(form: Any, place: str = "") -> Iterator[tuple[str, Form]]:
    """Go through the forms of all tables with keys."""
    if isinstance(form, list):
        for i, inner in enumerate(form):
            yield from tables(inner, f"{place}[{i}]")
    if isinstance(form, dict):
        if "additionalProperties" in form and "properties" in form:
            yield place, form
        for key, inner in form.items():
            yield from tables(inner, f"{place}/{key}")


TABLES = list(tables(EACH))
(NAME,) = EACH[PACK]["properties"]["contacts"]["patternProperties"]

# --- what it says ---


@pytest.mark.parametrize("schema", [WHOLE, *EACH.values()], ids=["whole", *EACH])
def test_it_is_a_schema_of_the_draft_that_editors_know(schema):
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)
    assert "$defs" not in orjson.dumps(schema).decode()


@pytest.mark.parametrize(("place", "form"), TABLES, ids=lambda each: each if isinstance(each, str) else "")
def test_every_key_says_what_it_is_for_and_no_other_is_taken(place, form):
    silent = [key for key, inner in form["properties"].items() if not inner.get("description", "").strip()]
    assert silent == [], f"{place}: add Field(description=…) to these keys of the model"
    assert form["additionalProperties"] is False


@pytest.mark.parametrize(("place", "form"), TABLES, ids=lambda each: each if isinstance(each, str) else "")
def test_every_key_says_what_may_stand_there(place, form):
    says = {"type", "enum", "anyOf", "$ref"}
    open_keys = [key for key, inner in form["properties"].items() if not says & inner.keys()]
    anything = ["json"] if place.endswith("/http") or "/http/properties/" in place else []
    assert open_keys in ([], anything), f"{place}: give its validator a json_schema_input_type"


@pytest.mark.parametrize(
    ("model", "form", "unwritten"),
    [
        (SiteKeys, EACH[SITE], set()),
        (PackKeys, EACH[PACK], set()),
        (SiteDefaultKeys, EACH[SITE]["properties"]["defaults"], set()),
        (DefaultKeys, EACH[PACK]["properties"]["defaults"], set()),
        (ContactKeys, EACH[PACK]["properties"]["contacts"]["patternProperties"][NAME], set()),
        (RuleKeys, EACH[RULES]["definitions"]["rule"], {*PACKS}),
        (RungKeys, EACH[RULES]["definitions"]["rung"], set()),
        (StepKeys, EACH[RULES]["definitions"]["step"], {"action", "params"}),
        (ProbeKeys, EACH[RULES]["definitions"]["probe"], {"probe", "params"}),
        (EscalationKeys, EACH[RULES]["definitions"]["rule"]["properties"]["escalate"]["items"], set()),
        (GuardKeys, EACH[RULES]["definitions"]["rule"]["properties"]["guard"], set()),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)  # fmt: skip
def test_it_has_every_key_of_the_loader(model, form, unwritten):
    keys = {field.alias or name for name, field in model.model_fields.items()}
    known = set(form["properties"])
    assert keys - known == unwritten
    short = set(RungKeys.model_fields) if model is RuleKeys else set()
    kinds = {StepKeys: {*CATALOG.actions}, ProbeKeys: {*CATALOG.probes, "is", "json"}}.get(model, set())
    assert known - keys <= short | kinds


@pytest.mark.parametrize("model", [CircuitKeys, StormKeys, WindowsKeys, BlastRadiusKeys])
def test_the_guards_in_the_guard_have_their_keys_too(model):
    guard = EACH[RULES]["definitions"]["rule"]["properties"]["guard"]["properties"]
    inner = guard[{"BlastRadiusKeys": "blast_radius"}.get(model.__name__, model.__name__[:-4].lower())]
    assert set(inner["properties"]) == set(model.model_fields)


def test_messages_have_their_keys_in_rules_and_packs():
    for form in (EACH[RULES]["definitions"]["rule"], EACH[PACK], EACH[SITE]):
        (message,) = form["properties"]["messages"]["patternProperties"].values()
        assert set(message["properties"]) == set(MessageKeys.model_fields)


@pytest.mark.parametrize("word", ["step", "probe"])
def test_it_has_every_action_and_probe_with_all_its_parameters(word):
    kinds = CATALOG.actions if word == "step" else CATALOG.probes
    form = WHOLE["definitions"][word]["properties"]
    for name, kind in kinds.items():
        fields = {field.alias or key for key, field in kind.params.model_fields.items()}
        assert set(form[name]["properties"]) == fields
        assert inspect.getdoc(type(kind)) == form[name]["markdownDescription"]
        assert "\n" not in form[name]["description"]


def test_defaults_are_shown_as_they_are_written():
    rule_ = WHOLE["definitions"]["rule"]["properties"]
    assert rule_["hold"]["default"] == "5m"
    assert rule_["guard"]["properties"]["budget"]["default"] == "3/1h"
    assert rule_["mode"]["default"] == "auto"
    assert WHOLE["definitions"]["probe"]["properties"]["http"]["properties"]["status"]["default"] == [200]
    assert "default" not in rule_["summary"]


# --- what it takes ---


@pytest.mark.parametrize(
    "path",
    sorted(path.relative_to(ROOT) for path in (ROOT / "rules").rglob("*.yaml")),
    ids=str,
)
def test_the_files_that_ship_are_fine(path):
    tree = plain((ROOT / path).read_text())
    assert underlined(tree, Draft7Validator(WHOLE)) == []
    kind = {"pack": PACK, "site": SITE}.get(path.stem, path.stem.rpartition(".")[2])
    if "groups" not in tree:
        assert underlined(tree, Draft7Validator(EACH.get(kind, EACH[RULES]))) == []


PAGES = {page: (ROOT / page).read_text() for page in ("README.md", "rules/README.md")}
ENTRIES = {"do": CATALOG.actions, "verify": CATALOG.probes}
KINDS = {
    f"{key} {name}": inspect.getdoc(type(kind)) or ""
    for key, kinds in ENTRIES.items()
    for name, kind in kinds.items()
}
EXAMPLES = [
    (page, text)
    for page, whole_page in [*PAGES.items(), *KINDS.items()]
    for text in re.findall(r"```yaml\n(.*?)```", whole_page, re.DOTALL)
]
RULE_KEYS = {"ladder", "escalate"}


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=lambda each: each.partition("\n")[0])
def test_the_examples_of_the_documents_are_fine(page, text):
    tree = plain(text)
    if "route" in tree or (page in PAGES and isinstance(tree, list)):
        return  # of Alertmanager, or a piece of a rule
    if page in KINDS:
        entries = {page.split()[0]: tree if isinstance(tree, list) else [tree]}
        tree = rule(**{"do": [{"wait": "1s"}], **entries})
    elif set(tree) <= RULE_KEYS:
        tree = rule(**{"ladder": [], **tree})
    assert underlined(tree, Draft7Validator(WHOLE)) == []


@pytest.mark.parametrize(
    "body",
    [
        {"do": [{"wait": "30s"}]},
        {"do": [{"wait": {"for": "30s"}}]},
        {"do": [{"wait": "{{ vars.pause }}"}]},
        {"do": [{"restart": "systemd://{{ labels.unit }}"}]},
        {"do": [{"scale": {"at": "fly://x", "count": "{{ vars.most }}", "min": "{{ vars.least }}", "max": 5}}]},
        {"do": [{"service": {"at": "systemd://x", "state": "{{ labels.wanted }}"}}]},
        {"do": [{"flag": {"at": "env:///x", "set": {"A": 10, "B": True, "C": 0.5, "D": None}}}]},
        {"do": [{"wait": "1s", "optional": "{{ vars.may }}", "retries": "{{ vars.often }}"}]},
        {"ladder": []},
        {"ladder": [{"do": [{"wait": "1s"}], "approval": True}]},
        {"ladder": [{"do": [{"wait": "1s"}], "approval": "10m"}]},
        {"ladder": [{"do": [{"wait": "1s"}], "approval": {"timeout": "10m"}}]},
        {"do": [{"wait": "1s"}], "verify": [{"promql": "up", "is": "== 1"}]},
        {"do": [{"wait": "1s"}], "verify": [{"promql": {"query": "up", "is": "== 1"}}]},
        {"do": [{"wait": "1s"}], "verify": [{"promql": {"query": "up"}, "is": "{{ vars.wanted }}"}]},
        {"do": [{"wait": "1s"}], "verify": [{"alert": {"labels": {"alertname": "X"}}}, {"alert": "X"}]},
        {"do": [{"wait": "1s"}], "verify": [{"http": "http://x", "json": {"a": "== 1"}}]},
        {"do": [{"wait": "1s"}], "guard": {"circuit": "2/6h", "storm": {"targets": "10/5m"}, "cooldown": 0}},
        {"do": [{"wait": "1s"}], "hold": "{{ vars.hold }}", "mode": "{{ vars.mode }}"},
        {"do": [{"wait": "1s"}], "guard": {"protected": "db-*", "blast_radius": {"total": 12, "max": 2}}},
        {"do": [{"wait": "1s"}], "escalate": [{"when": "{{ vars.event }}", "notify": "oncall"}]},
    ],
    ids=str,
)  # fmt: skip
def test_shorthands_and_templates_are_taken_where_the_loader_takes_them(body):
    assert underlined(rule(**body)) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"do": []},
        {"do": [{}]},
        {"do": [{"wait": "soon"}]},
        {"do": [{"wait": "1s", "restart": "systemd://x"}]},
        {"do": [{"timeout": "1s"}]},
        {"do": [{"tcp": "a:1"}]},
        {"do": [{"service": "systemd://x"}]},
        {"do": [{"notify": None}]},
        {"do": [{"wait": "1s"}], "ladder": []},
        {"do": [{"wait": "1s", "timeout": "{{ labels.long }}"}]},
        {"do": [{"wait": "1s", "retries": 11}]},
        {"do": [{"wait": "1s"}], "verify": [{"promql": "up"}]},
        {"do": [{"wait": "1s"}], "verify": [{"promql": {"query": "up", "is": "== 1"}, "is": "== 1"}]},
        {"do": [{"wait": "1s"}], "verify": [{"promql": "up", "is": "1"}]},
        {"do": [{"wait": "1s"}], "verify": [{"tcp": "a:1", "is": "== 1"}]},
        {"do": [{"wait": "1s"}], "verify": [{"tcp": "a:1", "json": {}}]},
        {"do": [{"wait": "1s"}], "verify": [{"restart": "systemd://x"}]},
        {"do": [{"wait": "1s"}], "mode": "sometimes"},
        {"do": [{"wait": "1s"}], "mode": "{{ labels.mode }}"},
        {"do": [{"wait": "1s"}], "hold": 300},
        {"do": [{"wait": "1s"}], "guard": {"budget": "3 per hour"}},
        {"do": [{"wait": "1s"}], "vars": {"a": "b"}},
        {"do": [{"wait": "1s"}], "pack": "other"},
        {"ladder": [], "escalate": [{"when": "notified", "notify": "oncall"}]},
        {"ladder": [], "escalate": [{"when": "opened"}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_loader_refuses_for_its_key_or_type_is_underlined(body):
    assert underlined(rule(**body)) != []


@pytest.mark.parametrize("key", PACKS)
def test_what_only_a_pack_has_is_refused_in_a_rule_by_both_and_not_passed_over(key, tmp_path):
    tree = rule(ladder=[], **{key: {"a": "b"}})
    assert underlined(tree) != []
    (said,) = complaints(tmp_path, "shop/one.yaml", tree)
    assert f"`{key}` does not stand here, it is for the whole pack: write it in pack.yaml" in said


BY_KEY_OR_TYPE = {
    Wrong.UNKNOWN_KEY,
    Wrong.MISPLACED_KEY,
    Wrong.MISSING_KEY,
    Wrong.CONFLICTING_KEYS,
    Wrong.WRONG_TYPE,
    Wrong.UNKNOWN_WORD,
}


@pytest.mark.parametrize(
    "path", sorted(path for path in GOLDEN.glob("*.yaml") if path.stem != "site"), ids=lambda each: each.stem
)
def test_what_is_broken_by_a_key_or_a_type_is_underlined_and_what_loads_is_not(path):
    try:
        load(path, CATALOG, environ={"CHAT": "json://chat", "PAGER": "json://pager"})
        codes: set[str] = set()
    except ConfigError as error:
        codes = {problem.code for problem in error.problems}
    node = read(path.read_text(), path.name, Findings())
    if node is None:
        return  # no YAML: whatever reads it says so
    found = underlined(node.plain())
    if codes & BY_KEY_OR_TYPE - SEVERAL.get(path.stem, set()):
        assert found != []
    if not codes:
        assert found == []


SEVERAL = {"18-escalate": {Wrong.MISSING_KEY}}


@pytest.mark.parametrize("name", TREES)
def test_a_key_that_nobody_knows_is_underlined_wherever_it_stands(name):
    for place in [(), *places(TREES[name])]:
        inner = at(TREES[name], place)
        if isinstance(inner, dict) and not any(each in FREE for each in place[-1:]):
            changed = {**inner, "unknown key": {}}
            assert underlined(replaced(TREES[name], place, changed) if place else changed) != [], place


FREE = {"set", "back_to", "headers", "env", "labels", "json", "vars", "severities"}
"""Tables whose keys are of the one who writes them."""


def test_a_drill_is_told_apart_by_any_key_of_its_own():
    tree = {"name": "x", "proves": "y", "alert": {"labels": {"a": "b"}}, "expect": [{"event": "opened"}]}
    found = Draft7Validator(WHOLE)
    assert underlined(tree, found) == []
    assert underlined({**tree, "rules": []}, found) != []
    assert underlined({**tree, "expect": [{"event": "opend"}]}, found) != []


def test_a_file_of_tests_is_told_apart_and_checked():
    tree = plain("""
tests:
  - name: it helps
    alerts: [{fire: Down}, {at: 5m, resolve: Down}]
    world: [{query: up, value: none}, {query: up, value: [1, 0.5]}, {action: restart, fails: no}, {probe: x, is: healthy}]
    people: [{at: 1m, ack: ann}]
    expect: [{at: 2m, phase: mitigated, events: opened, refused: [cooldown], steps: restart}]
""")
    found = Draft7Validator(WHOLE)
    assert underlined(tree, found) == []
    for key, value in (("phase", "mitigatd"), ("events", ["opend"]), ("step", "restart"), ("at", "soon")):
        changed = replaced(tree, ("tests", 0, "expect", 0), {"at": "2m", key: value})
        assert underlined(changed, found) != [], key


def test_the_daemons_own_defaults_take_no_template_as_none_is_rendered_there(tmp_path):
    tree = {"defaults": {"actions_at_once": "{{ vars.x }}"}}
    assert underlined(tree) != []
    (tmp_path / "site.yaml").write_bytes(orjson.dumps(tree))
    (tmp_path / "one.yaml").write_bytes(orjson.dumps(rule(ladder=[])))
    with pytest.raises(ConfigError, match="not a whole number"):
        load(tmp_path, CATALOG, environ={})


def test_the_file_that_ships_is_that_of_the_code():
    shipped = ROOT / "rules" / "stopgap.schema.json"
    assert orjson.loads(shipped.read_bytes()) == WHOLE, f"stopgap schema --out {shipped.relative_to(ROOT)}"

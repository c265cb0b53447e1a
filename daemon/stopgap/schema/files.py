"""Files: the forms of the kinds of file: rules, pack.yaml, site.yaml."""

from stopgap.config.defaults import DAEMON
from stopgap.config.document import PACKS
from stopgap.config.model import PackKeys, RuleKeys, RungKeys, SiteKeys
from stopgap.schema.form import Form, table_of
from stopgap.schema.leeway import VARS, exact, loosened

_LISTS = {"do": "step", "activate": "step", "verify": "probe", "only_if": "probe", "recovered": "probe"}
_NOT_WRITTEN = frozenset({*PACKS, "approval"})
"""What a rule's document has from its pack, or from its rungs."""

_EMPTY = frozenset({"contacts", "messages", "defaults", "secrets", "optional_secrets"})
"""Keys that are as if they were not there when no value stands behind them."""

_VALUE = {"type": ["string", "number", "boolean", "null"], "not": {"type": "string", "pattern": r"\{\{"}}


def rung_of() -> Form:
    """Return the form of a rung."""
    form = loosened(table_of(RungKeys), VARS)
    return {**form, "properties": _with_entries(form["properties"])}


def rule_of() -> Form:
    """Return the form of a rule: with a ladder, or with the keys of its only rung."""
    form = loosened(table_of(RuleKeys), VARS)
    own = {key: each for key, each in form["properties"].items() if key not in _NOT_WRITTEN}
    rung = {key: each for key, each in rung_of()["properties"].items() if key != "name"}
    ladder = {**own["ladder"], "items": {"$ref": "#/definitions/rung"}}
    match = {key: each for key, each in own["match"].items() if key != "minItems"}  # that of the pack may do
    properties = _with_entries({**own, **rung, "match": match, "ladder": ladder})
    return {
        "type": "object",
        "description": "One rule: `name`, `match`, and `do` or a `ladder` of several rungs.",
        "properties": properties,
        "required": ["name", "match"],
        "additionalProperties": False,
        "if": {"required": ["ladder"]},
        "then": {"properties": dict.fromkeys(sorted(rung), False)},
        "else": {"required": ["do"]},
    }


def rules_file() -> Form:
    """Return the form of a file of rules."""
    text = "Rules of the pack, each with a name of its own."
    return {
        "type": "object",
        "description": "A file of rules.",
        "properties": {
            "rules": {
                "type": ["array", "null"],
                "description": text,
                "items": {"$ref": "#/definitions/rule"},
            }
        },
        "additionalProperties": False,
    }


def pack_file() -> Form:
    """Return the form of `pack.yaml`."""
    return _shared(table_of(PackKeys), "pack.yaml: what the rules of a pack share.")


def site_file() -> Form:
    """Return the form of `site.yaml`."""
    return _shared(table_of(SiteKeys), "site.yaml: what all packs of a site share.")


def _shared(form: Form, text: str) -> Form:
    """Return the form of a file of shared keys."""
    keys = form["properties"]
    templated = {key: loosened(each, VARS) for key, each in keys.items() if key in {"defaults", "match"}}
    made = {key: loosened(each) for key, each in keys.items()} | templated
    made["defaults"]["properties"] |= {
        key: loosened(each) for key, each in keys["defaults"]["properties"].items() if key in DAEMON
    }
    made["vars"] = {**exact(keys["vars"]), "additionalProperties": _VALUE}
    return {
        "type": "object",
        "description": text,
        "properties": {key: _or_nothing(each) if key in _EMPTY else each for key, each in made.items()},
        "additionalProperties": False,
    }


def _or_nothing(form: Form) -> Form:
    if "anyOf" in form:
        return {**form, "anyOf": [*form["anyOf"], {"type": "null"}]}
    types = form["type"] if isinstance(form["type"], list) else [form["type"]]
    return {**form, "type": [*types, "null"]}


def _with_entries(properties: dict[str, Form]) -> dict[str, Form]:
    return {
        key: {**each, "items": {"$ref": f"#/definitions/{_LISTS[key]}"}} if key in _LISTS else each
        for key, each in properties.items()
    }

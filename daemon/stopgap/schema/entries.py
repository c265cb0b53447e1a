"""Entries: the forms of a step and of a probe, made of the catalog: each kind by its name, with the keys beside it.

All kinds stand side by side in one table, and exactly one of them must be there. An alternative for each would say less: an editor
that finds no alternative right points at the whole step, not at the parameter that is wrong.
"""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from stopgap.action import Params
from stopgap.catalog import Catalog
from stopgap.config.keys import Keys
from stopgap.config.model import ProbeKeys, StepKeys
from stopgap.schema.form import Form, table_of, union
from stopgap.schema.leeway import ANY, VARS, loosened


def step_of(catalog: Catalog) -> Form:
    """Return the form of a step."""
    return _entry("One step: an action, and keys beside it.", StepKeys, "action", catalog.actions)


def probe_of(catalog: Catalog) -> Form:
    """Return the form of a probe."""
    return _entry("One probe: a question, and keys beside it.", ProbeKeys, "probe", catalog.probes)


def _entry(text: str, beside: type[Keys], word: str, kinds: Mapping[str, Any]) -> Form:
    keys = loosened(table_of(beside), VARS)["properties"]
    keys = {key: each for key, each in keys.items() if key not in {word, "params"}}
    named, siblings, laws = dict[str, Form](), dict[str, dict[str, Form]](), list[Form]()
    for name, kind in sorted(kinds.items()):
        params = loosened(table_of(kind.params), ANY, verbatim=kind.params.verbatim)
        named[name] = {**_value(params, kind.params), **_told(kind)}
        for key in sorted(kind.params.siblings):
            siblings.setdefault(key, {})[name] = params["properties"][key]
            laws.append(_once(name, key, needed=key in params.get("required", ())))
    both = {key: _of_either(owners) for key, owners in siblings.items()}
    missing = f"the {word} is missing: write one of {', '.join(named)}"
    made: Form = {
        "type": "object",
        "description": text,
        "properties": {**named, **both, **keys},
        "additionalProperties": False,
        "oneOf": [{"required": [name], "errorMessage": missing} for name in named],
    }
    if laws:
        made["dependencies"] = {key: _one_of(owners) for key, owners in siblings.items()}
        made["allOf"] = laws
    return made


def _one_of(names: Collection[str]) -> Form | list[str]:
    return {"anyOf": [{"required": [name]} for name in names]} if len(names) > 1 else [*names]


def _of_either(owners: Mapping[str, Form]) -> Form:
    """Return the form of a key that stands beside one or another kind; each says what it is there."""
    bare = [{key: each for key, each in form.items() if key != "description"} for form in owners.values()]
    told = dict.fromkeys(form.get("description", "") for form in owners.values())
    several = " ".join(f"{name}: {form.get('description', '')}" for name, form in owners.items())
    return {**union(bare), "description": several if len(told) > 1 else next(iter(told))}


def _told(kind: Any) -> Form:
    text = inspect.getdoc(type(kind)) or ""
    return {"description": " ".join(text.partition("\n\n")[0].split()), "markdownDescription": text}


def _value(params: Form, model: type[Params]) -> Form:
    """Return what may stand behind the name: the parameters as a table, or what the loader makes one of."""
    needed = sorted({*params.get("required", ())} - model.siblings)
    table = {key: each for key, each in params.items() if key != "required"}
    table |= {"required": needed} if needed else {}
    short = _short(params["properties"][model.scalar]) if model.scalar and {*needed} <= {model.scalar} else []
    return union([table, *short, *([] if needed else [{"type": "null"}])])


def _short(form: Form) -> list[Form]:
    """Return what of a form may stand for a whole table: what is no table itself."""
    bare = {
        key: each
        for key, each in form.items()
        if key not in {"description", "default", "properties", "patternProperties", "additionalProperties"}
    }
    if "anyOf" in bare:
        return [each for one in bare["anyOf"] for each in _short(one)]
    types = bare.get("type", [])
    types = [each for each in (types if isinstance(types, list) else [types]) if each != "object"]
    if not types:
        return [] if "type" in bare else [bare]
    return [{**bare, "type": types if len(types) > 1 else types[0]}]


def _once(name: str, key: str, *, needed: bool) -> Form:
    """Say that a key stands inside the parameters or beside their name, not in both, and in one of them if it is needed."""
    inside = {"required": [name], "properties": {name: {"type": "object", "required": [key]}}}
    law: Form = {"if": inside, "then": {"properties": {key: False}}}
    if needed:
        law["else"] = {"if": {"required": [name]}, "then": {"required": [key]}}
    return law

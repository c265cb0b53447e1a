"""Leeway: what the loader takes beside the plain form of a value: a template in its place, a number or a flag as a text.

Keys cannot be templates, and neither can tables and lists as a whole: so only what is a scalar gets leeway.
"""

from collections.abc import Collection
from typing import Any

from stopgap.schema.form import Form, types_of, union

ANY = r"\{\{"
"""What a text with a template holds."""

VARS = r"\{\{-?\s*vars\s*[.\[]"
"""The same, where only vars can stand."""

_WHOLE = r"^\s*[+-]?[0-9][0-9_]*(?:\.0*)?\s*$"
_NUMBER = (
    r"^\s*[+-]?(?:[0-9.][0-9_.]*(?:[eE][+-]?[0-9]+)?|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*$"
)
_FLAG = (
    r"^(?:[01tTfFyYnN]|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF])$"
)
_TEXTS = {"integer": _WHOLE, "number": _NUMBER, "boolean": _FLAG}
_WANTED = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
_SCALARS = ["string", "number", "boolean", "null"]


def loosened(form: Form, template: str = "", *, verbatim: Collection[str] = ()) -> Form:
    """Return a form in which every scalar has leeway; below the keys `verbatim` every scalar is taken as its characters."""
    made = dict(form)
    for key in ("properties", "patternProperties"):
        if key in made:
            made[key] = {
                word: exact(inner, template) if word in verbatim else loosened(inner, template)
                for word, inner in made[key].items()
            }
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = loosened(made[key], template)
    if "anyOf" in made:
        made["anyOf"] = [loosened(each, template) for each in made["anyOf"]]
        return made
    return _leaf(made, template)


def exact(form: Form, template: str = "") -> Form:
    """Return a form in which any scalar stands for a text."""
    made = dict(form)
    for key in ("patternProperties", "properties"):
        if key in made:
            made[key] = {word: exact(inner, template) for word, inner in made[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = exact(made[key], template)
    if "anyOf" in made:
        made["anyOf"] = [exact(each, template) for each in made["anyOf"]]
    if "string" in types_of(made):
        others = [each for each in types_of(made) if each not in _SCALARS]
        made = {**made, "type": [*_SCALARS, *others]}
    return _leaf(made, template)


def _leaf(form: Form, template: str) -> Form:
    if "enum" in form or "const" in form:
        if not template:
            return form
        told = {key: each for key, each in form.items() if key in {"description", "default"}}
        words = {key: each for key, each in form.items() if key not in told}
        return {**union([words, {"type": "string", "pattern": template}]), **told}
    types = types_of(form)
    texts = [] if "string" in types else [_TEXTS[each] for each in types if each in _TEXTS]
    if "string" in types and "pattern" not in form:
        return form
    patterns = [form["pattern"]] if "pattern" in form else texts
    if not patterns:
        return form
    said = {"patternErrorMessage": " or ".join(_WANTED[each] for each in types if each in _WANTED)}
    return {
        **(said if texts else {}),
        **form,
        **_bits(types),
        "type": _with_text(types),
        "pattern": _either([*patterns, template]),
    }


def _bits(types: list[str]) -> dict[str, Any]:
    """Bound the numbers that stand for true and false."""
    return {"minimum": 0, "maximum": 1} if "boolean" in types and not {"integer", "number"} & {*types} else {}


def _with_text(types: list[str]) -> list[str] | str:
    numbers = ["integer"] if "boolean" in types and not {"integer", "number"} & {*types} else []
    made = [*types, *numbers, *([] if "string" in types else ["string"])]
    return made if len(made) > 1 else made[0]


def _either(patterns: list[str]) -> str:
    given = [each for each in patterns if each]
    return given[0] if len(given) == 1 else "|".join(f"(?:{each})" for each in given)

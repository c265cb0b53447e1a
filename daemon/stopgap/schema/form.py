"""Form: the JSON Schema of one table, made of its pydantic model: what may be written, not what is read from it.

What a validator takes beside its type it says itself (`WithJsonSchema`, `json_schema_input_type`); of one that does not, anything
is let pass, so that an editor never underlines what loads.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, NoDefault
from pydantic_core import PydanticOmit, core_schema

from stopgap.config.keys import listed
from stopgap.duration import print_duration
from stopgap.rate import Rate
from stopgap.template import Template

Form = dict[str, Any]
"""A JSON Schema of draft-07: the newest one that yaml-language-server checks files by."""

_SILENT = frozenset({"title", "format", "writeOnly"})  # keywords of pydantic that tell an editor nothing
_TABLES = ("properties", "patternProperties")
_INNER = ("items", "additionalProperties", "propertyNames")
_BOUND = frozenset({"enum", "const", "anyOf", "oneOf", "not"})  # hold for every type at once
_ITEMS = {"minLength": "minItems", "maxLength": "maxItems"}
_TOLD = frozenset({"type", "description"})


def table_of(model: type[BaseModel]) -> Form:
    """Return the form of a model, the models in it put in."""
    made = model.model_json_schema(schema_generator=_Written)
    return plain(made, made.pop("$defs", {}))


def plain(form: Form, models: Mapping[str, Form], above: tuple[str, ...] = ()) -> Form:
    """Put the models into a form, and make one of its alternatives where they are of different types: that is told best."""
    name = str(form.get("$ref", "")).rpartition("/")[2]
    if name in above:
        return {}  # a model within itself, of a third party: let be
    made = {key: value for key, value in form.items() if key not in _SILENT and key != "$ref"}
    for key in _TABLES:
        if key in made:
            made[key] = {word: plain(inner, models, above) for word, inner in made[key].items()}
    for key in _INNER:
        if isinstance(made.get(key), dict):
            made[key] = plain(made[key], models, above)
    if "patternProperties" in made:
        made.setdefault("additionalProperties", False)
    if "anyOf" in made:
        one = union(plain(each, models, above) for each in made.pop("anyOf"))
        made = {**one, **(_of_lists(made) if "array" in types_of(one) else made)}
    return {**plain(models[name], models, (*above, name)), **made} if name else made


def _of_lists(form: Form) -> Form:
    """Return the bounds of a list as such: pydantic takes them for those of a text once a validator stands between."""
    return {_ITEMS.get(key, key): each for key, each in form.items()}


def union(forms: Iterable[Form]) -> Form:
    """Return the form of what one of the forms lets pass: flat if possible, because each keyword is for one type only."""
    each: list[Form] = []
    for form in forms:
        each += [form] if form not in each else []
    flat: Form = {"type": []}
    for form in each:
        if "type" not in form or _BOUND & form.keys() or _clash(flat, form):
            return {"anyOf": each} if len(each) > 1 else each[0]
        flat = {**flat, **form, "type": [*flat["type"], *types_of(form)]}
    return {**flat, "type": flat["type"] if len(flat["type"]) > 1 else flat["type"][0]}


def _clash(flat: Form, form: Form) -> bool:
    return bool(flat.keys() & form.keys() - _TOLD) or bool({*flat["type"]} & {*types_of(form)})


def types_of(form: Form) -> list[str]:
    """Return the types that a form lets pass; none for any."""
    types = form.get("type", [])
    return types if isinstance(types, list) else [types]


class _Written(GenerateJsonSchema):
    """Makes forms of what is written."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> Form:
        """Leave out Templates: wherever texts can stand they can. No other value of ours is written as a table."""
        if schema["cls"] is Template:
            raise PydanticOmit
        return {}

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> Form:
        """Take what the function says that it takes, anything if it does not say."""
        if schema["function"]["function"] is listed:
            many = self.generate_inner(schema["schema"])
            return {"anyOf": [many["items"], many]} if "items" in many else many
        said = schema.get("json_schema_input_schema")
        return self.generate_inner(said) if said else {}

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> Form:
        """Take what the function says that it takes, anything if it does not say."""
        said = schema.get("json_schema_input_schema")
        return self.generate_inner(said) if said else {}

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> Form:
        """Take what the function says that it takes, anything if it does not say."""
        said = schema.get("json_schema_input_schema")
        return self.generate_inner(said) if said else {}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Form:
        """Show a default as it would be written; one that is nothing, or a table, is not shown."""
        made = self.generate_inner(schema["schema"])
        default = self.get_default_value(schema)
        shown = None if default is NoDefault else _shown(default)
        return made if shown is None else {**made, "default": shown}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Form:  # noqa: ARG002 - of pydantic
        """Let anything pass of what JSON has no word for."""
        return {}


def _shown(default: Any) -> Any:
    if isinstance(default, timedelta):
        return print_duration(default)
    if isinstance(default, Rate):
        return str(default)
    if isinstance(default, tuple | list):
        return [_shown(each) for each in default] or None
    if isinstance(default, str):
        return str(default) or None
    return default if isinstance(default, bool | int | float) else None

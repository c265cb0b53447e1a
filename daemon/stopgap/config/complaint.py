"""Complaint: what pydantic finds wrong with a value, in the words of the person who wrote the rule."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from stopgap.config.clear_text import looks_like
from stopgap.config.codes import Odd, Wrong
from stopgap.config.findings import did_you_mean
from stopgap.config.keys import Keys
from stopgap.config.node import Path
from stopgap.template import Template

_LONGEST = 400
_BRANCHES = frozenset({"str", "SecretStr", "int", "float", "bool", "none", "is-instance[Template]"})
_BLANKS: Mapping[Any, str] = {tuple: "[…]", list: "[…]", Mapping: "{…}", dict: "{…}"}
_CURE = re.compile(r": (?=(?:write|use|quote|choose|put|did you mean)\b)")
_SECRET_PLACES = "secrets stand in set, env, headers, stdin and URLs only"  # noqa: S105 - says where, holds none


class Teller(Protocol):
    """Who takes what is wrong at a path of a document: of the value, of its key, or `offset` characters into its text."""

    def error(
        self,
        path: Path,
        text: str,
        hint: str = "",
        *,
        code: Wrong,
        at_key: bool = False,
        offset: int | None = None,
    ) -> None:
        """Take something that must be changed."""
        ...

    def warning(self, path: Path, text: str, hint: str = "", *, code: Odd) -> None:
        """Take something that should be thought about."""
        ...


def complain(
    wrong: ValidationError,
    model: type[BaseModel],
    tell: Teller,
    at: Path = (),
    skip: Callable[[Path], bool] = lambda _: False,
    shape: str = "",
) -> None:
    """Tell each error once for its place, except where `skip` says that only an alert will show what stands there.

    `shape` shows how the model itself is written, for who wrote something else than a table.
    """
    errors = wrong.errors(include_url=False)
    extras = {tuple(error["loc"]) for error in errors if error["type"] == "extra_forbidden"}
    paths = {tuple(step for step in error["loc"] if not _is_branch(step)) for error in errors}
    told: set[Path] = set()
    for error in errors:
        path = tuple(step for step in error["loc"] if not _is_branch(step))
        if path in told or skip(path) or (error["type"] == "too_short" and _below(path, paths)):
            continue
        told.add(path)
        if error["type"] == "extra_forbidden":
            code, text, hint = unknown_key(str(path[-1]), _at(model, path[:-1]))
            tell.error((*at, *path), text, hint, code=code, at_key=True)
        elif error["type"] != "missing":
            text, hint = (_discreet(said, error["input"]) for said in _said(error))
            hint = f"write {shape}" if shape and not path and hint == _WRITE_TABLE else hint
            tell.error((*at, *path), text[:_LONGEST], hint, code=_code(error))
        elif not any(_means(each, path) for each in extras):
            tell.error(
                (*at, *path[:-1]), f"`{path[-1]}` is missing", f"add {path[-1]}: …", code=Wrong.MISSING_KEY
            )


def _discreet(text: str, found: Any) -> str:
    """Return a text without the value that it is about, should that look like a secret."""
    if isinstance(found, str) and looks_like(found):
        for part in (found, found[:60], found[:40]):
            text = text.replace(part, "***")
    return text


def _below(path: Path, others: Iterable[Path]) -> bool:
    """Tell whether something is wrong within a list: pydantic then counts only what is well, and finds it too short."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in others)


def _means(extra: Path, missing: Path) -> bool:
    """Tell whether a key that nobody knows is the missing one, misspelt: then one complaint is enough."""
    return extra[:-1] == missing[:-1] and did_you_mean(str(extra[-1]), [str(missing[-1])]).startswith("did")


def shape_of(name: str, model: type[BaseModel], *more: str) -> str:
    """Show how an entry of this name is written: with the parameters that it needs, and some more; nothing where it needs none."""
    needed = {
        field.alias or key: _BLANKS.get(get_origin(field.annotation), "…")
        for key, field in model.model_fields.items()
        if field.is_required()
    }
    shown = needed | {key: "…" for key in more if key not in needed}
    return f"{name}: {{{', '.join(f'{key}: {blank}' for key, blank in shown.items())}}}" if shown else ""


def unknown_key(
    word: str, model: type[BaseModel] | None, beside: Iterable[str] = ()
) -> tuple[Wrong, str, str]:
    """Say what is wrong with a key that a model does not have; keys `beside` its own may stand there, too."""
    if model is not None and issubclass(model, Keys) and word in model.elsewhere:
        return Wrong.MISPLACED_KEY, f"`{word}` does not stand here", model.elsewhere[word]
    known = [name for name, _ in _fields(model) if name not in {"action", "probe", "params", "pack"}]
    known += sorted(beside)
    hint = did_you_mean(word, known, f"the keys here are {', '.join(known)}" if known else "remove it")
    return Wrong.UNKNOWN_KEY, f"unknown key `{word[:60]}`", hint


def _is_branch(step: str | int) -> bool:
    """Tell whether a step of pydantic's path names a branch of a union or a function, and no key."""
    return isinstance(step, str) and (
        step in _BRANCHES or step.startswith(("function-", "tuple[", "dict[", "constrained-"))
    )


def _fields(model: type[BaseModel] | None) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items() if model is not None else ():
        yield field.alias or name, field.annotation


def _at(model: type[BaseModel] | None, path: Path) -> type[BaseModel] | None:
    """Return the model of a table within a model, None where keys are free."""
    for step in path:
        if isinstance(step, str):
            annotation = dict(_fields(model)).get(step)
            model = next(_models(annotation), None)
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _code(error: ErrorDetails) -> Wrong:
    """Return the code of what pydantic finds."""
    kind, found = error["type"], error["input"]
    if isinstance(found, Template):
        return Wrong.BAD_TEMPLATE
    if isinstance(found, SecretStr) and kind in _NO_SECRETS:
        return Wrong.MISPLACED_SECRET
    if kind in {"enum", "literal_error"}:
        return Wrong.UNKNOWN_WORD
    return Wrong.WRONG_TYPE if kind in _SPOKEN and kind not in _SHAPELESS else Wrong.BAD_VALUE


def _said(error: ErrorDetails) -> tuple[str, str]:
    """Return what is wrong, and the cure where the text does not hold it."""
    kind, found = error["type"], error["input"]
    if isinstance(found, Template):
        return "only vars can stand here", "labels and the like stand in parameters and in `target`"
    if isinstance(found, SecretStr) and kind in _NO_SECRETS:
        return "a secret cannot stand here", _SECRET_PLACES
    if kind in _SPOKEN:
        return _SPOKEN[kind](_shown(found), found, error.get("ctx", {}))
    text = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if found is None:
        return "nothing stands here", text.partition(": ")[2]
    cure = _CURE.search(text)
    text, hint = (text[: cure.start()], text[cure.end() :]) if cure is not None else (text, "change it")
    return text.replace("Input should be", f"{_shown(found)} should be"), hint


def _no_text(shown: str, found: Any, _: Any) -> tuple[str, str]:
    if found is None:
        return "nothing stands here", "write a text"
    if isinstance(found, bool | int | float):
        return (
            f"{shown} is {'true or false' if isinstance(found, bool) else 'a number'}, not a text",
            "put it in quotes",
        )
    return f"{shown} is not a text", "write one value, in quotes if need be"


def _no_word(shown: str, found: Any, context: Any) -> tuple[str, str]:
    words = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
    return f"{shown} is not known here", did_you_mean(str(found), words, f"write one of {', '.join(words)}")


def _wanted(what: str, cure: str) -> Callable[[str, Any, Any], tuple[str, str]]:
    return lambda shown, _, __: (f"{shown} is not {what}", cure)


_Speech = Callable[[str, Any, Any], tuple[str, str]]
_WRITE_TABLE = "write key: value, each in a line of its own or in { }"
_TABLE = _wanted("a table", _WRITE_TABLE)
_LIST = _wanted("a list", "begin each entry with - in a line of its own, or put them in [ ]")
_WHOLE = _wanted("a whole number", "write one such as 3")
_NUMBER = _wanted("a number", "write one such as 0.5")
_BOOL = _wanted("true or false", "write one of the two")
_EMPTY: _Speech = lambda *_: ("nothing stands here", "write at least one")  # noqa: E731
_SPOKEN: Mapping[str, _Speech] = {
    "string_type": _no_text,
    "enum": _no_word,
    "literal_error": _no_word,
    "string_pattern_mismatch": lambda shown, _, context: (
        f"{shown} is not well formed",
        f"it must match {context['pattern']}",
    ),
    "too_short": _EMPTY,
    "string_too_short": _EMPTY,
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), _TABLE),
    **dict.fromkeys(("list_type", "tuple_type"), _LIST),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _BOOL),
}
_SHAPELESS = frozenset({"string_pattern_mismatch", "too_short", "string_too_short"})
_NO_SECRETS = frozenset(_SPOKEN) - _SHAPELESS


def _shown(found: Any) -> str:
    if found is None or isinstance(found, bool):
        return "nothing" if found is None else f"`{str(found).lower()}`"
    if isinstance(found, dict):
        return "a table"
    return "a list" if isinstance(found, list | tuple) else f"`{str(found)[:60]}`"

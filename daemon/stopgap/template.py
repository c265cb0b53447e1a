"""Template: text in a rule into which labels, annotations, vars, secrets, the target or the incident's id are put.

Jinja2 reads the text, and only the nodes that are named here are taken; they are evaluated by this file and not by Jinja2, so there
is no sandbox to break out of. A template is rendered once: a label whose value is `{{ x }}` stays those characters.

Values that come with an alert (labels, annotations, the target) are hostile. Where a program will read the text they must be a
plain word, so that they cannot be a flag, leave a directory, end a URL's host or carry a shell's syntax; where a person will read
it (prose), control characters are made visible and the length is bounded. Vars and secrets are the operator's own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from pydantic import SecretStr

from stopgap.action import Text, reveal
from stopgap.errors import StopgapError
from stopgap.value import cheaply_made

LONGEST = 65_536  # characters of a template's source
LONGEST_PROSE = 2000  # characters of one label or annotation in prose
_MARK = re.compile(r"\{[{%#]")
_SAFE = re.compile(r"(?![-./])(?!.*/\.{1,2}(?:/|$))[A-Za-z0-9_.:@/+-]{1,253}")
_AUTHORITY = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_ALLOWED = 'use labels.x, labels["a.b"], annotations.x, vars.x, secrets.x, target, incident.id; filters default("x"), lower, int'


class RefKind(StrEnum):
    """Where a value comes from."""

    LABELS = "labels"
    ANNOTATIONS = "annotations"
    VARS = "vars"
    SECRETS = "secrets"
    TARGET = "target"
    INCIDENT = "incident"


_MAPS = frozenset({RefKind.LABELS, RefKind.ANNOTATIONS, RefKind.VARS, RefKind.SECRETS})
_HOSTILE = frozenset({RefKind.LABELS, RefKind.ANNOTATIONS, RefKind.TARGET})


@dataclass(frozen=True, slots=True)
class Reference:
    """One value that a template asks for; `name` is empty for the target, `id` for the incident."""

    kind: RefKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}" if self.name else str(self.kind)


class TemplateError(ValueError):
    """A source is not a template: `text` says why, `cure` what to write; `offset` (0-based) and `path` (keys) say where."""

    def __init__(self, text: str, offset: int = 0, cure: str = _ALLOWED) -> None:
        self.text = text
        self.offset = offset
        self.cure = cure
        self.path: tuple[str | int, ...] = ()
        super().__init__(f"{text}; {cure}")


class Unresolved(StopgapError):  # noqa: N818 - named as the refusal `unresolved_template`
    """A value is missing and has no default, or is no number where one is asked for. The text never holds a value."""

    def __init__(self, reference: Reference, why: str = "is not there and has no default") -> None:
        self.reference = reference
        super().__init__(f"{reference} {why}")


class UnsafeLabel(StopgapError):  # noqa: N818 - named as the refusal `unsafe_label`
    """A value that came with the alert is not a plain word. The text never holds the value."""

    def __init__(self, reference: Reference, why: str = "is not a plain word of 1 to 253 characters") -> None:
        self.reference = reference
        super().__init__(f"{reference} {why}")


@cheaply_made
@dataclass(frozen=True, slots=True)
class Scope:
    """The values of one rendering."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    vars: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretStr] = field(default_factory=dict)
    target: str = ""
    incident_id: str = ""

    def find(self, reference: Reference) -> Text | None:
        """Return the value, or None where it is missing; as in Alertmanager, an empty label is a missing one."""
        match reference.kind:
            case RefKind.TARGET:
                return self.target or None
            case RefKind.INCIDENT:
                return self.incident_id or None
            case RefKind.VARS:
                return self.vars.get(reference.name)
            case RefKind.SECRETS:
                return self.secrets.get(reference.name)
            case RefKind.LABELS:
                return self.labels.get(reference.name) or None
            case _:
                return self.annotations.get(reference.name) or None


class _Filter(StrEnum):
    DEFAULT = "default"
    LOWER = "lower"
    INT = "int"


@dataclass(frozen=True, slots=True)
class _Expression:
    """One `{{ … }}`: a reference and its filters, in order, with the argument of `default`."""

    reference: Reference
    filters: tuple[tuple[_Filter, str], ...] = ()

    @property
    def number(self) -> bool:
        """Whether the last filter is `int`."""
        return bool(self.filters) and self.filters[-1][0] is _Filter.INT

    def evaluate(self, found: str | None) -> str:
        """Apply the filters to a value. Raises Unresolved or UnsafeLabel."""
        for kind, argument in self.filters:
            if kind is _Filter.DEFAULT:
                found = argument if found is None else found
            elif found is not None:
                found = found.lower() if kind is _Filter.LOWER else self._whole(found)
        if found is None:
            raise Unresolved(self.reference)
        return found

    def _whole(self, text: str) -> str:
        if _WHOLE_NUMBER.fullmatch(text.strip()):
            return str(int(text))
        wrong = UnsafeLabel if self.reference.kind in _HOSTILE else Unresolved
        raise wrong(self.reference, "is not a whole number")


_Part = str | _Expression


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. Equal when it renders alike; prints as its source."""

    source: str = field(compare=False)
    parts: tuple[_Part, ...]

    @classmethod
    @lru_cache(4096)  # the same few stand in many rules, and in each version of one
    def parse(cls, source: str) -> "Template":
        """Read a template. Raises TemplateError."""
        return cls(source, tuple(_parse(source)))

    def __str__(self) -> str:
        return self.source

    @property
    def references(self) -> frozenset[Reference]:
        """All values that the template asks for, those with a default too."""
        return frozenset(part.reference for part in self.parts if isinstance(part, _Expression))

    @property
    def constant(self) -> bool:
        """Whether it renders to the same text in every scope."""
        return not self.references

    @property
    def number(self) -> bool:
        """Whether it is one `{{ x | int }}` and nothing else: in a tree it renders to an int."""
        only = self.parts[0] if len(self.parts) == 1 else ""
        return isinstance(only, _Expression) and only.number

    def render(self, scope: Scope, *, prose: bool = False) -> Text:
        """Put the values in; the result is a SecretStr when a secret takes part. Raises Unresolved or UnsafeLabel."""
        out = ""
        for part in self.parts:
            out += part if isinstance(part, str) else _value(part, scope, out, prose=prose)
        secret = any(not isinstance(p, str) and p.reference.kind is RefKind.SECRETS for p in self.parts)
        return SecretStr(out) if secret else out

    def bind_vars(self, values: Mapping[str, str]) -> "Template | str | int":
        """Put only the vars in, once, at load time. What is left without references is text (or an int). Raises Unresolved."""
        scope = Scope(vars=values)
        bound = [
            _value(part, scope, "", prose=False)
            if isinstance(part, _Expression) and part.reference.kind is RefKind.VARS
            else part
            for part in self.parts
        ]
        parts = tuple(_join(bound))
        if any(isinstance(part, _Expression) for part in parts):
            return Template(self.source, parts)
        text = "".join(map(str, parts))
        return int(text) if self.number else text


def _join(parts: list[_Part]) -> Iterator[_Part]:
    """Put neighbouring texts together."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        yield part
        text = ""
    if text:
        yield text


# ── values ──


def _value(part: _Expression, scope: Scope, before: str, *, prose: bool) -> str:
    found = scope.find(part.reference)
    text = None if found is None else reveal(found)
    if text is not None and part.reference.kind in _HOSTILE:
        text = legible(text) if prose else _checked(text, part.reference, before)
    return part.evaluate(text)


def _checked(text: str, reference: Reference, before: str) -> str:
    """Return a hostile value that is a plain word. Raises UnsafeLabel."""
    if not _SAFE.fullmatch(text):
        raise UnsafeLabel(reference)
    if _AUTHORITY.fullmatch(before) and ("/" in text or "@" in text):
        raise UnsafeLabel(reference, "would end the host of the URL that it stands in")
    return text


def legible(text: str) -> str:
    """Make a hostile value fit for a person: white space becomes a blank, what is not printable its escape, the end is cut."""
    shown = "".join(map(_visible, text[:LONGEST_PROSE]))
    return (
        shown
        if len(shown) <= LONGEST_PROSE and len(text) <= LONGEST_PROSE
        else shown[: LONGEST_PROSE - 1] + "…"
    )


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char.isspace() else char.encode("unicode_escape").decode()


# ── reading ──

_ENVIRONMENT = Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 - parses only; nothing is rendered by Jinja2


def _parse(source: str) -> Iterator[_Part]:
    if len(source) > LONGEST:
        raise TemplateError(f"longer than {LONGEST} characters", LONGEST, "shorten it")
    offsets = [0]
    try:
        offsets += _offsets(source)
        body = _ENVIRONMENT.parse(source).body
    except TemplateSyntaxError as wrong:
        raise TemplateError(f"not a template: {wrong.message}", _line_start(source, wrong.lineno)) from None
    except (RecursionError, ValueError):
        raise TemplateError("not a template: nested too deeply, or a number too long", offsets[-1]) from None
    places = iter(offsets[1:])
    for statement in body:
        if not isinstance(statement, nodes.Output):
            offset = _line_start(source, statement.lineno)
            raise TemplateError(
                "a statement is not allowed",
                offset,
                "write literal braces as {% raw %}…{% endraw %}; " + _ALLOWED,
            )
        for node in statement.nodes:
            yield node.data if isinstance(node, nodes.TemplateData) else _expression(node, next(places))


def _offsets(source: str) -> Iterator[int]:
    """Say where each `{{` stands: Jinja2's nodes know only their line."""
    at = 0
    for _, kind, text in _ENVIRONMENT.lex(source):
        found = max(at, source.find(text, at))
        if kind == "variable_begin":
            yield found
        at = found + len(text)


def _line_start(source: str, line: int) -> int:
    return sum(map(len, source.splitlines(keepends=True)[: line - 1]))


def _expression(node: nodes.Expr, offset: int) -> _Expression:
    filters: list[tuple[_Filter, str]] = []
    inner: nodes.Expr | None = node
    while isinstance(inner, nodes.Filter):
        filters.append(_filter(inner, offset))
        inner = inner.node
    return _Expression(_reference(inner, offset), tuple(reversed(filters)))


def _filter(node: nodes.Filter, offset: int) -> tuple[_Filter, str]:
    if node.name not in set(_Filter):
        raise TemplateError(f"unknown filter {node.name[:40]}", offset)
    kind = _Filter(node.name)
    given = [
        each.value for each in node.args if isinstance(each, nodes.Const) and type(each.value) in {str, int}
    ]
    others = len(node.args) - len(given) + len(node.kwargs) + bool(node.dyn_args) + bool(node.dyn_kwargs)
    if kind is _Filter.DEFAULT and (others or len(given) != 1):
        raise TemplateError("default takes one text or number", offset, 'write default("text")')
    if kind is not _Filter.DEFAULT and (others or given):
        raise TemplateError(f"{kind} takes no arguments", offset, f"write {kind} alone")
    return kind, "".join(map(str, given))


def _reference(node: nodes.Node | None, offset: int) -> Reference:
    match node:
        case nodes.Name(name="target"):
            return Reference(RefKind.TARGET)
        case nodes.Getattr(node=nodes.Name(name="incident"), attr="id"):
            return Reference(RefKind.INCIDENT, "id")
        case nodes.Getattr(node=nodes.Name(name=kind), attr=name) if kind in _MAPS:
            return Reference(RefKind(kind), name)
        case nodes.Getitem(node=nodes.Name(name=kind), arg=nodes.Const(value=str(name))) if kind in _MAPS:
            return Reference(RefKind(kind), name)
        case nodes.Name(name=kind) if kind in _MAPS:
            raise TemplateError(f"{kind} alone is not a value", offset, f"name one: {kind}.x")
        case nodes.Name(name=name):
            raise TemplateError(f"unknown name {name[:40]}", offset)
        case nodes.Getattr(node=nodes.Name(name=kind), attr=name):
            near = get_close_matches(kind, _MAPS, 1)
            cure = f"did you mean {near[0]}.{name[:40]}?" if near else _ALLOWED
            raise TemplateError(f"no value is called {kind[:40]}.{name[:40]}", offset, cure)
        case _:
            raise TemplateError("only a value and its filters can stand here", offset)


# ── trees ──


def compile_tree(tree: Any, at: tuple[str | int, ...] = ()) -> tuple[Any, tuple[TemplateError, ...]]:
    """Turn the texts of a tree that hold `{{`, `{%` or `{#` into Templates; return it, and all that is wrong with its `path`."""
    wrong: list[TemplateError] = []

    def compiled(leaf: Any, path: tuple[str | int, ...]) -> Any:
        try:
            return _leaf(leaf, path)
        except TemplateError as error:
            error.path = path
            wrong.append(error)
            return leaf

    return _walk(tree, compiled, at), tuple(wrong)


def _leaf(leaf: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        if isinstance(key, str) and "{" in key and _MARK.search(key):
            raise TemplateError("a key cannot be a template", cure="write the key itself")
    marked = isinstance(leaf, str) and "{" in leaf and _MARK.search(leaf)
    return Template.parse(leaf) if marked else leaf


def bind_tree(tree: Any, values: Mapping[str, str]) -> Any:
    """Put only the vars into the Templates of a tree: most become constants. Raises Unresolved."""
    return _walk(tree, lambda leaf, _: leaf.bind_vars(values) if isinstance(leaf, Template) else leaf, ())


def render_tree(tree: Any, scope: Scope, prose_keys: frozenset[str] = frozenset()) -> Any:
    """Render the Templates of a tree; under a top-level key of `prose_keys` as prose. Raises Unresolved or UnsafeLabel."""

    def rendered(leaf: Any, path: tuple[str | int, ...]) -> Any:
        if not isinstance(leaf, Template):
            return leaf
        text = leaf.render(scope, prose=bool(path) and path[0] in prose_keys)
        return int(text) if leaf.number and isinstance(text, str) else text

    return _walk(tree, rendered, ())


def _walk(tree: Any, leaf: Callable[[Any, tuple[str | int, ...]], Any], at: tuple[str | int, ...]) -> Any:
    if isinstance(tree, dict):
        return {key: _walk(inner, leaf, (*at, key)) for key, inner in tree.items()}
    if isinstance(tree, list | tuple):
        return [_walk(inner, leaf, (*at, place)) for place, inner in enumerate(tree)]
    return leaf(tree, at)

"""Reference: every action, probe and place that ships, in one form, made of what their own code says of them."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stopgap.backends import BACKENDS
from stopgap.backends.capability import Place
from stopgap.catalog import Catalog
from stopgap.config.model import ProbeKeys, StepKeys
from stopgap.duration import print_duration

_EXAMPLE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
_HEADS = {"action": "Actions", "probe": "Probes", "place": "Places"}
_ABOUT = {
    "action": "What a step can do. Every step also takes these keys, beside the name of its action:",
    "probe": "What `verify`, `recovered` and `only_if` can ask. Each also takes these keys, beside its name:",
    "place": "What stands behind `at`: the scheme says where something lives, so that one var moves a rule elsewhere.",
}


_KEYS: Mapping[str, type[BaseModel]] = {"action": StepKeys, "probe": ProbeKeys}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of an action or a probe; `default` is None where it must be given."""

    name: str
    default: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of thing that a rule can name. `facts` are short words about it, such as its danger and its time limit."""

    kind: str
    name: str
    prose: tuple[str, ...]
    example: str
    parameters: tuple[Parameter, ...] = ()
    facts: tuple[str, ...] = ()

    @property
    def gist(self) -> str:
        """Return its first paragraph."""
        return self.prose[0] if self.prose else ""


def entries(catalog: Catalog) -> tuple[Entry, ...]:
    """Return everything that rules can name: actions, probes and places, each by name."""
    actions = (_action(name, one) for name, one in sorted(catalog.actions.items()))
    probes = (_probe(name, one) for name, one in sorted(catalog.probes.items()))
    return (*actions, *probes, *sorted(map(_place, BACKENDS), key=lambda entry: entry.name))


def beside(kind: str) -> tuple[Parameter, ...]:
    """Return the keys that every entry of this kind takes beside its name."""
    model = _KEYS.get(kind)
    return () if model is None else tuple(each for each in keys(model) if each.name not in (kind, "params"))


def _action(name: str, one: Any) -> Entry:
    limit = f"time limit {print_duration(one.timeout)}"
    return Entry("action", name, *_told(type(one)), _parameters(one), (f"danger: {one.danger}", limit))


def _probe(name: str, one: Any) -> Entry:
    first = timedelta(seconds=one.after)
    facts = (f"first asked after {print_duration(first)}",) if first else ()
    return Entry("probe", name, *_told(type(one)), _parameters(one), facts)


def _place(backend: type[Place]) -> Entry:
    module = (inspect.getdoc(inspect.getmodule(backend)) or "").partition(": ")[2]
    of_module, of_class = _told_of(module[:1].upper() + module[1:])[0], _told(backend)[0]
    purposes = dict.fromkeys(
        base.purpose for base in backend.__mro__ if issubclass(base, Place) and "purpose" in vars(base)
    )
    name = "-".join(filter(None, (backend.schemes[0], backend.kind)))
    return Entry("place", name, (*of_class, *of_module), backend.example, (), tuple(purposes))


def _told(kind: type) -> tuple[tuple[str, ...], str]:
    return _told_of(inspect.getdoc(kind) or "")


def _told_of(text: str) -> tuple[tuple[str, ...], str]:
    """Return the paragraphs of a text, and its examples, one below the other."""
    paragraphs = (" ".join(each.split()) for each in _EXAMPLE.sub("", text).split("\n\n"))
    return tuple(filter(None, paragraphs)), "\n".join(map(str.rstrip, _EXAMPLE.findall(text)))


def _parameters(one: Any) -> tuple[Parameter, ...]:
    return keys(one.params)


def keys(model: type[BaseModel]) -> tuple[Parameter, ...]:
    """Return the keys of a model, as they are written."""
    fields: Mapping[str, FieldInfo] = model.model_fields
    return tuple(
        Parameter(field.alias or name, _default(field), " ".join((field.description or "").split()))
        for name, field in fields.items()
    )


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, timedelta):
        return print_duration(value)
    if isinstance(value, bool | StrEnum):
        return str(value).lower() if isinstance(value, bool) else value.value
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


# --- as a page ---


def markdown(all_: Iterable[Entry]) -> str:
    """Return the page of all of them."""
    return "\n".join(_page(tuple(all_))) + "\n"


def _page(all_: tuple[Entry, ...]) -> Iterator[str]:
    yield "# Actions, probes and places"
    yield ""
    yield "<!-- Generated by `stopgap actions --markdown`: do not edit. -->"
    for kind, head in _HEADS.items():
        chosen = [entry for entry in all_ if entry.kind == kind]
        links = " · ".join(f"[{entry.name}](#{_anchor(entry)})" for entry in chosen)
        yield from ("", f"## {head}", "", _ABOUT[kind], *_table(beside(kind)), "", links)
        for entry in chosen:
            yield from _section(entry)


def _anchor(entry: Entry) -> str:
    return f"{entry.kind}-{entry.name}".replace("+", "")  # as GitHub names a heading


def _section(entry: Entry) -> Iterator[str]:
    yield from ("", f"### {entry.kind} {entry.name}", "")
    yield "\n\n".join(entry.prose)
    if entry.example:
        yield from ("", "```yaml", *_written(entry), "```")
    if entry.facts:
        yield from (
            "",
            f"Can: {', '.join(entry.facts)}." if entry.kind == "place" else f"{' · '.join(entry.facts)}",
        )
    yield from _table(entry.parameters)


def _table(keys: tuple[Parameter, ...]) -> Iterator[str]:
    if keys:
        yield from ("", "| key | default | means |", "|---|---|---|")
    for each in keys:
        default = "required" if each.default is None else f"`{each.default}`" if each.default else ""
        yield f"| `{each.name}` | {default} | {each.text.replace('|', chr(92) + '|')} |"


def _written(entry: Entry) -> tuple[str, ...]:
    """Return the example; of a place its locator where a rule writes it."""
    return (f"at: {entry.example}",) if entry.kind == "place" else tuple(entry.example.splitlines())

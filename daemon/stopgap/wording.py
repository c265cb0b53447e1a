"""Wording: subject and body of a message to people, with fields from a closed list.

A wording is read when the rules load, so that a field that does not exist is said there, with its place; when the message is sent,
nothing in it can go wrong any more: what has no value is empty, and a line whose fields are all empty is left out. Values come from
alerts and from the outside: each is one printable line of bounded length, so that none can forge the next one.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from stopgap.template import TemplateError, legible

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "incident.id": "such as INC-20261121-091502-7k3v9q",
        "rule": "the rule as `pack/name`",
        "target": "what is acted upon",
        "severity": "P0 to P3, or as `severity_names` of the pack calls it",
        "event": "what the message is about, in words: `mitigated`, `handed over`, `not mitigated after 15m`",
        "details": "what the timeline says of that: why, what was refused, what to undo by hand; one line each",
        "phase": "where the incident stands",
        "outcome": "how it ended, empty before",
        "summary": "the rule's `summary`",
        "runbook_url": "the rule's `runbook_url`",
        "alerts": "the names of its alerts",
        "since": "how long it has been open, such as `25m`",
        "opened_at": "when it was opened, in UTC",
        "mitigated_at": "when a mitigation held for the first time, empty before",
        "closed_at": "when it was closed, empty before",
        "acknowledged_by": "who has it, empty before",
        "rung": "the rung that is in place, empty when none is",
        "applied": "what is in place: each rung and its steps in words, one line each",
        "lease_end": "until when it is held, in UTC; empty when nothing is held, or it goes back just now",
        "revert": "the command that takes it back, empty in the same cases",
        "next_update_at": "when an `every` rings next, empty in other messages",
    }
)
"""The fields that a message may have, beside `labels.x`, `annotations.x` and `vars.x`, and what they say."""

MAPS = ("labels", "annotations", "vars")
LONGEST = 10_000  # characters of a subject or a body as it is written
LONGEST_VALUE = 500  # characters of one value
_OPEN = re.compile(r"\{[{%#]")
_PATH = re.compile(
    r"""\s*(?:(?P<map>labels|annotations|vars)(?:\.(?P<name>[A-Za-z_]\w*)|\[\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')\s*\])
    |(?P<field>[A-Za-z_][\w.]*))\s*
    (?:\|\s*default\(\s*(?:"(?P<or>[^"]*)"|'(?P<otherwise>[^']*)')\s*\)\s*)?""",
    re.VERBOSE | re.ASCII,
)
_CURE = f"the fields are {', '.join(FIELDS)}, labels.x, annotations.x, vars.x"


@dataclass(frozen=True, slots=True)
class Slot:
    """One `{{ … }}`: a field, or the value `key` of a map; `otherwise` is what stands there when there is none."""

    name: str
    key: str = ""
    otherwise: str = ""


Part = str | Slot


@dataclass(frozen=True, slots=True)
class Phrase:
    """A parsed text, line by line."""

    lines: tuple[tuple[Part, ...], ...] = ()

    @classmethod
    def parse(cls, source: str) -> "Phrase":
        """Read a text. Raises TemplateError, which says where and what to write instead."""
        if len(source) > LONGEST:
            raise TemplateError(f"longer than {LONGEST} characters", LONGEST, "shorten it")
        lines, at = [], 0
        for line in source.rstrip("\n").split("\n"):
            lines.append(tuple(_parts(line, at)))
            at += len(line) + 1
        return cls(tuple(lines))

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All fields that it asks for."""
        return tuple(part for line in self.lines for part in line if isinstance(part, Slot))

    def bound(self, values: Mapping[str, str]) -> "Phrase":
        """Put the vars in. Raises KeyError with the name of one that is missing."""
        return Phrase(
            tuple(
                tuple(
                    values[part.key] if isinstance(part, Slot) and part.name == "vars" else part
                    for part in line
                )
                for line in self.lines
            )
        )

    def filled(self, value_of: Callable[[Slot], str]) -> str:
        """Put the values in; a line whose fields are all empty is left out."""
        out: list[str] = []
        for line in self.lines:
            values = [part if isinstance(part, str) else value_of(part) or part.otherwise for part in line]
            slots = [isinstance(part, Slot) for part in line]
            if not any(slots) or any(value and slot for value, slot in zip(values, slots, strict=True)):
                out.append("".join(values))
        return "\n".join(out)


@dataclass(frozen=True, slots=True)
class Wording:
    """What a message says. An empty subject is the usual one."""

    subject: Phrase
    body: Phrase


def one_line(text: str, longest: int = LONGEST_VALUE) -> str:
    """Make a value one printable line of bounded length."""
    line = " ".join(legible(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _parts(line: str, at: int) -> Iterator[Part]:
    """Read one line, which begins at this offset of its text."""
    done = 0
    while (opening := _OPEN.search(line, done)) is not None:
        begin = opening.start()
        if opening[0] != "{{":
            raise TemplateError("a statement or a comment is not allowed", at + begin, _CURE)
        end = line.find("}}", begin)
        if end < 0:
            raise TemplateError("`{{` is not closed in its line", at + begin, "write }} behind the field")
        if begin > done:
            yield line[done:begin]
        yield _slot(line[begin + 2 : end], at + begin)
        done = end + 2
    if line[done:]:
        yield line[done:]


def _slot(inner: str, at: int) -> Slot:
    found = _PATH.fullmatch(inner)
    if found is None:
        raise TemplateError(f"`{{{{ {inner.strip()[:60]} }}}}` is no field", at, _CURE)
    otherwise = found["or"] or found["otherwise"] or ""
    if found["map"]:
        return Slot(found["map"], found["name"] or found["double"] or found["single"] or "", otherwise)
    if found["field"] not in FIELDS:
        raise _unknown(found["field"], at)
    return Slot(found["field"], "", otherwise)


def _unknown(name: str, at: int) -> TemplateError:
    if name in MAPS:
        return TemplateError(f"{name} alone is not a value", at, f"name one: {name}.x")
    near = get_close_matches(name, FIELDS, 1, 0.6)
    return TemplateError(
        f"no field is called `{name[:60]}`", at, f"did you mean `{near[0]}`?" if near else _CURE
    )

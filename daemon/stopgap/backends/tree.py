"""Tree: a JSON or YAML text as nodes that know where they stand, so that one value can be changed and no other byte.

A key is a path with dots, `features.mock`; a key that itself holds dots wins. The kind of the value in place is kept: a number
takes only a number, a string stays one. A new key's text is read as a JSON scalar if it is one, else it is a string.
"""

import re
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from stopgap.backends.capability import Entry
from stopgap.backends.file import FileFlags
from stopgap.errors import PermanentError

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
CONSTANTS = ("true", "false", "null")


class Kind(StrEnum):
    """What a node is, as far as a setting cares."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    NULL = "null"
    SECTION = "section"
    OTHER = "list, or a value with a tag, an anchor or an alias"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, from `start` to `end`; `lead` is white space that belongs to it (YAML's after the colon)."""

    kind: Kind
    start: int
    end: int
    value: str = ""
    lead: str = ""
    members: "tuple[Member, ...]" = ()
    block: bool = False  # a YAML section with a line per key

    def member(self, key: str) -> "Member | None":
        """Return the last member of this name, which is the one that readers take."""
        return next((member for member in reversed(self.members) if member.key == key), None)


@dataclass(frozen=True, slots=True)
class Member:
    """A key, where it starts, and its node."""

    key: str
    start: int
    node: Node


class TreeFlags(FileFlags):
    """Settings in a tree: subclasses parse and write their syntax."""

    @abstractmethod
    def parse(self, text: str) -> Node:
        """Parse the text to its root section. Raises PermanentError."""

    @abstractmethod
    def quoted(self, value: str, there: str) -> str:
        """Write a string, in the style of the one that stands there, if any."""

    @abstractmethod
    def key(self, key: str) -> str:
        """Write a key, with its colon."""

    def find(self, text: str, keys: Collection[str]) -> dict[str, Entry]:
        """Find settings; absent ones have no value."""
        root = self._root(text)
        found = {}
        for key in keys:
            node = _descend(root, key)[1]
            if node is None:
                found[key] = Entry(None)
            elif node.kind in {Kind.SECTION, Kind.OTHER}:
                raise PermanentError(f"{key} in {self.name} is a {node.kind}, not a single value")
            else:
                found[key] = Entry(node.value, text[node.start : node.end])
        return found

    def edit(self, text: str, entries: Mapping[str, Entry]) -> str:
        """Change, add and remove settings, one after the other."""
        for key, entry in entries.items():
            parent, node, last = _descend(self._root(text), key)
            if entry.value is None:
                text = text if node is None else self._without(text, parent, last)
            elif node is None:
                text = self._with(text, parent, last, entry)
            else:
                raw = (
                    entry.form
                    if entry.form is not None
                    else node.lead + self._raw(key, entry.value, text, node)
                )
                text = text[: node.start] + raw + text[node.end :]
        return text

    def _root(self, text: str) -> Node:
        root = self.parse(text)
        if self.section:
            node = _descend(root, self.section)[1]
            if node is None or node.kind is not Kind.SECTION:
                raise PermanentError(f"there is no section in {self.name}")
            return node
        return root

    def _raw(self, key: str, value: str, text: str, node: Node) -> str:
        match node.kind:
            case Kind.STRING:
                return self.quoted(value, text[node.start + len(node.lead) : node.end])
            case Kind.NUMBER if not NUMBER.fullmatch(value):
                raise PermanentError(f"{key} in {self.name} is a number, and would not be one any more")
            case Kind.BOOLEAN if value not in CONSTANTS[:2]:
                raise PermanentError(f"{key} in {self.name} is true or false, and would not be so any more")
            case Kind.NULL:
                return self._scalar(value)
            case _:
                return value

    def _scalar(self, value: str) -> str:
        if NUMBER.fullmatch(value) or value in CONSTANTS:
            return value
        return self.quoted(value, "")

    def _with(self, text: str, parent: Node, key: str, entry: Entry) -> str:
        """Add a member before the first one, with the separation that stands there: so removing it is exact."""
        if parent.kind is not Kind.SECTION:
            raise PermanentError(f"{key} has no section in {self.name} to stand in")
        written = f"{self.key(key)} {self._scalar(entry.value or '')}"
        if not parent.members:
            place = parent.start + 1
            return text[:place] + written + text[place:]
        place = parent.members[0].start
        line = text.rfind("\n", 0, place) + 1
        if parent.block:
            newline = "\r\n" if "\r\n" in text else "\n"
            gap = newline + " " * (place - line)
        else:
            gap = "," + (text[parent.start + 1 : place] or " ")
        return text[:place] + written + gap + text[place:]

    def _without(self, text: str, parent: Node, key: str) -> str:
        index = max(place for place, member in enumerate(parent.members) if member.key == key)
        start, end = parent.members[index].start, parent.members[index].node.end
        if index + 1 < len(parent.members):
            end = parent.members[index + 1].start
        elif parent.block and index == 0:
            raise PermanentError(f"{key} stands alone in {self.name}: without it the section would be empty")
        elif parent.block:
            start = text.rfind("\n", 0, start) + 1
            end = text.find("\n", end) + 1 or len(text)
        elif index > 0:
            start = parent.members[index - 1].node.end
        return text[:start] + text[end:]


def _descend(root: Node, key: str) -> tuple[Node, Node | None, str]:
    """Follow a key's dots: the section it stands in, its node if it is there, and its last part."""
    if member := root.member(key):
        return root, member.node, key
    first, dot, rest = key.partition(".")
    if dot and (member := root.member(first)):
        return _descend(member.node, rest)
    if dot:
        raise PermanentError(f"there is no section {first!r} for {key!r}")
    return root, None, key

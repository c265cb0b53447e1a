"""Node: a value of a YAML file together with where it stands, so that what is found wrong later can still be pointed at."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stopgap.value import cheaply_made

Path = tuple[str | int, ...]

_LINE = re.compile(r"[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029]|$)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


@cheaply_made
@dataclass(frozen=True, slots=True)
class Mark:
    """A place: file, 1-based line and column, and the path of keys that leads there (`rules[0].match`)."""

    file: str
    line: int = 1
    column: int = 1
    key: str = ""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Node:
    """A scalar (`value`, and `text`, its characters), a list of Nodes, or a table of Nodes whose `keys` say where each key stands.

    `offset` is where the text of a scalar begins behind its mark, when it stands in the file as it reads; None when it does not.
    """

    mark: Mark
    value: Any
    text: str = ""
    keys: Mapping[str, Mark] = field(default_factory=dict)
    offset: int | None = None

    @property
    def table(self) -> "Mapping[str, Node] | None":
        """The inner Nodes by key, None when this is no table."""
        return self.value if isinstance(self.value, dict) else None

    @property
    def items(self) -> "Sequence[Node] | None":
        """The inner Nodes in order, None when this is no list."""
        return self.value if isinstance(self.value, list) else None

    @property
    def kind(self) -> str:
        """What this is, in a reader's words."""
        if self.table is not None:
            return "a table"
        if self.items is not None:
            return "a list"
        return "nothing" if self.value is None else f"`{self.text[:40]}`"

    def plain(self) -> Any:
        """Return the value without places: what JSON holds."""
        if isinstance(self.value, dict):
            return {key: inner.plain() for key, inner in self.value.items()}
        return [inner.plain() for inner in self.value] if isinstance(self.value, list) else self.value

    def exact(self) -> "Node":
        """Return the same with every scalar as its characters."""
        if isinstance(self.value, dict):
            inner: Any = {key: each.exact() for key, each in self.value.items()}
        elif isinstance(self.value, list):
            inner = [each.exact() for each in self.value]
        else:
            inner = self.text
        return Node(self.mark, inner, self.text, self.keys, self.offset)

    def find(self, path: Path, *, at_key: bool = False) -> Mark:
        """Return the place of a path, or of its longest beginning that is there; of the last key itself if asked."""
        here = self
        for depth, step in enumerate(path):
            if here.table is not None and str(step) in here.table:
                if at_key and depth == len(path) - 1:
                    return here.keys.get(str(step), here.mark)
                here = here.table[str(step)]
            elif here.items is not None and isinstance(step, int) and step < len(here.items):
                here = here.items[step]
            else:
                break
        return here.mark

    def place(self, offset: int | None) -> Mark:
        """Return the place of so many characters into its text; its own where that does not stand in the file as it reads."""
        if offset is None or self.offset is None:
            return self.mark
        return Mark(self.mark.file, self.mark.line, self.mark.column + self.offset + offset, self.mark.key)

    def within(self, path: Path) -> "Node | None":
        """Return the Node at a path, if there is one."""
        here: Node | None = self
        for step in path:
            if here is None:
                return None
            if here.table is not None:
                here = here.table.get(str(step))
            else:
                items = here.items or ()
                here = items[step] if isinstance(step, int) and step < len(items) else None
        return here


def lines_of(source: str) -> list[str]:
    """Split the text of a file into lines, with what ends them, as YAML counts them."""
    found: list[str] = _LINE.findall(source)
    return found[:-1] or found


def scalar(text: str, *, plain: bool) -> Any:
    """Resolve the characters of a scalar: null, true, false and decimal numbers; all else, and whatever is quoted, is text."""
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number[1] else int(text)


def table(mark: Mark, inner: Mapping[str, Node], keys: Mapping[str, Mark] | None = None) -> Node:
    """Make a table that no file holds, of Nodes that files hold."""
    return Node(mark, dict(inner), keys=keys or {key: node.mark for key, node in inner.items()})


def text(mark: Mark, characters: str) -> Node:
    """Make a scalar that no file holds."""
    return Node(mark, characters, characters)

"""JSON file: settings in a JSON object; `json:///etc/app.json#features` names a section of it."""

import re

import orjson

from stopgap.backends.tree import NUMBER, Kind, Member, Node, TreeFlags
from stopgap.errors import PermanentError

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_CONSTANT = re.compile(r"true|false|null")
_DEEPEST = 100


class JsonFile(TreeFlags):
    """`json:///etc/app.json#section`."""

    schemes = ("json",)
    example = "json:///etc/app.json"

    def parse(self, text: str) -> Node:
        """Parse strictly, then find where everything stands."""
        try:
            orjson.loads(text)
        except ValueError as error:  # also a lone surrogate: bytes that are not UTF-8
            raise PermanentError(f"{self.name} is not JSON: {str(error)[:100]}") from None
        root = _node(text, _skip(text, 0), 0)
        if root.kind is not Kind.SECTION:
            raise PermanentError(f"{self.name} is not a JSON object")
        return root

    def quoted(self, value: str, there: str) -> str:  # noqa: ARG002 - JSON has one style
        """Write a string."""
        return orjson.dumps(value).decode()

    def key(self, key: str) -> str:
        """Write a key, with its colon."""
        return orjson.dumps(key).decode() + ":"


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _node(text: str, start: int, depth: int) -> Node:
    """Find a value that is known to be right."""
    if depth > _DEEPEST:
        raise PermanentError("the JSON is nested too deeply")
    if text[start] == "{":
        return _section(text, start, depth)
    if text[start] == "[":
        return _list(text, start, depth)
    if match := _STRING.match(text, start):
        return Node(Kind.STRING, start, match.end(), orjson.loads(match[0]))
    if match := _CONSTANT.match(text, start):
        return Node(Kind.NULL if match[0] == "null" else Kind.BOOLEAN, start, match.end(), match[0])
    match = NUMBER.match(text, start)
    end = match.end() if match else start
    return Node(Kind.NUMBER, start, end, text[start:end])


def _section(text: str, start: int, depth: int) -> Node:
    members = []
    position = _skip(text, start + 1)
    while text[position] != "}":
        key = _STRING.match(text, position)
        name = key[0] if key else '""'
        colon = _skip(text, position + len(name))
        node = _node(text, _skip(text, colon + 1), depth + 1)
        members.append(Member(orjson.loads(name), position, node))
        position = _skip(text, node.end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return Node(Kind.SECTION, start, position + 1, members=tuple(members))


def _list(text: str, start: int, depth: int) -> Node:
    position = _skip(text, start + 1)
    while text[position] != "]":
        position = _skip(text, _node(text, position, depth + 1).end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return Node(Kind.OTHER, start, position + 1)

"""YAML file: settings in a YAML mapping; `yaml:///etc/app.yaml#features` names a section of it.

ruamel.yaml says where each value stands, and only that stretch of text is changed: comments, order, quotes and indentation are
kept. Values with a tag, an anchor or an alias are left alone: changing one would change others.
"""

import json
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

from stopgap.backends.tree import Kind, Member, Node, TreeFlags
from stopgap.errors import PermanentError

_PLAIN = re.compile(r"[A-Za-z/][\w./-]*(?::[\w./-]+)*")
_WORDS_OF_YAML = frozenset(
    ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
)  # a string in YAML 1.2, not in 1.1
_KINDS = {
    "int": Kind.NUMBER,
    "float": Kind.NUMBER,
    "bool": Kind.BOOLEAN,
    "null": Kind.NULL,
    "str": Kind.STRING,
}


class YamlFile(TreeFlags):
    """`yaml:///etc/app.yaml#section`."""

    schemes = ("yaml",)
    example = "yaml:///etc/app.yaml"
    largest = 256 * 1024  # parsed in Python: more would take seconds

    def parse(self, text: str) -> Node:
        """Parse one document that is a mapping."""
        try:
            composed = YAML(typ="safe", pure=True).compose(text)
        except (YAMLError, ValueError, RecursionError) as error:
            line = getattr(getattr(error, "problem_mark", None), "line", None)
            where = "" if line is None else f", line {line + 1}"
            raise PermanentError(f"{self.name} is not a YAML document{where}") from None
        if not isinstance(composed, MappingNode):
            raise PermanentError(f"{self.name} is not a YAML mapping")
        return _section(text, composed)

    def quoted(self, value: str, there: str) -> str:
        """Write a string: plain or in single quotes where that is the style and safe, else in double quotes."""
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML
        if there.startswith("'") and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        if plain and not there.startswith('"'):
            return value
        return json.dumps(value, ensure_ascii=not value.isprintable())

    def key(self, key: str) -> str:
        """Write a key, with its colon."""
        return self.quoted(key, "") + ":"


def _section(text: str, composed: MappingNode) -> Node:
    members = []
    for key, value in composed.value:
        if isinstance(key, ScalarNode):
            start = key.start_mark.index
            members.append(Member(key.value, start, _node(text, key.end_mark.index, start, value)))
    start, end = composed.start_mark.index, composed.end_mark.index
    if members and composed.flow_style is not True:
        end = members[-1].node.end
    return Node(Kind.SECTION, start, end, members=tuple(members), block=composed.flow_style is not True)


def _node(text: str, key_end: int, key_start: int, value: Any) -> Node:
    start, end = value.start_mark.index, value.end_mark.index
    colon = text.find(":", key_end)
    if start < key_start or colon < 0:  # an alias stands elsewhere
        return Node(Kind.OTHER, key_end, key_end)
    if isinstance(value, MappingNode) and value.anchor is None:
        return _section(text, value)
    kind = _KINDS.get(str(value.tag).rpartition(":")[2], Kind.OTHER)
    raw = text[start:end]
    if not isinstance(value, ScalarNode) or value.anchor is not None or raw[:1] in {"!", "&", "|", ">"}:
        return Node(Kind.OTHER, start, end)
    if not raw:  # `key:` and nothing more
        return Node(Kind.NULL, colon + 1, colon + 1, "null", " ")
    lead = text[colon + 1 : start]
    said = value.value.lower() if kind is Kind.BOOLEAN else value.value
    return Node(kind, colon + 1, end, said, lead)

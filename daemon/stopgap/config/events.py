"""Events: what the text of a YAML file consists of, as ruamel.yaml's own scanner says, and far sooner where libyaml says the same.

libyaml reads ten times as fast, and differs in rare things: characters that YAML 1.1 took for line breaks, empty values, tags,
anchors with a colon, a colon right behind a quoted key, ends of documents. `swift` doubts whatever could be one of these, and every
text that it cannot read: so what a file means, and what is said of a wrong one, never depends on which of the two has read it.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

ALIAS = AliasEvent, yaml.AliasEvent
DOCUMENT = DocumentStartEvent, yaml.DocumentStartEvent
LIST, LIST_END = (SequenceStartEvent, yaml.SequenceStartEvent), (SequenceEndEvent, yaml.SequenceEndEvent)
TABLE, TABLE_END = (MappingStartEvent, yaml.MappingStartEvent), (MappingEndEvent, yaml.MappingEndEvent)
SCALAR = ScalarEvent, yaml.ScalarEvent

BLOCK = frozenset("|>")
_ODD = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"  # controls, tabs, breaks
    r"|^[%?]|^\.\.\.",
    re.MULTILINE,
)
_BLOCK = re.compile(r"[|>][+-]?(?: +#.*| *)\n +[^\s#]")
_TIGHT = re.compile(r":[^\s,\]}]")
_NAME_END = frozenset(" \n,]}")


class Doubt(Exception):  # noqa: N818 - no error: another one is asked
    """libyaml cannot read a text, or might read it differently."""


def thorough(source: str) -> Iterator[Event]:
    """Yield the events of a text. Raises YAMLError of ruamel."""
    yield from YAML(typ="safe", pure=True).parse(source)


def swift(source: str) -> Iterator[Any]:
    """Yield the same, where that is beyond doubt. Raises Doubt, at once or in the end."""
    parser = getattr(yaml, "CSafeLoader", None)
    if parser is None or _ODD.search(source):
        raise Doubt
    try:
        for event in yaml.parse(source, Loader=parser):
            if getattr(event, "tag", None):
                raise Doubt
            anchor = getattr(event, "anchor", None)
            if anchor is not None and source[event.start_mark.index + len(anchor) + 1] not in _NAME_END:
                raise Doubt
            if isinstance(event, yaml.ScalarEvent):
                _sure(event, source)
            yield event
    except (yaml.YAMLError, UnicodeError, IndexError) as wrong:
        raise Doubt from wrong


def _sure(event: Any, source: str) -> None:
    """Raise Doubt where a scalar may be another one, or stand elsewhere."""
    if event.style in BLOCK:
        if _BLOCK.match(source, event.start_mark.index) is None:
            raise Doubt
    elif (not event.value and not event.style) or _TIGHT.match(source, event.end_mark.index):
        raise Doubt

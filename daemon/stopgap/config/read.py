"""Read: turns the text of a YAML file into Nodes, by our own small rule set for scalars.

`on`, `off`, dates, `1_000` and `010` are text, because a flag's value must arrive as it was written. What YAML has and rules do not
need (tags, merge keys, several documents, tables as keys) is refused; aliases work, and are bounded.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from stopgap.config import events as yaml
from stopgap.config.allow import Span, allows_of
from stopgap.config.codes import Wrong
from stopgap.config.findings import Findings
from stopgap.config.node import Mark, Node, lines_of, scalar

MOST_NODES = 250_000
DEEPEST = 40

_QUOTE_IT = 'put quotes around it: "{{ … }}"'
_KEY = re.compile(r"(\s*)([\w.-]+)\s*")
_CURES = (
    ("'\\t' that cannot start", "a tab stands where spaces must", "indent with spaces"),
    ("mapping values are not allowed", "a second `: ` in one line", "put quotes around the value that holds it"),
    ("expected <block end>", "the indentation fits no line above", "align it with its neighbours"),
    ("unexpected end of stream", "the quote is not closed", "close it"),
    ("'<stream end>'", "the file ends too early", "close the bracket"),
    ("that cannot start any token", "a value cannot begin with this character", "put quotes around it"),
    ("did not find expected ',' or", "a comma or a closing bracket is missing", "add it, or quote a value that holds , [ ] { }"),
    ("expected ',' or", "a comma or a closing bracket is missing", "add it, or quote a value that holds , [ ] { }"),
    ("could not find expected ':'", "a `key:` is missing here", "write key: value, and align it"),
)  # fmt: skip


class _Stop(Exception):  # noqa: N818 - ends the reading of one file
    def __init__(self, mark: Mark, text: str, hint: str, code: Wrong = Wrong.UNSUPPORTED_YAML) -> None:
        self.mark, self.text, self.hint, self.code = mark, text, hint, code
        super().__init__(text)


def read(source: str, file: str, findings: Findings) -> Node | None:
    """Read one document. Everything that is wrong goes to the findings; None when nothing can be made of it."""
    own = Findings()
    try:
        root = _read(source, file, own, yaml.swift(source))
        if not own.errors:
            findings.take(own)
            return root
    except (yaml.Doubt, _Stop):
        pass  # what is wrong, and where, says the one whose words are known
    return read_thoroughly(source, file, findings)


def read_thoroughly(source: str, file: str, findings: Findings) -> Node | None:
    """Read it likewise, with ruamel.yaml alone: what `read` says is what this says."""
    try:
        return _read(source, file, findings, yaml.thorough(source))
    except _Stop as stop:
        findings.error(stop.mark, stop.text, stop.hint, code=stop.code)
    except MarkedYAMLError as wrong:
        place = _place(wrong, source, file)
        findings.error(*(_indented(wrong, source, place) or (place, *_said(wrong))), code=Wrong.SYNTAX)
    except ReaderError as wrong:
        line, column = _line_and_column(source, wrong.position)
        findings.error(Mark(file, line, column), "a control character", "remove it", code=Wrong.SYNTAX)
    except YAMLError as wrong:
        findings.error(Mark(file), f"not YAML: {' '.join(str(wrong).split())[:200]}", code=Wrong.SYNTAX)
    return None


def _read(source: str, file: str, findings: Findings, events: Iterable[Any]) -> Node | None:
    composer = _Composer(source, file, findings, events)
    root = composer.document()
    findings.allows += allows_of(source, file, composer.spans, root)
    return root


def _place(wrong: MarkedYAMLError, source: str, file: str) -> Mark:
    mark = wrong.problem_mark or wrong.context_mark
    if "unexpected end of stream" in str(wrong.problem) and wrong.context_mark is not None:
        mark = wrong.context_mark  # where the quote opens, not where the file ends
    if mark is None:
        return Mark(file)
    lines = [line.rstrip("\r\n\x85\u2028\u2029") for line in lines_of(source)]
    line = min(mark.line, len(lines) - 1)
    column = mark.column if line == mark.line else len(lines[line])
    return Mark(file, line + 1, column + 1)


def _indented(wrong: MarkedYAMLError, source: str, place: Mark) -> tuple[Mark, str, str] | None:
    """Tell of a key that is only indented too deeply, which YAML takes for a part of the value above it."""
    key = _KEY.fullmatch(lines_of(source)[place.line - 1][: place.column - 1])
    if key is None or "mapping values are not allowed" not in str(wrong.problem):
        return None
    text = f"`{key[2][:60]}` stands further right than the keys above it"
    return replace(place, column=len(key[1]) + 1), text, "align it with them, or with what it belongs to"


def _said(wrong: MarkedYAMLError) -> tuple[str, str]:
    problem = " ".join(str(wrong.problem or wrong.context).split())
    for part, text, cure in _CURES:
        if part in problem:
            return text, cure
    return f"not YAML: {problem[:200]}", ""


def _line_and_column(source: str, position: int) -> tuple[int, int]:
    before = source[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


class _Composer:
    """Makes Nodes of one file's events."""

    def __init__(self, source: str, file: str, findings: Findings, events: Iterable[Any]) -> None:
        self._source = source
        self._file = file
        self._findings = findings
        self._events = self._noted(events)
        self.spans: list[Span] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def _noted(self, events: Iterable[Any]) -> Iterator[Any]:
        """Note where the scalars stand."""
        for event in events:
            if isinstance(event, yaml.SCALAR):
                begin, end = event.start_mark.index, event.end_mark.index
                if event.style in yaml.BLOCK:
                    begin = self._source.find("\n", begin)  # a comment may stand beside the sign
                self.spans.append((begin, end))
            yield event

    def document(self) -> Node | None:
        """Return the only document, None for a file that holds none."""
        root: Node | None = None
        for event in self._events:
            if not isinstance(event, yaml.DOCUMENT):
                continue
            if root is not None:
                raise _Stop(
                    self._mark(event.start_mark, ""), "a second document", "put it into a file of its own"
                )
            root = self._node(next(self._events), "", 0)
        return root

    def _mark(self, mark: Any, key: str) -> Mark:
        return Mark(self._file, mark.line + 1, mark.column + 1, key)

    def _node(self, event: Any, key: str, depth: int) -> Node:
        mark = self._mark(event.start_mark, key)
        self._bound(mark, depth, 1)
        if isinstance(event, yaml.ALIAS):
            return self._alias(event, mark)
        if tag := getattr(event, "tag", None):
            self._findings.error(mark, f"a tag ({tag})", "remove it", code=Wrong.UNSUPPORTED_YAML)
        if isinstance(event, yaml.TABLE):
            node = self._table(mark, depth)
        elif isinstance(event, yaml.LIST):
            node = self._list(mark, depth)
        else:
            node = self._scalar(event, mark)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = node
        return node

    def _bound(self, mark: Mark, depth: int, count: int) -> None:
        self._count += count
        if depth > DEEPEST:
            raise _Stop(mark, f"nested deeper than {DEEPEST} levels", "rules are flat", Wrong.TOO_LARGE)
        if self._count > MOST_NODES:
            text = f"more than {MOST_NODES} values, aliases counted out"
            raise _Stop(mark, text, "split the file", Wrong.TOO_LARGE)

    def _alias(self, event: Any, mark: Mark) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Stop(
                mark,
                f"an alias of nothing above: *{event.anchor}",
                "write the value, or its &anchor before it",
                Wrong.SYNTAX,
            )
        self._bound(mark, 0, _size(node))
        return node

    def _whole(self, text: str, mark: Mark) -> str:
        """Return a text as characters: escapes may give one in halves, as JSON writes it. One half alone is told."""
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            text = "half a character (a lone surrogate)"
            raise _Stop(mark, text, "write the character itself", Wrong.SYNTAX) from None

    def _scalar(self, event: Any, mark: Mark) -> Node:
        event.value = self._whole(event.value, mark)
        plain = not event.style
        begin = event.start_mark.index + (0 if plain else 1)
        stands = self._source.startswith(event.value, begin) and event.style not in yaml.BLOCK
        offset = (0 if plain else 1) if stands and "\n" not in event.value else None
        return Node(mark, scalar(event.value, plain=plain), event.value, offset=offset)

    def _list(self, mark: Mark, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.LIST_END):
            items.append(self._node(event, f"{mark.key}[{len(items)}]", depth + 1))
        return Node(mark, items)

    def _table(self, mark: Mark, depth: int) -> Node:
        inner: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        while not isinstance(event := next(self._events), yaml.TABLE_END):
            place = self._mark(event.start_mark, mark.key)
            if not isinstance(event, yaml.SCALAR):
                if self._source.startswith("{{", event.start_mark.index - 1):
                    place = replace(place, column=place.column - 1)
                    raise _Stop(place, "a template must be in quotes", _QUOTE_IT, Wrong.SYNTAX)
                raise _Stop(place, "a table or a list as a key", "write a name")
            name = self._whole(event.value, place)
            place = Mark(self._file, place.line, place.column, f"{mark.key}.{name}" if mark.key else name)
            if name == "<<":
                raise _Stop(place, "merge keys are not supported", "write the keys out")
            value = self._node(next(self._events), place.key, depth + 1)
            if name in inner:
                first = keys[name].line
                text = f"`{name}` is there already, in line {first}"
                self._findings.error(place, text, "keep one of the two", code=Wrong.DUPLICATE_KEY)
                continue
            inner[name], keys[name] = value, place
        return Node(mark, inner, keys=keys)


def _size(node: Node) -> int:
    inner = node.table.values() if node.table is not None else node.items or ()
    return 1 + sum(map(_size, inner))

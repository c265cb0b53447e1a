"""Matcher: one Alertmanager matcher, such as `alertname="Down"` or `job=~"api|web"`.

The grammar is Alertmanager's default mode: the UTF-8 syntax (0.27 and later), else the classic one. Where both read a text but
differently, Alertmanager takes the classic reading with a warning in its log; here it is an error that shows how to quote, because
a rule that means something else after an upgrade is a trap. Regexes are RE2, anchored, and `.` does not match a newline.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

import re2

T = TypeVar("T")

LONGEST = 16_384  # characters of a text with matchers
_REGEX_MEMORY = 2 << 20  # bytes that RE2 may use for one regex before it refuses or searches more slowly


class Op(StrEnum):
    """How a label's value is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


class MatcherError(ValueError):
    """A text is not a matcher: `text` says why, `cure` what to write instead, `column` (0-based) where."""

    def __init__(self, text: str, column: int = 0, cure: str = "") -> None:
        self.text = text
        self.column = column
        self.cure = cure
        super().__init__(f"column {column}: {text}" + (f"; {cure}" if cure else ""))


@dataclass(frozen=True, slots=True)
class Matcher:
    """One comparison of one label. A label that an alert does not have counts as empty."""

    name: str
    op: Op
    value: str
    _search: Callable[[bytes], object] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if not self.name:
            raise MatcherError("a label's name is missing", cure='write it before the operator: name="value"')
        if not _encodable(self.name + self.value):
            raise MatcherError("a lone surrogate is not text")
        if self.op in {Op.MATCHES, Op.NOT_MATCHES}:
            object.__setattr__(self, "_search", _compile(self.value))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels satisfy this matcher. Never raises, whatever the value."""
        found = labels.get(self.name, "")
        if self._search is None:
            return (found == self.value) is (self.op is Op.EQUAL)
        return (self._search(found.encode("utf-8", "replace")) is not None) is (self.op is Op.MATCHES)

    def __str__(self) -> str:
        """Print a form that both syntaxes read alike; a name that only the UTF-8 syntax knows is quoted where it must be."""
        name = self.name if _BARE_NAME.fullmatch(self.name) else _quote(self.name)
        return f"{name}{self.op}{_quote(self.value)}"


def parse_matcher(text: str) -> Matcher:
    """Read exactly one matcher, without braces. Raises MatcherError."""
    if text.startswith("{") or text.endswith("}"):
        column = 0 if text.startswith("{") else len(text) - 1
        raise MatcherError(
            "unexpected brace around one matcher",
            column,
            'write it without braces, or quote a value: name="}"',
        )
    return _read(text, _utf8_one, lambda single: [_classic_one(single, 0)])[0]


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read matchers separated by commas, with or without braces; none is legal, as in Alertmanager. Raises MatcherError."""
    return _read(text, _utf8, _classic)


# ── choosing between the two syntaxes ──


class _Raw(NamedTuple):
    """What a syntax reads of one matcher, before its regex is compiled; `column` is where the value stands."""

    name: str
    op: Op
    value: str
    column: int


_Syntax = Callable[[str], list[_Raw]]


def _read(text: str, utf8: _Syntax, classic: _Syntax) -> tuple[Matcher, ...]:
    if len(text) > LONGEST:
        raise MatcherError(f"longer than {LONGEST} characters", LONGEST, "split it into several matchers")
    if not _encodable(text):
        raise MatcherError("a lone surrogate is not text")
    new, wrong = _attempt(utf8, text)
    old, _ = _attempt(classic, text)
    if new is not None and old is not None:
        _refuse_disagreement(new, old)
    found = old if new is None else new
    if found is None:
        raise wrong
    return tuple(_build(raw) for raw in found)


def _attempt(syntax: _Syntax, text: str) -> tuple[list[_Raw] | None, MatcherError]:
    try:
        return syntax(text), MatcherError("")
    except MatcherError as wrong:
        return None, wrong


def _refuse_disagreement(new: list[_Raw], old: list[_Raw]) -> None:
    if [raw[:3] for raw in new] == [raw[:3] for raw in old]:
        return
    column = next((a.column for a, b in zip(new, old, strict=False) if a[:3] != b[:3]), 0)
    wanted = ",".join(f"{raw.name}{raw.op}{_quote(raw.value)}" for raw in old)
    raise MatcherError(
        "the UTF-8 syntax and the classic one read this differently",
        column,
        f"quote it: {wanted} is how Alertmanager takes it",
    )


def _build(raw: _Raw) -> Matcher:
    try:
        return Matcher(raw.name, raw.op, raw.value)
    except MatcherError as wrong:
        raise MatcherError(wrong.text, raw.column, wrong.cure) from None


_RE2 = "the regexes are those of RE2, without look-around and back-references"
_FLAWS = (
    ("missing )", "a bracket ( is not closed", "close it, or write \\( for the character itself"),
    ("unexpected )", "a bracket ) was never opened", "open it, or write \\) for the character itself"),
    ("missing ]", "a bracket [ is not closed", "close it, or write \\[ for the character itself"),
    ("no argument for repetition", "nothing stands before a * + or ?", "write .* for any text"),
    ("bad repetition operator", "two of * + ? in a row", "write one of them"),
    ("invalid perl operator", "it looks around with (?", _RE2),
    ("invalid escape sequence", "a backslash before a character that needs none", _RE2),
    ("pattern too large", "it is too large", "repeat less"),
    ("invalid repetition size", "it repeats too often", "repeat less"),
)
"""What RE2 says of a pattern, what that means, and the cure."""


def _compile(pattern: str) -> Callable[[bytes], object]:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _REGEX_MEMORY
    try:
        search: Callable[[bytes], object] = re2.compile(f"^(?:{pattern})$".encode(), options).search
    except re2.error as wrong:
        reason = wrong.args[0].decode("utf-8", "replace")
        text, cure = next((said for part, *said in _FLAWS if part in reason), (reason[:100], _RE2))
        raise MatcherError(f"not a regex: {text}", cure=cure) from None
    return search


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'


# ── the UTF-8 syntax (Alertmanager: matcher/parse) ──

_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)  # Go's IsSpace
_BARE = rf"[^{_SPACE}{{}}!=~,\\\"'`]+"
_BARE_NAME = re.compile(_BARE)
_TOKEN = re.compile(
    rf"(?P<space>[{_SPACE}]+)|(?P<op>=~|!~|!=|=)|(?P<brace>[{{}}])|(?P<comma>,)"
    rf'|(?P<text>"(?:[^"\\]|\\.)*"|{_BARE})|(?P<bad>.)',
    re.DOTALL,
)
_ESCAPE = re.compile(
    r'\\(?:([abfnrtv\\"])|x([0-9a-fA-F]{2})|([0-3][0-7]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|\\|\n|[^\\\n]+',
    re.DOTALL,
)
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
_LAST_RUNE = 0x10FFFF


class _Token(NamedTuple):
    kind: str
    raw: str
    column: int


class _Tokens:
    """The tokens of one text, read one ahead."""

    def __init__(self, text: str) -> None:
        self._rest = self._scan(text)
        self.next = next(self._rest)

    @staticmethod
    def _scan(text: str) -> Iterator[_Token]:
        for found in _TOKEN.finditer(text):
            if found.lastgroup != "space":
                yield _Token(str(found.lastgroup), found[0], found.start())
        yield _Token("end", "the end", len(text))

    def accept(self, kind: str, raw: str = "") -> bool:
        """Take the next token if it is of that kind (and reads so), and say whether it was."""
        hit = self.next.kind == kind and raw in {"", self.next.raw}
        if hit:
            self.next = next(self._rest, self.next)
        return hit

    def expect(self, kind: str, wanted: str, cure: str) -> _Token:
        """Take the next token. Raises MatcherError if it is of another kind."""
        token = self.next
        if not self.accept(kind):
            if token.kind == "op" and wanted == "a value":
                raise MatcherError("two operators in a row", token.column, "write one of = != =~ !~")
            cure = "close the double quote" if token.raw == '"' else cure
            raise MatcherError(f"expected {wanted}, found {token.raw[:40]}", token.column, cure)
        return token


def _utf8(text: str) -> list[_Raw]:
    tokens = _Tokens(text)
    found: list[_Raw] = []
    brace = tokens.accept("brace", "{")
    more = tokens.next.kind != "end" and tokens.next.raw != "}"
    while more:
        found.append(_utf8_matcher(tokens))
        more = tokens.accept("comma") and tokens.next.kind != "end" and tokens.next.raw != "}"
    if brace and not tokens.accept("brace", "}"):
        raise MatcherError(
            f"expected a comma or }}, found {tokens.next.raw[:40]}", tokens.next.column, "close the brace"
        )
    tokens.expect("end", "a comma or the end", "separate matchers by commas and put values in double quotes")
    return found


def _utf8_one(text: str) -> list[_Raw]:
    found = _utf8(text)
    if len(found) != 1:
        raise MatcherError(f"expected one matcher, found {len(found)}", 0, "write one per list item")
    return found


def _utf8_matcher(tokens: _Tokens) -> _Raw:
    name = tokens.expect(
        "text", "a label's name", 'write name="value"; a name with other characters goes into double quotes'
    )
    op = tokens.expect("op", "an operator", "write one of = != =~ !~")
    value = tokens.expect("text", "a value", 'put it in double quotes: name="value"')
    return _Raw(_unquote(name), Op(op.raw), _unquote(value), value.column)


def _unquote(token: _Token) -> str:
    """Undo Go's double quotes (strconv.Unquote): no raw newline, only Go's escapes, valid UTF-8."""
    if not token.raw.startswith('"'):
        return token.raw
    try:
        return b"".join(map(_unescape, _ESCAPE.finditer(token.raw, 1, len(token.raw) - 1))).decode()
    except ValueError:
        cure = "write a backslash as \\\\ and a newline as \\n"
        raise MatcherError(f"not a Go string: {token.raw[:40]}", token.column, cure) from None


def _unescape(piece: re.Match[str]) -> bytes:
    simple, byte, octal, short, long = piece.groups()
    if simple:
        return bytes([_SIMPLE[simple]])
    if byte or octal:
        return bytes([int(byte, 16) if byte else int(octal, 8)])
    if short or long:
        rune = int(short or long, 16)
        return chr(rune).encode() if rune <= _LAST_RUNE else b"\xff"  # 0xff never decodes
    return b"\xff" if piece[0] in {"\\", "\n"} else piece[0].encode()


# ── the classic syntax (Alertmanager: pkg/labels) ──

_CLASSIC_SPACE = "\t\n\f\r "  # what Go's regexp calls \s
_CLASSIC_HEAD = re.compile(
    rf"[{_CLASSIC_SPACE}]*([a-zA-Z_:][a-zA-Z0-9_:]*)[{_CLASSIC_SPACE}]*(=~|=|!=|!~)[{_CLASSIC_SPACE}]*"
)
_CLASSIC_VALUE = re.compile(r'(?:[^"\\]|\\["\\n]|\\(?!["\\n]))*', re.DOTALL)
_CLASSIC_ESCAPE = re.compile(r'\\(["\\n])')


def _classic(text: str) -> list[_Raw]:
    return [_classic_one(piece, column) for piece, column in _classic_pieces(text)]


def _classic_pieces(text: str) -> Iterator[tuple[str, int]]:
    """Split at commas outside of double quotes, with pkg/labels' own idea of an escape, which outlives a comma."""
    start = 1 if text.startswith("{") else 0
    body = text[start:].removesuffix("}")
    inside = escaped = False
    begin = 0
    for at, char in enumerate(body):
        if char == "," and not inside:
            yield body[begin:at], start + begin
            begin = at + 1
        elif char == "\\":
            escaped = not escaped
        elif char == '"':
            inside, escaped = inside is escaped, False
        elif char != ",":
            escaped = False
    last = body[begin:].strip(_SPACE)
    if last:
        yield last, start + begin


def _classic_one(text: str, column: int) -> _Raw:
    found = _CLASSIC_HEAD.match(text)
    if found is None:
        raise MatcherError("not a matcher", column, 'write name="value"')
    value = text[found.end() :].rstrip(_CLASSIC_SPACE)
    column += found.end()
    quoted = value.startswith('"')
    inner = value[1:-1] if quoted else value
    if quoted and (len(value) == 1 or not value.endswith('"')):
        raise MatcherError("the quote is not closed", column, "close it")
    if not _CLASSIC_VALUE.fullmatch(inner) or (quoted and _ends_escaped(inner)):
        raise MatcherError("a double quote inside the value", column, 'write it as \\"')
    return _Raw(
        found[1],
        Op(found[2]),
        _CLASSIC_ESCAPE.sub(lambda hit: "\n" if hit[1] == "n" else hit[1], inner),
        column,
    )


def _ends_escaped(text: str) -> bool:
    """Tell whether an odd number of backslashes ends the text: the quote after it is then part of the value."""
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


# ── the index ──

_ALTERNATIVES = re.compile(r"[A-Za-z0-9_]+(?:\|[A-Za-z0-9_]+)*")


class MatcherIndex(Generic[T]):
    """Finds the items whose matchers all hold, looking only at those that name the alert's `alertname` and those that name none."""

    def __init__(self, entries: Iterable[tuple[Sequence[Matcher], T]]) -> None:
        self._named: dict[str, list[tuple[int, tuple[Matcher, ...], T]]] = {}
        self._rest: list[tuple[int, tuple[Matcher, ...], T]] = []
        for at, (matchers, item) in enumerate(entries):
            names = next((names for matcher in matchers if (names := _alertnames(matcher))), None)
            entry = (at, tuple(matchers), item)
            for name in names or ():
                self._named.setdefault(name, []).append(entry)
            if names is None:
                self._rest.append(entry)

    def find(self, labels: Mapping[str, str]) -> tuple[T, ...]:
        """Return the items whose matchers all hold, in the order in which they were given."""
        named = self._named.get(labels.get("alertname", ""), ())
        hits = [
            entry for entry in (*named, *self._rest) if all(matcher.matches(labels) for matcher in entry[1])
        ]
        if named and self._rest:
            hits.sort(key=_position)
        return tuple(item for _, _, item in hits)


def _position(entry: tuple[int, tuple[Matcher, ...], object]) -> int:
    return entry[0]


def _alertnames(matcher: Matcher) -> frozenset[str] | None:
    """Name the only values of `alertname` that can match (`="A"`, `=~"A|B"`), or None where that cannot be listed."""
    if matcher.name != "alertname":
        return None
    if matcher.op is Op.EQUAL:
        return frozenset({matcher.value})
    if matcher.op is Op.MATCHES and _ALTERNATIVES.fullmatch(matcher.value):
        return frozenset(matcher.value.split("|"))
    return None

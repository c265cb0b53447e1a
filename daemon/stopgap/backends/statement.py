"""Statement: one SQL statement, understood as far as bounding it needs: its verb, its bound names, and which rows it changes.

It is read alike for every database. What these would read differently (a backslash before a quote, `--` without a space, `/*!`) is
refused rather than guessed. Values are never put into the text: `:name` becomes the driver's own placeholder.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

LONGEST = 20_000  # characters

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+|--(?=\s|\Z)[^\n]*|/\*(?![!M]).*?\*/)
    | (?P<text>'[^']*(?:''[^']*)*')
    | (?P<quoted>"[^"]*(?:""[^"]*)*"|`[^`]*(?:``[^`]*)*`)
    | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<cast>::|:=)
    | (?P<name>(?<![\w\])]):[A-Za-z_]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<path>\#>>?|\#-)
    | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSED = {"'", '"', "`", "#", ";"}
_ROWS = frozenset({"insert", "update", "delete", "replace", "merge"})
_READS = frozenset({"select", "values", "table", "show"})
_UPKEEP = frozenset({"vacuum", "analyze", "reindex", "optimize", "check", "repair", "checkpoint", "flush"})
_PRAGMAS = frozenset({"wal_checkpoint", "optimize", "incremental_vacuum", "journal_mode", "integrity_check"})
_SCOPES = frozenset({"global", "persist"})
_MORE_THAN_ROWS_OF_ONE = frozenset({"from", "using", "join", "returning", "order", "limit", "as", ","})


class Kind(StrEnum):
    """What a statement is good for."""

    READ = "read"
    ROWS = "rows"  # changes rows, and can be rolled back
    UPKEEP = "upkeep"  # changes no row; commits by itself
    DESTRUCTIVE = "destructive"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text: what it is, where it stands, within how many parentheses."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    @property
    def low(self) -> str:
        """Return a word in lower case, a symbol as it is, and nothing for what is quoted."""
        return self.text.lower() if self.kind in ("word", "symbol") else ""


@dataclass(frozen=True, slots=True)
class Change:
    """Which rows of which table a plain UPDATE or DELETE changes, in the words of the statement; `columns` are those it sets."""

    table: str
    columns: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Statement:
    """One statement. Made by `parse_statement`."""

    text: str
    tokens: tuple[Token, ...]

    def __str__(self) -> str:
        return " ".join(self.text.split())

    @cached_property
    def verb(self) -> str:
        """Return what it does, in lower case; of WITH what follows it."""
        first = self.tokens[0].low
        if first != "with":
            return first
        return next((t.low for t in self._top if t.low in _ROWS | _READS), "with")

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the values that it is bound to."""
        return frozenset(token.text[1:] for token in self.tokens if token.kind == "name")

    @cached_property
    def kind(self) -> Kind:
        """Say what it is good for; what is not known to be harmless is destructive."""
        words = [token.low for token in self._top]
        if self.verb in _ROWS:
            endless = self.verb in ("update", "delete") and "where" not in words
            return Kind.DESTRUCTIVE if endless else Kind.ROWS
        if self.verb in _READS:
            return Kind.DESTRUCTIVE if "into" in words else Kind.READ
        upkeep = (
            self.verb in _UPKEEP and not _ROWS & set(words) and "into" not in words
        )  # ANALYZE DELETE deletes
        return Kind.UPKEEP if upkeep or self._tuning(words) else Kind.DESTRUCTIVE

    @property
    def transactional(self) -> bool:
        """Tell whether it can be one of several in a transaction, wherever; anything else is done by itself."""
        return self.verb in _ROWS | _READS

    @property
    def looks(self) -> bool:
        """Tell whether it only looks."""
        asks = self.verb == "pragma" and all(token.low != "=" for token in self.tokens)
        return self.kind is Kind.READ or asks

    @cached_property
    def subject(self) -> str:
        """Name what it changes: a table, a variable of the server, or nothing in particular."""
        after = {"update": "update", "delete": "from", "insert": "into", "replace": "into", "merge": "into"}
        opener = after.get(self.verb, "")
        words = self._top
        for i, token in enumerate(words):
            if opener and token.low == opener:
                return _bare("".join(t.text for t in _dotted(words[i + 1 :])))
        if self.kind is Kind.UPKEEP and self.verb in (
            "set",
            "alter",
        ):  # SET GLOBAL x, @@GLOBAL.x, ALTER SYSTEM SET x
            start = 5 if words[1].text == "@" else 3 if self.verb == "alter" else 2
            return "@@" + _bare("".join(t.text for t in _dotted(words[start:])))
        return ""

    @cached_property
    def change(self) -> Change:
        """Take a plain UPDATE or DELETE apart. Raises ValueError for one that is more than that."""
        words = self._top
        low = [token.low for token in words]
        start = {"update": 1, "delete": 2}.get(low[0], 0)
        table = _dotted(words[start:])
        after = start + len(table)
        plain = start and table and "where" in low and (low[0] == "update" or low[1] == "from")
        rest = set(low[after:]) - ({","} if low[0] == "update" else set())
        if not plain or rest & _MORE_THAN_ROWS_OF_ONE or low[after] not in ("set", "where"):
            raise ValueError(
                "only the rows of a plain UPDATE t SET … WHERE … or DELETE FROM t WHERE … can be saved: no alias, FROM, "
                "JOIN, ORDER BY, LIMIT, RETURNING; for others write observe and revert"
            )
        where = words[low.index("where")]
        columns = tuple(_columns(words[after + 1 : low.index("where")])) if low[0] == "update" else ()
        return Change(self.text[table[0].start : table[-1].end], columns, self.text[where.end :].strip())

    def render(self, placeholder: Callable[[str], str], *, percent: bool) -> str:
        """Write it for a driver, with `percent` signs doubled where its placeholders begin with one."""
        out = [
            placeholder(t.text[1:]) if t.kind == "name" else t.text.replace("%", "%%") if percent else t.text
            for t in self.tokens
        ]
        gaps = [self.text[a.end : b.start] for a, b in zip(self.tokens, self.tokens[1:], strict=False)]
        blanks = ["\n" if "\n" in gap else " " if gap else "" for gap in gaps]  # comments go
        return "".join(part for pair in zip(out, [*blanks, ""], strict=True) for part in pair)

    @property
    def _top(self) -> list[Token]:
        return [token for token in self.tokens if token.depth == 0]

    def _tuning(self, words: list[str]) -> bool:
        """Tell whether it is a setting of the server, or the end of somebody's connection."""
        second = words[1] if len(words) > 1 else ""
        at_global = "".join(token.text for token in self.tokens[1:5]).lower().startswith("@@global.")
        return (
            (self.verb == "pragma" and second in _PRAGMAS)
            or (self.verb == "set" and (second in _SCOPES or at_global))
            or (self.verb == "alter" and second == "system")
            or self.verb == "kill"
        )


@lru_cache(512)
def parse_statement(text: str) -> Statement:
    """Read one statement. Raises ValueError for none, for two, and for what databases read differently."""
    if len(text) > LONGEST:
        raise ValueError(f"a statement longer than {LONGEST} characters: make it a function of the database")
    if "\0" in text:
        raise ValueError("a NUL character stands in the statement")
    tokens = tuple(_tokens(text))
    while tokens and tokens[-1].text == ";":
        tokens = tokens[:-1]
    if not tokens:
        raise ValueError("no statement stands here")
    for token, following in zip(tokens, (*tokens[1:], None), strict=True):
        _check(token, following)
    if sum((t.text == "(") - (t.text == ")") for t in tokens if t.kind == "symbol"):
        raise ValueError("the parentheses of the statement do not match")
    return Statement(text[: tokens[-1].end], tokens)


def _tokens(text: str) -> Iterator[Token]:
    depth = 0
    for found in _TOKEN.finditer(text):
        kind, piece = found.lastgroup or "", found[0]
        kind = "dollar" if kind == "tag" else kind
        if kind == "blank":
            if "/*" in piece[2:] and piece.startswith("/*"):
                raise ValueError("a comment within a comment: not every database reads it alike")
            continue
        depth -= kind == "symbol" and piece == ")"
        yield Token(kind, piece, found.start(), found.end(), depth)
        depth += kind == "symbol" and piece == "("


def _check(token: Token, following: Token | None) -> None:
    after = following.text if following else ""
    if token.kind == "symbol" and token.text in _CLOSED:
        wrong = {
            ";": "two statements: write a list",
            "#": "a `#`: write comments as `-- …`",
        }
        raise ValueError(wrong.get(token.text, f"a {token.text} that is not closed"))
    if token.kind in ("text", "quoted") and re.search(r"\\(?=['\"`])", token.text):
        raise ValueError("a backslash before a quote: not every database reads it alike, bind it as a value")
    joined = following is not None and token.end == following.start
    if token.kind == "symbol" and joined and token.text + after in ("--", "/*"):
        raise ValueError(
            f"`{token.text}{after}` begins no plain comment here: write `-- …` with a space, or `/* … */`"
        )
    if token.text == "(" and following is not None and following.low in _ROWS and following.kind == "word":
        raise ValueError(f"{after} within the statement: write it as one of its own, so that its rows count")


def _dotted(words: list[Token]) -> list[Token]:
    """Return the tokens of a name such as public."Jobs" at the start."""
    out: list[Token] = []
    for token in words:
        wants_name = not out or out[-1].text == "."
        if wants_name != (token.kind in ("word", "quoted")) or not (wants_name or token.text == "."):
            break
        out.append(token)
    return out


def _bare(name: str) -> str:
    return re.sub(r'["`]', "", name).lower()


def _columns(words: list[Token]) -> Iterator[str]:
    """Find the columns that SET names: what follows it, and what follows each comma."""
    begins = True
    for token, following in zip(words, (*words[1:], None), strict=True):
        if begins:
            if token.kind not in ("word", "quoted") or following is None or following.text != "=":
                raise ValueError(
                    "SET with more than `column = value, …`: its rows cannot be saved, write observe and revert"
                )
            yield token.text
        begins = token.text == ","

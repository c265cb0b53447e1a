"""Allow: a comment that silences what is odd where it stands, and says why: `# stopgap: allow CODE reason`.

Behind a value it is for its line; alone on a line, for that line and the next one with a value. Where the name of a rule stands
it is for the rule as a whole, too. What is wrong cannot be allowed.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence, Set as AbstractSet
from dataclasses import dataclass

from stopgap.config.node import Mark, Node, lines_of
from stopgap.errors import Problem

WRITE = "write # stopgap: allow CODE reason"
_WORD = "stopgap:"
_SAID = re.compile(rf"# *{_WORD} *(?P<verb>\S*) *(?P<code>\S*)\s*(?P<reason>.*)")
_HASH = re.compile(r"(?:(?<=[ \t])|^)#")

Span = tuple[int, int]
"""Where a scalar begins and ends, in characters of the file: a # in it is no comment."""


@dataclass(frozen=True, slots=True)
class Allow:
    """One such comment: what it says, and the `lines` and the `keys` of rules that it is for."""

    mark: Mark
    verb: str
    code: str
    reason: str
    lines: frozenset[int]
    keys: frozenset[str] = frozenset()

    def covers(self, problem: Problem) -> bool:
        """Tell whether it silences this."""
        here = problem.line in self.lines or problem.key in self.keys
        silences = problem.warning and self.verb == "allow" and self.code == problem.code
        return silences and here and problem.path == self.mark.file


def allows_of(source: str, file: str, spans: Sequence[Span], root: Node | None) -> Iterator[Allow]:
    """Find them all; `spans` in the order of the file."""
    if _WORD not in source:
        return
    comments = list(_comments(source, spans))
    bare = {line for line, _, text, alone in comments if alone or not text}
    for line, column, text, alone in comments:
        said = _SAID.fullmatch(text)
        if said is None:
            continue
        lines = frozenset({line, _next(line, bare)} if alone else {line})
        keys = frozenset(key for key, at in _names(root) if at in lines)
        yield Allow(Mark(file, line, column), said["verb"], said["code"], said["reason"], lines, keys)


def _comments(source: str, spans: Sequence[Span]) -> Iterator[tuple[int, int, str, bool]]:
    """Find each line's comment: line, column, text, and whether nothing else stands there. Empty lines have an empty one."""
    begins = [begin for begin, _ in spans]
    start = 0
    for number, line in enumerate(lines_of(source), 1):
        for found in _HASH.finditer(line):
            here = found.start()
            at = bisect_right(begins, start + here) - 1
            if at < 0 or spans[at][1] <= start + here:
                yield number, here + 1, line[here:].rstrip(), not line[:here].strip()
                break
        else:
            if not line.strip():
                yield number, 1, "", True
        start += len(line)


def _next(line: int, bare: AbstractSet[int]) -> int:
    """Return the next line on which a value stands."""
    following = line + 1
    while following in bare:
        following += 1
    return following


def _names(root: Node | None) -> Iterator[tuple[str, int]]:
    """Find the key of each rule, and the line of its name."""
    rules = root.within(("rules",)) if root is not None else None
    for rule in (rules.items or ()) if rules is not None else ():
        if "name" in rule.keys:
            yield rule.mark.key, rule.keys["name"].line

"""Subject: one rule with all that a lint may look at, and the Remark that it makes of it.

A lint is a pure judgement: it reads a Subject and returns what in it is odd (or wrong), where, and the cure. It asks nothing, and
knows no other rule; what only several rules together show is judged by `relations.py` and `coverage.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stopgap.config.alerts import AlertRule
from stopgap.config.codes import Odd, Wrong
from stopgap.config.nature import Nature
from stopgap.config.node import Node, Path
from stopgap.plan import references
from stopgap.rule import OnFailure, ProbeSpec, Rule, RungSpec, StepSpec
from stopgap.template import RefKind, Template

STEPS = ("do", "activate")
_UNKNOWN = Nature()


@dataclass(frozen=True, slots=True)
class Remark:
    """What is odd at a path of a rule's document; with a code of `Wrong`, what must be changed."""

    path: Path
    code: Odd | Wrong
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A rule, the natures of its steps by their paths, the alerts of its pack that it may take, and its document with places."""

    rule: Rule
    natures: Mapping[Path, Nature] = field(default_factory=dict)
    alerts: tuple[AlertRule, ...] = ()
    node: Node | None = None

    def rungs(self) -> Iterator[tuple[Path, RungSpec]]:
        """Go through the ladder."""
        for i, rung in enumerate(self.rule.ladder):
            yield ("ladder", i), rung

    def steps(self, at: Path, *keys: str) -> Iterator[tuple[Path, StepSpec, Nature]]:
        """Go through the steps of the rung at a path: those of `do`, of `activate` or of both."""
        rung = self.rule.ladder[int(at[1])]
        for key in keys or STEPS:
            for i, step in enumerate(rung.do if key == "do" else rung.activate):
                path = (*at, key, i)
                yield path, step, self.natures.get(path, _UNKNOWN)

    def held(self) -> Iterator[tuple[Path, RungSpec]]:
        """Go through the steps that are held until the cause is gone, each with its rung."""
        for at, rung in self.rungs():
            if rung.on_resolve is OnFailure.REVERT:
                yield from ((path, rung) for path, _, nature in self.steps(at, "do") if nature.reverts)

    @property
    def holds(self) -> bool:
        """Tell whether anything is held: only then there is a lease, and a recovery to prove."""
        return next(self.held(), None) is not None

    def probes(self) -> Iterator[tuple[Path, tuple[ProbeSpec, ...]]]:
        """Go through its lists of probes."""
        yield ("recovered",), self.rule.recovered
        for at, rung in self.rungs():
            yield (*at, "only_if"), rung.only_if
            yield (*at, "verify"), rung.verify

    @property
    def match(self) -> Path:
        """Return where the rule's own matchers stand, those of its pack coming first."""
        node = self.node.within(("match",)) if self.node is not None else None
        return ("match", len((node.items if node is not None else None) or ()) - 1)

    def said(self, *paths: Path) -> Path:
        """Return the first path that the rule's own file says, else the last: defaults stand elsewhere, for other rules too."""
        for path in paths[:-1]:
            node = self.node.within(path) if self.node is not None else None
            if node is not None and self.node is not None and node.mark.file == self.node.mark.file:
                return path
        return paths[-1]


def labels_in(tree: Any, at: Path) -> Iterator[tuple[Path, str]]:
    """Find the labels that a tree's templates ask for, each with its place."""
    if isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from labels_in(inner, (*at, key))
    elif isinstance(tree, list | tuple):
        for i, inner in enumerate(tree):
            yield from labels_in(inner, (*at, i))
    elif isinstance(tree, Template):
        asked = {each.name for each in references(tree) if each.kind is RefKind.LABELS}
        yield from ((at, each) for each in sorted(asked))


Lint = Callable[[Subject], Iterator[Remark]]

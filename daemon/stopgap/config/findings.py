"""Findings: everything that is wrong or odd in the files, collected so that a person hears of all of it at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from stopgap.config.allow import WRITE, Allow
from stopgap.config.codes import Odd, Wrong
from stopgap.config.node import Mark, Node, Path
from stopgap.errors import Problem

MOST = 200  # problems that are shown
ELSEWHERE = frozenset({"unset-contact", "world-writable"})  # codes of what another machine may warn of
SEE = "see the codes in rules/README.md"


class Findings:
    """Collects problems; each is said once, in the order of the files and lines."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self.allows: list[Allow] = []

    def error(self, mark: Mark, text: str, hint: str = "", *, code: Wrong) -> None:
        """Add something that must be changed before these rules load."""
        self._found[Problem(mark.file, mark.line, mark.column, mark.key, code, text, hint)] = None

    def warning(self, mark: Mark, text: str, hint: str = "", *, code: Odd) -> None:
        """Add something that loads, and that a person should think about."""
        problem = Problem(mark.file, mark.line, mark.column, mark.key, code, text, hint, warning=True)
        self._found[problem] = None

    def take(self, others: "Findings") -> None:
        """Take all that others found."""
        self._found |= others._found  # noqa: SLF001 - its own kind
        self.allows += others.allows

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Everything that must be changed."""
        return self._sorted(warning=False)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Everything that should be thought about."""
        return self._sorted(warning=True)

    def settle(self, *, whole: bool) -> None:
        """Take out the warnings that comments allow, and warn of such comments as should not stand there.

        Where not the `whole` directory is there, one that silences nothing may still do so with the rest.
        """
        odd: dict[tuple[str, str], list[Problem]] = {}
        for problem in self._found:
            odd.setdefault((problem.path, problem.code), []).append(problem)
        for allow in self.allows:
            here = odd.get((allow.mark.file, allow.code), [])
            silenced = [problem for problem in here if problem in self._found and allow.covers(problem)]
            for problem in silenced:
                del self._found[problem]
            if silenced and not allow.reason:
                self.warning(
                    allow.mark, f"it does not say why `{allow.code}` is well here", WRITE, code=Odd.BARE_ALLOW
                )
            elif not silenced:
                self._unused(allow, whole=whole)

    def _unused(self, allow: Allow, *, whole: bool) -> None:
        text, hint = (
            f"there is no warning `{allow.code[:60]}` here",
            "remove it, or write it where the warning points",
        )
        if allow.verb != "allow":
            text, hint = f"`{allow.verb[:60]}` is nothing that a comment can say", WRITE
        elif not allow.code:
            text, hint = "it does not say what is allowed", WRITE
        elif allow.code in set(Wrong):
            text, hint = f"`{allow.code}` is an error: it cannot be allowed", "remove it"
        elif allow.code not in set(Odd):
            text, hint = f"no warning is called `{allow.code[:60]}`", did_you_mean(allow.code, Odd, SEE)
        elif not whole or allow.code in ELSEWHERE:
            return
        self.warning(allow.mark, text, hint, code=Odd.UNUSED_ALLOW)

    def _sorted(self, *, warning: bool) -> tuple[Problem, ...]:
        of_this_kind = [problem for problem in self._found if problem.warning is warning]
        return tuple(sorted(of_this_kind, key=lambda p: (p.path, p.line, p.column)))[:MOST]


@dataclass(frozen=True, slots=True)
class At:
    """Tells findings of the places of one node."""

    node: Node
    findings: Findings

    def error(
        self,
        path: Path,
        text: str,
        hint: str = "",
        *,
        code: Wrong,
        at_key: bool = False,
        offset: int | None = None,
    ) -> None:
        """Add something that must be changed: a value, its key, or what stands `offset` characters into its text."""
        self.findings.error(self._place(path, at_key=at_key, offset=offset), text, hint, code=code)

    def warning(self, path: Path, text: str, hint: str = "", *, code: Odd) -> None:
        """Add something that should be thought about."""
        self.findings.warning(self._place(path), text, hint, code=code)

    def _place(self, path: Path, *, at_key: bool = False, offset: int | None = None) -> Mark:
        leaf = self.node.within(path) if offset is not None else None
        return leaf.place(offset) if leaf is not None else self.node.find(path, at_key=at_key)


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the cure for a word that is not known: the nearest one, or the list while it is short."""
    words = sorted(known)
    near = get_close_matches(word, words, 1, 0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    return otherwise or (f"write one of {', '.join(words)}" if words else "")

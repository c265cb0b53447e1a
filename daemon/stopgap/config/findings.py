"""Findings: everything that is wrong or odd in the files, collected so that a person hears of all of it at once."""

from collections.abc import Iterable
from difflib import get_close_matches

from stopgap.config.codes import Odd, Wrong
from stopgap.config.node import Mark
from stopgap.errors import Problem

MOST = 200  # problems that are shown


class Findings:
    """Collects problems; each is said once, in the order of the files and lines."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def error(self, mark: Mark, text: str, hint: str = "", *, code: Wrong) -> None:
        """Add something that must be changed before these rules load."""
        self._found[Problem(mark.file, mark.line, mark.column, mark.key, code, text, hint)] = None

    def warning(self, mark: Mark, text: str, hint: str = "", *, code: Odd) -> None:
        """Add something that loads, and that a person should think about."""
        problem = Problem(mark.file, mark.line, mark.column, mark.key, code, text, hint, warning=True)
        self._found[problem] = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Everything that must be changed."""
        return self._sorted(warning=False)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Everything that should be thought about."""
        return self._sorted(warning=True)

    def _sorted(self, *, warning: bool) -> tuple[Problem, ...]:
        of_this_kind = [problem for problem in self._found if problem.warning is warning]
        return tuple(sorted(of_this_kind, key=lambda p: (p.path, p.line, p.column)))[:MOST]


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the cure for a word that is not known: the nearest one, or the list while it is short."""
    words = sorted(known)
    near = get_close_matches(word, words, 1, 0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    return otherwise or (f"write one of {', '.join(words)}" if words else "")

"""Repeated rung: two rungs of a ladder with one name, of which a flap could start at the wrong one."""

from collections.abc import Iterator

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject


def repeated_rung(subject: Subject) -> Iterator[Remark]:
    """Find the rungs that are called as one above them."""
    seen: set[str] = set()
    for at, rung in subject.rungs():
        if rung.name in seen:
            text = f"a rung is called `{rung.name}` already: after a flap the first of them is tried"
            yield Remark((*at, "name"), Odd.REPEATED_RUNG, text, "rename one")
        seen.add(rung.name)

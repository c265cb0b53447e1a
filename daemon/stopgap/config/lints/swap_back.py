"""Swap back: a rung that puts a good state in the place of a bad one, and would put the bad one back when all is well again.

What is held is taken back after recovery. A restored database would be exchanged for the damaged one, with all that was written
since; files that were moved away to make room would fill the disk anew.
"""

from collections.abc import Iterator, Mapping

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.rule import StepSpec


def swap_back(subject: Subject) -> Iterator[Remark]:
    """Find the first such step of each rung that is taken back."""
    told = set()
    for at, rung in subject.held():
        what = _brings_back(rung.do[int(at[-1])])
        if what and at[1] not in told:
            told.add(at[1])
            text = f"when all is well again, this is taken back: {what}"
            yield Remark(at, Odd.SWAP_BACK, text, "write on_resolve: keep in its rung")


def _brings_back(step: StepSpec) -> str:
    """Say what would be back, nothing where nobody minds."""
    if step.action == "restore":
        return "the state that was bad comes back, and what was written since is gone"
    does = step.params.get("do") if isinstance(step.params, Mapping) else None
    if step.action == "files" and isinstance(does, Mapping) and "move" in does:
        return "the files that were in the way are there again"
    return ""

"""Short lease: one that ends before anything can be taken back."""

from collections.abc import Iterator

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.duration import print_duration


def short_lease(subject: Subject) -> Iterator[Remark]:
    """Find a `max_hold` that is not longer than `hold`, or than a person has to approve what it bounds."""
    limits = subject.rule.limits
    if not subject.holds:
        return
    longest = print_duration(limits.max_hold)
    if limits.hold >= limits.max_hold:
        text = f"hold ({print_duration(limits.hold)}) is not shorter than max_hold ({longest})"
        place = subject.said(("hold",), ("max_hold",), ("hold",))
        yield Remark(place, Odd.SHORT_LEASE, text, "the lease ends before anything can be taken back")
    for at, rung in subject.rungs():
        if rung.approval is not None and rung.approval > limits.max_hold:
            term = print_duration(rung.approval)
            text = f"a person has longer to approve it ({term}) than it may last (max_hold {longest})"
            yield Remark((*at, "approval"), Odd.SHORT_LEASE, text, "write a shorter time, such as 15m")

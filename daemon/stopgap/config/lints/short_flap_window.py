"""Short flap window: one in which an alert cannot fire again, so that no flap is ever seen (from the pack's `alerts.yaml`)."""

from collections.abc import Iterator

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.duration import print_duration


def short_flap_window(subject: Subject) -> Iterator[Remark]:
    """Find a `flap_window` not longer than the shortest `for`: what is taken back too early would be taken back again and again."""
    quickest = min(subject.alerts, key=lambda alert: alert.for_, default=None)
    window = subject.rule.limits.flap_window
    if quickest is not None and window and window <= quickest.for_ and subject.holds:
        text = (
            f"flap_window ({print_duration(window)}) is not longer than `for` of `{quickest.name[:60]}`"
            f" ({print_duration(quickest.for_)}): it cannot fire again in time to be seen as a flap"
        )
        hint = f"write flap_window: {print_duration(quickest.for_ * 2)} or so"
        place = subject.said(("flap_window",), subject.match)
        yield Remark(place, Odd.SHORT_FLAP_WINDOW, text, hint)

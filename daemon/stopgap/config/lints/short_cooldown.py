"""Short cooldown: a pause that is over while the alert still tells of what was before it (from the pack's `alerts.yaml`)."""

from collections.abc import Iterator
from datetime import timedelta

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.duration import print_duration


def short_cooldown(subject: Subject) -> Iterator[Remark]:
    """Find a `cooldown` shorter than the lookback of an alert: the rule would act again on what it has acted upon."""
    rule = subject.rule
    slowest = max(subject.alerts, key=lambda alert: alert.lookback, default=None)
    if slowest is None or not rule.ladder:
        return
    cooldown, back = rule.limits.cooldown, slowest.lookback
    if timedelta() < cooldown < back:
        text = (
            f"cooldown ({print_duration(cooldown)}) is shorter than the {print_duration(back)} for which"
            f" `{slowest.name[:60]}` tells of what is over (its ranges, for and keep_firing_for)"
        )
        hint = f"write cooldown: {print_duration(back)} or longer under guard"
        place = subject.said(("guard", "cooldown"), subject.match)
        yield Remark(place, Odd.SHORT_COOLDOWN, text, hint)

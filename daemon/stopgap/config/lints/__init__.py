"""Lints: what loads and is odd all the same, seen in one rule by itself. One file, one concept; each is a pure judgement."""

from collections.abc import Iterator

from stopgap.config.codes import Wrong
from stopgap.config.complaint import Teller
from stopgap.config.lints.contradictory_probes import contradictory_probes
from stopgap.config.lints.foreign_labels import foreign_labels
from stopgap.config.lints.gentlest_first import gentlest_first
from stopgap.config.lints.idle_escalation import idle_escalation
from stopgap.config.lints.masked_recovery import masked_recovery
from stopgap.config.lints.misspelt_label import misspelt_label
from stopgap.config.lints.never_matches import never_matches
from stopgap.config.lints.repeated_rung import repeated_rung
from stopgap.config.lints.short_cooldown import short_cooldown
from stopgap.config.lints.short_flap_window import short_flap_window
from stopgap.config.lints.short_hold import short_hold
from stopgap.config.lints.short_lease import short_lease
from stopgap.config.lints.small_budget import small_budget
from stopgap.config.lints.stale_query import stale_query
from stopgap.config.lints.subject import Lint, Remark, Subject
from stopgap.config.lints.swap_back import swap_back
from stopgap.config.lints.unreachable_rung import unreachable_rung
from stopgap.config.lints.unverified import unverified

LINTS: tuple[Lint, ...] = (
    never_matches,
    repeated_rung,
    unreachable_rung,
    unverified,
    gentlest_first,
    small_budget,
    contradictory_probes,
    stale_query,
    misspelt_label,
    foreign_labels,
    masked_recovery,
    swap_back,
    short_hold,
    short_lease,
    short_cooldown,
    short_flap_window,
    idle_escalation,
)


def remarks(subject: Subject) -> Iterator[Remark]:
    """Return what all lints say of a rule."""
    for lint in LINTS:
        yield from lint(subject)


def judge(subject: Subject, tell: Teller) -> None:
    """Tell what all lints say of a rule."""
    for each in remarks(subject):
        if isinstance(each.code, Wrong):
            tell.error(each.path, each.text, each.hint, code=each.code)
        else:
            tell.warning(each.path, each.text, each.hint, code=each.code)

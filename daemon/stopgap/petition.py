"""Petition: the request with which an incident asks to start a rung, and what its approval is bound to. Pure."""

import hashlib
from collections.abc import Iterable
from datetime import datetime

import orjson

from stopgap.action import Json, bare
from stopgap.guard import Extent, Reason, Refusal, Request
from stopgap.incident import TARGET_LOCK, Answer, Incident
from stopgap.moves import Circumstances
from stopgap.plan import Plan
from stopgap.rule import BlastRadius, Mode, Rule
from stopgap.rulebook import Rulebook


def petition(
    state: Incident, rule: Rule, planned: Plan, mode: Mode, rulebook: Rulebook, at: Circumstances
) -> Request:
    """Return the request to start a rung; how large its population is has yet to be measured."""
    return Request(
        incident=state.id,
        rule=rule.id,
        target=state.target,
        take=(TARGET_LOCK + state.target, *planned.resources),
        starts=True,
        first=not state.rungs,
        follows=state.follows,
        acknowledged=bool(state.acknowledged_by),
        shadow=mode is Mode.SHADOW,
        touches=planned.touches,
        limits=rule.limits,
        storm=at.storm,
        extent=_known(rule.limits.blast_radius),
        population=population(rule, (*rulebook.rules.values(), *at.running)),
        yield_to=rule.yield_to,
        skew=at.skew,
    )


def _known(blast: BlastRadius | None) -> Extent | None:
    return Extent(blast.total) if blast is not None and isinstance(blast.total, int) else None


def population(rule: Rule, rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return which of the rules share the blast radius of a rule: those with the same query, or in its pack the same number.

    A rule that was removed or edited belongs to them as long as it holds something: a reload must not make room.
    """
    blast = rule.limits.blast_radius
    if blast is None:
        return ()
    shared = {rule.id}
    for other in rules:
        same = other.limits.blast_radius is not None and other.limits.blast_radius.total == blast.total
        if same and (isinstance(blast.total, str) or other.pack == rule.pack):
            shared.add(other.id)
    return tuple(sorted(shared))


def asks_for_approval(rule: Rule, rung: int, mode: Mode) -> bool:
    """Tell whether a person must say yes before the rung starts."""
    return mode is Mode.APPROVE or rule.ladder[rung].approval is not None


def awaited(rule: Rule, rung: int, now: datetime) -> Refusal:
    """Return who asks that a person says yes, the rung or the mode, and until when an answer counts."""
    spec = rule.ladder[rung].approval
    until = now + (spec or rule.limits.approval)
    if spec is not None:
        return Refusal(Reason.APPROVAL_PENDING, "the rung asks for an approval", until)
    return Refusal(Reason.MODE_APPROVE, "the mode asks for an approval", until)


def approved(state: Incident, at: Circumstances) -> bool:
    """Tell whether a person said yes to the rung at which the ladder stands, not too long ago."""
    said = state.approval
    return (
        said is not None
        and said.rung == state.rung
        and said.answer is Answer.APPROVED
        and at.now < said.until
    )


def digest_of(planned: Plan, observed: list[Json]) -> str:
    """Return what an approval is bound to: what will be done, and the old values of what will be changed.

    Secrets count with their characters: the digest is kept in the undo, and shown nowhere. What only marks a start of a process
    is left out: a process that keeps dying would make every approval stale.
    """
    steps = [[step.spec.action, repr(bare(step.params))] for step in planned.steps]
    return hashlib.sha256(orjson.dumps([steps, observed], option=orjson.OPT_SORT_KEYS)).hexdigest()

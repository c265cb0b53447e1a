"""Observed: what a rule's own question (`observe` of `exec` and `http`) answered before, after and now, and what that proves."""

from stopgap.action import Json, Restored, Reverted, Settled


def settled(before: Json, now: Json) -> Settled:
    """Judge an act: the same answer is not done, another one is done, no question is unclear."""
    if before is None or now is None:
        return Settled.UNCLEAR
    return Settled.NOT_DONE if now == before else Settled.DONE


def settled_revert(before: Json, now: Json) -> Settled:
    """Judge a revert: the old answer is done, another one is not, no question is unclear."""
    if before is None or now is None:
        return Settled.UNCLEAR
    return Settled.DONE if now == before else Settled.NOT_DONE


def drift(before: Json, receipt: Json, now: Json) -> Reverted | None:
    """Say why there is nothing to revert, or that somebody else changed it; None: go on."""
    if before is None or now is None:
        return None
    if now == before:
        return Reverted(Restored.NOTHING, "the old state was in place")
    after = (receipt or {}).get("after")
    if after is not None and now != after:
        return Reverted(Restored.DRIFTED, "changed by somebody else and left alone")
    return None

"""Rule: which alerts it takes, what it may do about them, and how it knows that it may take that back.

A Rule is a value built by `config` from a checked document; nothing in it can be wrong any more except what only a live alert can
show (a missing or a hostile label).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from stopgap.matcher import Matcher
from stopgap.template import Template


class Mode(StrEnum):
    """How far a rule may go; the daemon's `--mode` is an upper bound."""

    SHADOW = "shadow"
    APPROVE = "approve"
    AUTO = "auto"


MODES = (Mode.SHADOW, Mode.APPROVE, Mode.AUTO)


def bounded(mode: Mode, bound: Mode) -> Mode:
    """Return the more careful of two modes."""
    return min(mode, bound, key=MODES.index)


class OnFailure(StrEnum):
    """What happens to a rung that did not help; also what happens to a held rung after recovery."""

    REVERT = "revert"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One action with parameters that may still hold templates (`params` is a tree with Template leaves)."""

    action: str
    params: Any
    timeout: timedelta
    retries: int = 0
    optional: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One probe with parameters that may still hold templates, and its timing."""

    probe: str
    params: Any
    after: timedelta = timedelta()
    within: timedelta = timedelta(seconds=60)
    for_: timedelta = timedelta()
    every: timedelta | None = None  # None: 5 s while verifying, a minute while holding or recovering
    timeout: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class RungSpec:
    """One way out: steps in order, what makes them effective, and the probes that prove it."""

    name: str
    do: tuple[StepSpec, ...]
    activate: tuple[StepSpec, ...] = ()
    verify: tuple[ProbeSpec, ...] = ()
    on_failure: OnFailure = OnFailure.REVERT
    on_resolve: OnFailure = OnFailure.REVERT


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to tell when an event of this name is journaled."""

    when: str
    notify: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """The durations and counts of DESIGN 4 "Defaults"; this class is the one place where they stand in code."""

    hold: timedelta = timedelta(minutes=5)
    max_hold: timedelta = timedelta(hours=4)
    cooldown: timedelta = timedelta(minutes=10)
    flap_window: timedelta = timedelta(minutes=15)
    unknown_for: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one pack. `document` is the checked source that builds an equal rule again; `version` is its digest."""

    pack: str
    name: str
    version: str
    matchers: tuple[Matcher, ...]
    target: "Template | str | None" = None
    per: tuple[str, ...] = ()
    summary: str = ""
    runbook_url: str = ""
    mode: Mode = Mode.AUTO
    recovered: tuple[ProbeSpec, ...] = ()
    ladder: tuple[RungSpec, ...] = ()
    limits: Limits = field(default_factory=Limits)
    escalate: tuple[Escalation, ...] = ()
    severities: Mapping[str, str] = field(default_factory=dict)
    vars: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Return `pack/name`."""
        return f"{self.pack}/{self.name}"

    def severity(self, labels: Mapping[str, str]) -> str:
        """Map the alert's `severity` label to P0..P3."""
        return {**SEVERITIES, **self.severities}.get(labels.get("severity", ""), "P2")


SEVERITIES: Mapping[str, str] = {"critical": "P1", "error": "P2", "warning": "P2", "info": "P3", "none": "P3"}
TARGET_LABELS = ("service", "job", "instance")

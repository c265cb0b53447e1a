"""Explained: an explanation as a person reads it at three in the morning: 80 columns, the answer in one sentence."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import typer

from stopgap.cli.screen import clean, columns, cut, wrapped

MOST_LABELS = 12
HEAD = 11  # columns of a line's first word


def show(told: Mapping[str, Any], *, note: str, left_out: int, every: bool) -> None:
    """Print an explanation."""
    if note:
        typer.echo(f"{note}\n")
    for sight in told["alerts"]:
        _sight(sight, told["rules"])
    if left_out:
        typer.echo(f"… and {left_out} more alerts that are not explained")
    for i, course in enumerate(told["courses"]):
        if i or told["alerts"]:
            typer.echo(("─" if _fancy() else "-") * columns())
        _Course(course, told).show()
    more = told["course_count"] - len(told["courses"])
    if more > 0:
        typer.echo(f"\n… and {more} more rules and targets")
    _all_misses(told["alerts"], every=every)


def _all_misses(sights: Sequence[Mapping[str, Any]], *, every: bool) -> None:
    """Say at the end which rules do not take it: where one does, that is no answer to read first."""
    alone = len(sights) == 1
    for sight in sights:
        if every or alone or not sight["taken_by"]:
            _misses(sight, named=not alone)


# --- which rules take it ---


def _sight(sight: Mapping[str, Any], rules: int) -> None:
    wrapped(_head("alert"), _labels(sight))
    if not sight["firing"]:
        wrapped(_head(""), "it is resolved and opens nothing: explained as if it fired")
    taken, served = sight["taken_by"], sight["served_by"]
    wrapped(_head("taken by"), f"{', '.join(taken) or 'no rule'} (of {rules})")
    if served:
        wrapped(
            _head("done with"),
            f"{', '.join(served)}: a person closed the incident; opens nothing until it is over",
        )


def _labels(sight: Mapping[str, Any]) -> str:
    labels = list(sight["labels"].items())
    shown = ", ".join(f"{name}={value}" for name, value in labels[:MOST_LABELS])
    return f"{shown}, … {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else shown


def _misses(sight: Mapping[str, Any], *, named: bool) -> None:
    if not sight["missed_count"]:
        return
    typer.echo("")
    wrapped("not taken by", f"(the first matcher that failed){': ' + _labels(sight) if named else ''}")
    for miss in sight["missed"]:
        typer.echo(f"  {cut(clean(miss['rule']), columns() - 2)}")
        label = miss["label"]
        has = f"no label {label}" if miss["value"] is None else f'{label}="{miss["value"]}"'
        wrapped("    ", f"{miss['matcher']}: the alert has {has}")
    left = sight["missed_count"] - len(sight["missed"])
    if left > 0:
        typer.echo(f"  … and {left} more rules (--all shows them)")


# --- what a rule does about it ---


class _Course:
    """Prints one rule on one target."""

    def __init__(self, course: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        self._course = course
        self._standing: Mapping[str, Any] | None = course["standing"]
        self._today = str(told["at"])[:10]
        self._asked = told["asked"]

    def show(self) -> None:
        """Print it all."""
        self._heading()
        if self._standing is not None:
            self._stands(self._standing)
        for rung in self._course["ladder"]:
            self._rung(rung, last=rung is self._course["ladder"][-1])
        self._guards()
        self._next()
        held = self._standing is not None and self._standing["held"]
        if self._course["ladder"] or held:
            self._lease()
            self._audience()

    def _heading(self) -> None:
        course = self._course
        wrapped(clean(course["rule"]), f"on {course['target'] or 'no target'}")
        for head in ("summary", "runbook_url", "severity"):
            if course[head]:
                _line(head.partition("_")[0], course[head])
        _line("mode", f"{course['mode']}: {course['because']}")
        if course["follows"]:
            _line(
                "follows", f"{course['follows']}, which was taken back a moment ago (flap {course['flaps']})"
            )

    def _stands(self, standing: Mapping[str, Any]) -> None:
        since = f" since {self._time(standing['since'])}" if standing["since"] else ""
        words = f"{standing['phase']}{since}"
        if standing["outcome"]:
            words += f", {standing['outcome']}"
        if standing["handed_over"]:
            words += ", handed over"
        _line("incident", f"{self._course['incident']} is {words}")
        if standing["reason"]:
            at = f"{self._time(standing['reason_since'])} " if standing["reason_since"] else ""
            text = f": {standing['text']}" if standing["text"] else ""
            _line("reason", f"{at}{standing['reason']}{text}")
        if standing["acknowledged_by"]:
            _line("seen by", standing["acknowledged_by"])
        for held in standing["held"]:
            _line("holds", f"{held['name']}: {', '.join(held['resources'])}")
        if standing["lease_until"]:
            _line("lease", f"until {self._time(standing['lease_until'])}")
        earlier = [one for one in standing["said"] if one["at"] != standing["reason_since"]]
        for i, said in enumerate(earlier):
            what = f"{self._time(said['at'])} {said['event']}{' ' + said['reason'] if said['reason'] else ''}"
            _line("before" if i == 0 else "", f"{what}: {said['text']}" if said["text"] else what)

    # --- the ladder ---

    def _rung(self, rung: Mapping[str, Any], *, last: bool) -> None:
        typer.echo("")
        once, on = (", once" if rung["once"] else ""), (", then on to the next" if rung["go_on"] else "")
        typer.echo(f"  rung {rung['rung'] + 1}: {clean(rung['name'])}{once}{on}")
        before = ""
        for head, text in _about(rung, last=last):
            _line("" if head == before else head, text, 4)
            before = head

    # --- the guards, and the answer ---

    def _guards(self) -> None:
        guards = self._course["guards"]
        if not guards:
            return
        typer.echo(f"\n  guards of rung {self._course['guarded'] + 1}")
        width = max(len(one["reason"]) for one in guards)
        for one in guards:
            wrapped(f"    {_mark(allows=one['allows'])} {one['reason']:<{width}} ", one["text"])

    def _next(self) -> None:
        coming = self._course["next"]
        verb = "would" if self._standing is None else "will"
        typer.echo("")
        wrapped("→" if _fancy() else "=>", f"It {verb} {coming['text']}.")
        known = self._standing["text"] if self._standing is not None else ""
        if coming["why"] and coming["why"] != known and coming["do"] != "shadow":
            wrapped("  ", coming["why"])
        typer.echo("")

    # --- the way back, and who hears ---

    def _lease(self) -> None:
        lease, ladder = self._course["lease"], self._course["ladder"]
        planned = [rung for rung in ladder if rung["steps"]]
        if planned and not any(rung["holds"] for rung in planned):
            _line("taken back", "nothing: no rung leaves anything behind")
            return
        if lease["flaw"]:
            _line("taken back", f"by a person: {lease['flaw']}")
        elif not lease["recovered"]:
            _line(
                "taken back", "by a person: the rule has no `recovered` probe that could prove the cause gone"
            )
        else:
            hold = _span(lease["hold_seconds"])
            _line("taken back", f"once its alerts are over and the cause was gone for {hold}:")
            for one in lease["recovered"]:
                _line("", one["question"])
        _line("at most", f"{_span(lease['max_hold_seconds'])}; then somebody hears of it every hour")

    def _audience(self) -> None:
        by_contacts: dict[tuple[str, ...], list[str]] = {}
        for one in self._course["audience"]:
            by_contacts.setdefault(tuple(one["contacts"]), []).append(one["when"])
        for i, (contacts, events) in enumerate(by_contacts.items()):
            _line("tells" if i == 0 else "", f"{', '.join(contacts)}: {', '.join(events)}")
        for i, (_, why) in enumerate(self._course["unreachable"].items()):
            _line("unreached" if i == 0 else "", why)

    def _time(self, instant: str) -> str:
        day, clock = instant[:10], f"{instant[11:19]}Z"
        return clock if day == self._today else f"{day} {clock}"


def _about(rung: Mapping[str, Any], *, last: bool) -> Iterator[tuple[str, str]]:
    """Go through what there is to say of a rung, each with the word that heads it."""
    yield from (("only if", f"{one['question']}{_answered(one)}") for one in rung["only_if"])
    if rung["approval_seconds"] is not None:
        yield "approval", f"a person must say yes within {_span(rung['approval_seconds'])}"
    yield from (("does", step) for step in rung["steps"])
    yield from (("verifies", f"{one['question']}{_times(one)}") for one in rung["verify"])
    if rung["steps"]:
        if not rung["verify"]:
            yield "verifies", "nothing: nobody knows whether it helps"
        yield "if not", _otherwise(rung, last=last)
    if rung["on_resolve"] == "keep":
        yield "afterwards", "it stays, also when the cause is gone"
    if rung["skipped"] is not None:
        yield f"{_mark(allows=False)} skipped", f"{rung['skipped']['reason']}: {rung['skipped']['text']}"


def _otherwise(rung: Mapping[str, Any], *, last: bool) -> str:
    after = "a person gets it" if last else "the next rung"
    if rung["go_on"]:
        return f"it stays all the same, then {after}"
    if rung["on_failure"] == "keep":
        return f"it stays, then {after}"
    return f"{'taken back' if rung['holds'] else 'nothing to take back'}, then {after}"


def _answered(one: Mapping[str, Any]) -> str:
    return f": {one['verdict']}, {one['why']}" if one["verdict"] else ": not asked"


def _times(one: Mapping[str, Any]) -> str:
    after = f"first asked after {_span(one['after_seconds'])}, " if one["after_seconds"] else ""
    stays = f"for {_span(one['for_seconds'])} " if one["for_seconds"] else ""
    return f" ({after}{stays}within {_span(one['within_seconds'])})"


def _span(seconds: float) -> str:
    from stopgap.duration import print_duration

    return print_duration(timedelta(seconds=seconds))


def _head(word: str) -> str:
    return f"{word:<{HEAD}}"


def _line(head: str, text: object, indent: int = 2) -> None:
    wrapped(f"{' ' * indent}{head:<{HEAD}}", str(text))


def _mark(*, allows: bool) -> str:
    if _fancy():
        return "✓" if allows else "✗"
    return "ok" if allows else "NO"


def _fancy() -> bool:
    """Tell whether signs beyond ASCII do no harm."""
    encoding = (sys.stdout.encoding or "").lower()
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and encoding.startswith("utf")

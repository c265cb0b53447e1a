"""Cues: what a test says happens, as cues of a play. At one instant the world comes first, then alerts, then people."""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from stopgap.alert import Alert, fingerprint
from stopgap.config.values import values_of
from stopgap.incident import Incident
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NoSuchIncident, NotPossible
from stopgap.probe import Verdict
from stopgap.rule import Rule
from stopgap.rulebook import Rulebook
from stopgap.simulate.play import Cue, Play
from stopgap.simulate.scene import Answer, Fate, On
from stopgap.suite.form import AlertKeys, PersonKeys, WorldKeys
from stopgap.suite.script import Script, called
from stopgap.suite.seen import Seen
from stopgap.suite.stray import stray

EARLY = timedelta(milliseconds=1)  # so long before all else of its instant a fact is there
ALERTNAME = "alertname"
Do = Callable[[Play], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Stageplay:
    """What cues need beside the play: the rules, the reading of other ones, what was seen, and what went wrong."""

    rulebook: Rulebook
    reload: Callable[[Mapping[str, str]], Rulebook]
    seen: Seen
    faults: list[tuple[tuple[str | int, ...], str]] = field(default_factory=list)  # where, and what


def cues_of(script: Script, stageplay: Stageplay, start: datetime, end: datetime) -> list[Cue]:
    """Return all that happens until the end, in order."""
    keys = script.keys
    found: list[tuple[datetime, int, Do]] = []
    for fact in keys.world:
        at = start + fact.at
        early = EARLY if fact.about not in ("crash", "reload") else timedelta()
        found.append((max(start, at - early), 0, _fact(fact, stageplay)))
    found += [(at, 1, do) for at, do in _told(script, stageplay, start, end)]
    for i, person in enumerate(keys.people):
        found.append((start + person.at, 2, _order(person, i, stageplay)))
    return [Cue(at, do) for at, _, do in sorted(found, key=lambda one: one[:2])]


# --- alerts ---


def _told(
    script: Script, stageplay: Stageplay, start: datetime, end: datetime
) -> Iterator[tuple[datetime, Do]]:
    """Return what Alertmanager tells: what fires, again and again, and what is over."""
    rulebook, seen = stageplay.rulebook, stageplay.seen
    known: dict[str, AlertKeys] = {}
    alerts = sorted(script.keys.alerts, key=lambda one: one.at)
    for i, keys in enumerate(alerts):
        at, name = start + keys.at, called(keys)
        before = known.get(name)
        if keys.resolve is not None:
            yield at, _ends(_alerts(before, script, rulebook, start) if before else ())
            continue
        if before is None or keys.labels or keys.each:
            known[name] = keys
        elif keys.annotations:  # the same alert, told in other words
            known[name] = before.model_copy(update={"annotations": keys.annotations})
        told = _alerts(known[name], script, rulebook, at)
        yield at, _fires(told, seen)
        over = next((one.at for one in alerts[i + 1 :] if one.resolve == name), end - start)
        again = keys.at + script.keys.repeat
        while again < over:
            yield start + again, _fires(told, seen)
            again += script.keys.repeat


def _fires(alerts: tuple[Alert, ...], seen: Seen) -> Do:
    async def tell(play: Play) -> None:
        await play.receive(alerts)
        said = (stray(play.engine.rulebook, alert.labels) for alert in alerts)
        seen.strays |= dict.fromkeys(text for text in said if text)

    return tell


def _ends(alerts: tuple[Alert, ...]) -> Do:
    async def tell(play: Play) -> None:
        await play.resolve(*alerts)

    return tell


def _alerts(keys: AlertKeys, script: Script, rulebook: Rulebook, at: datetime) -> tuple[Alert, ...]:
    """Return the alerts of one entry, with the labels that its rule's matchers ask for and those of the file."""
    given = {**script.labels, **keys.labels}
    given.setdefault(ALERTNAME, keys.fire or "")
    names, lists = tuple(keys.each), tuple(keys.each.values())
    made = []
    for values in product(*lists):
        own = {**given, **dict(zip(names, values, strict=True))}
        labels = {**_wanted(rulebook, own), **own}
        made.append(Alert(labels, keys.annotations, at, None, True, "", fingerprint(labels)))
    return tuple(made)


def _wanted(rulebook: Rulebook, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that all rules want that could take such an alert, where they leave no choice."""
    found: dict[str, set[str]] = {}
    for rule in rulebook.rules.values():
        for name, value in _only(rule, labels).items():
            found.setdefault(name, set()).add(value)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def _only(rule: Rule, labels: Mapping[str, str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for matcher in rule.matchers:
        if matcher.name in labels:
            if not matcher.matches(labels):
                return {}
            continue
        values = values_of(matcher)
        if values is not None and len(values) == 1 and values != {""}:
            wanted[matcher.name] = next(iter(values))
    return wanted


# --- the world ---


def _fact(keys: WorldKeys, stageplay: Stageplay) -> Do:
    async def happen(play: Play) -> None:
        scene = play.scene
        match keys.about:
            case "probe":
                scene.probes.say(keys.probe or "", Answer(keys.is_ or Verdict.UNKNOWN, keys.why or ""))
            case "query":
                scene.queries.say(keys.query or "", keys.value or ())
            case "values":
                scene.values |= keys.values or {}
            case "action":
                scene.acts[keys.on or On.RUN].say(keys.action or "", fate_of(keys), keys.times or 0)
            case "crash":
                await play.crash()
            case _:
                stageplay.rulebook = stageplay.reload(keys.reload or {})
                stageplay.seen.rules |= stageplay.rulebook.rules
                await play.reload(stageplay.rulebook)

    return happen


def fate_of(keys: WorldKeys) -> Fate:
    """Return what becomes of an act."""
    return Fate(
        takes=keys.takes or timedelta(),
        fails=keys.fails or "",
        permanent=bool(keys.permanent),
        hidden=keys.unknown,
        crash=None if keys.crash is None or keys.crash == "now" else keys.crash,
    )


# --- people ---


def _order(keys: PersonKeys, number: int, stageplay: Stageplay) -> Do:
    async def say(play: Play) -> None:
        why = ""
        try:
            await _say(keys, play, stageplay.seen)
        except (NotPossible, NoSuchIncident) as refused:
            why = str(refused) or "there is no such incident"
        if keys.refused is None and why:
            stageplay.faults.append((("people", number), f"{keys.verb} was refused: {why}"))
        elif keys.refused is not None and keys.refused not in why:
            said = f"was refused: {why}" if why else "was possible"
            stageplay.faults.append((("people", number, "refused"), f"{keys.verb} {said}"))

    return say


async def _say(keys: PersonKeys, play: Play, seen: Seen) -> None:
    verb = keys.verb
    by = getattr(keys, verb)
    if verb in ("brake", "release"):
        await _brake(keys, play, by)
        return
    state = seen.chosen(keys.rule, keys.target, keys.incident)
    if state is None:
        raise NoSuchIncident("no incident fits")
    await _tell(keys, play, state, by)


async def _tell(keys: PersonKeys, play: Play, state: Incident, by: str) -> None:
    orders = play.orders
    match keys.verb:
        case "ack":
            await orders.acknowledge(state.id, by, keys.why)
        case "extend":
            await orders.extend(state.id, by, keys.for_ or timedelta(), keys.why)
        case "close":
            await orders.close(state.id, by, keys.why, keep=keys.keep)
        case verb:
            await getattr(orders, verb)(state.id, by, keys.why)


async def _brake(keys: PersonKeys, play: Play, by: str) -> None:
    now = play.clock.now()
    scope, name = BrakeScope.GLOBAL, ""
    if keys.rule is not None:
        rules = play.engine.rulebook.rules
        scope, name = (
            BrakeScope.RULE,
            next((one for one in rules if one.endswith(f"/{keys.rule}")), keys.rule),
        )
    elif keys.target is not None:
        scope, name = BrakeScope.TARGET, keys.target
    if keys.verb == "release":
        await play.engine.release(scope, name, by)
    else:
        until = now + keys.for_ if keys.for_ is not None else None
        await play.engine.brake(Brake(scope, name, by, keys.why, now, until))

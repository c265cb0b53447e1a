"""Whatever the timeline: `stopgap test` plays what the live engine does on its store, event by event, and tells whom it tells."""

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.property.live_twin import LiveTwin
from tests.property.patient import PatientLoop

from stopgap.alert import Alert, fingerprint
from stopgap.config.findings import Findings
from stopgap.incident import Event, EventKind as K
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.rule import Mode
from stopgap.simulate.play import START, Stage
from stopgap.stock import build_catalog
from stopgap.suite.packs import Packs
from stopgap.suite.running import run
from stopgap.suite.script import read_scripts
from stopgap.terms import Terms

PACK = """
name: shop
contacts: {default: {url_env: X}, oncall: {url_env: X}, lead: {url_env: X}}
"""
RULES = """
rules:
  - name: calm
    match: alertname="Slow"
    target: "{{ labels.service }}"
    recovered: [{http: "http://cause/"}]
    ladder:
      - name: cache
        do: [{flag: {at: "env:///etc/{{ labels.service }}.env", set: {CACHE: long}}}]
        activate: [{restart: "systemd://{{ labels.service }}"}]
        verify: [{http: "http://ready/", after: 3s, within: 20s}]
      - name: more
        do: [{scale: {at: "fly://{{ labels.service }}", count: 3, min: 1, max: 5}}]
        verify: [{http: "http://ready/", after: 3s, within: 20s}]
        on_failure: keep
    hold: 2m
    max_hold: 1h
    escalate:
      - {when: opened, notify: [oncall]}
      - {when: mitigated, notify: [oncall, lead]}
      - {after: 5m, notify: [lead]}
      - {every: 10m, even_if: mitigated, notify: [oncall]}
      - {when: closed, notify: [oncall, lead]}
  - name: kick
    match: alertname="Down"
    target: "unit {{ labels.service }}"   # of its own: who comes first at one instant is chance in real life
    do: [{restart: "systemd://{{ labels.service }}"}]
    guard: {cooldown: 4m}
  - name: ask
    match: alertname="Odd"
    target: "odd {{ labels.service }}"
    recovered: [{http: "http://cause/"}]
    ladder:
      - name: reload
        do: [{flag: {at: "env:///etc/odd-{{ labels.service }}.env", set: {CACHE: long}}}]
        activate: [{manual: {say: reload it}, timeout: 3m}]
        verify: [{http: "http://ready/", after: 3s, within: 20s}]
      - name: look
        do: [{manual: {say: look at it}, timeout: 4m}, {scale: {at: "fly://odd-{{ labels.service }}", count: 3, min: 1, max: 5}}]
        once: true
    hold: 1m
    max_hold: 10m
"""
CONTACTS = ("default", "oncall", "lead")
ALERTS = tuple(
    {"alertname": name, "service": service} for name in ("Slow", "Down", "Odd") for service in ("api", "web")
)
ORDERS = (
    "ack",
    "approve",
    "deny",
    "revert",
    "close",
    "note",
    "retry",
    "retry",
    "done",
    "done",
    "extend",
    "adopt",
)
WHAT = (
    st.tuples(st.sampled_from(["fire", "fire", "resolve"]), st.integers(0, len(ALERTS) - 1))
    | st.tuples(st.sampled_from(["ready", "cause"]), st.sampled_from(["healthy", "unhealthy", "unknown"]))
    | st.tuples(st.sampled_from(["flag", "restart", "scale"]), st.booleans())
    | st.tuples(st.just("person"), st.sampled_from(ORDERS))
    | st.tuples(st.sampled_from(["brake", "crash"]), st.booleans())
)
GAPS = st.sampled_from([1, 2, 7, 31, 64, 133, 400, 1000])
TIMELINES = st.lists(st.tuples(GAPS, WHAT), min_size=1, max_size=14)
TOLD = {K.NOTIFIED, K.NOTIFY_FAILED}
STAGE = Stage(build_catalog)
PACKS = Packs(STAGE.catalog, {})


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    place = tmp_path_factory.mktemp("twins")
    (place / "pack.yaml").write_text(PACK)
    (place / "rules.yaml").write_text(RULES)
    return place


def moments(timeline: Sequence[Any]) -> list[tuple[float, str, Any]]:
    """Give each happening an instant of its own, at which nothing else is due."""
    at, found = 0.0, []
    for number, (gap, (what, which)) in enumerate(timeline):
        at += gap
        found.append((round(at + 0.013 * (number + 1), 3), what, which))
    return found


# --- as a test ---


def duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def written(timeline: list[tuple[float, str, Any]], mode: Mode, end: float) -> dict[str, Any]:
    """Write a timeline as a test."""
    test: dict[str, Any] = {
        "name": "t",
        "mode": mode.value,
        "repeat": "24h",
        "alerts": [],
        "world": [],
        "people": [],
    }
    fired: set[int] = set()
    for at, what, which in timeline:
        when = {"at": duration(at)}
        if what == "fire":
            fired.add(which)
            test["alerts"].append(
                {**when, "fire": ALERTS[which]["alertname"], "name": f"a{which}", "labels": ALERTS[which]}
            )
        elif what == "resolve" and which in fired:
            test["alerts"].append({**when, "resolve": f"a{which}"})
        elif what in ("ready", "cause"):
            test["world"].append({**when, "probe": f"//{what}/", "is": which})
        elif what in ("flag", "restart", "scale"):
            fate = {"fails": "broken", "permanent": True} if which else {"works": True}
            test["world"].append({**when, "action": f"{what}:", **fate})
        elif what == "crash":
            test["world"].append({**when, "crash": "now"})
        elif what == "brake":
            test["people"].append({**when, "brake" if which else "release": "anna"})
        elif what == "person":
            more = {"close": {"keep": True}, "extend": {"for": "7m"}}.get(which, {})
            test["people"].append({**when, which: "anna", **more})
    test["expect"] = [{"at": duration(end), "values": {"nothing": "as it was"}}]
    return {"tests": [test]}


def as_test(
    pack: Path, timeline: list[tuple[float, str, Any]], mode: Mode, end: float
) -> Mapping[str, Sequence[Event]]:
    path = pack / "t.test.yaml"
    path.write_text(json.dumps(written(timeline, mode, end)))
    findings = Findings()
    scripts = read_scripts(path, findings)
    assert not findings.errors
    result = run(scripts[0], STAGE, PACKS.cast)
    return {name: events for name, events in result.seen.lines.items() if name != "control"}


# --- live ---


async def live(twin: LiveTwin, timeline: list[tuple[float, str, Any]], end: float, directory: Path) -> Any:
    await twin.open(directory)
    fired: set[int] = set()
    for at, what, which in timeline:
        world = what in ("ready", "cause", "flag", "restart", "scale")
        await twin.until(at - 0.001 if world else at)
        if what == "fire" or (what == "resolve" and which in fired):
            fired.add(which)
            labels = ALERTS[which]
            alert = Alert(labels, {}, twin.clock.now(), None, True, "", fingerprint(labels))
            await twin.receive(alert, firing=what == "fire")
        elif what in ("ready", "cause"):
            twin.outside.verdicts[f"//{what}/"] = Verdict(which)
        elif world:
            (twin.outside.broken.add if which else twin.outside.broken.discard)(what)
        elif what == "crash":
            await twin.crash()
        elif what == "brake":
            await braked(twin, on=which)
        elif what == "person":
            await twin.order({"ack": "acknowledge"}.get(which, which))
    await twin.until(end + 0.001)
    return await twin.close()


async def braked(twin: LiveTwin, *, on: bool) -> None:
    if on:
        await twin.engine.brake(Brake(BrakeScope.GLOBAL, "", "anna", "because", twin.clock.now()))
    else:
        await twin.engine.release(BrakeScope.GLOBAL, "", "anna")


def as_live(
    pack: Path, timeline: list[tuple[float, str, Any]], mode: Mode, end: float
) -> Mapping[str, Sequence[Event]]:
    twin = LiveTwin(PACKS.load(pack, {}, {}).rulebook, Terms(mode), START, CONTACTS)
    with (
        tempfile.TemporaryDirectory(dir=pack) as directory,
        asyncio.Runner(loop_factory=PatientLoop) as runner,
    ):
        return runner.run(live(twin, timeline, end, Path(directory)))


# --- compared ---

SAID = (
    "reason",
    "rung",
    "role",
    "step",
    "n",
    "action",
    "contact",
    "when",
    "clock",
    "outcome",
    "probe",
    "text",
    "cause",
    "rungs",
)


def plain(events: Sequence[Event], *, told: bool) -> list[Any]:
    """Return what a timeline says, without names; messages apart, for they come when they come."""
    found = [
        (
            round((event.at - START) / timedelta(milliseconds=10)),
            event.kind.value,
            re.sub(
                r"INC-[\w-]+",
                "INC",
                json.dumps({key: event.detail[key] for key in SAID if key in event.detail}),
            ),
        )
        for event in events
        if (event.kind in TOLD) is told
    ]
    return sorted(found) if told else found


def all_of(timelines: Mapping[str, Sequence[Event]], *, told: bool) -> list[Any]:
    """Return all timelines, in the order in which they opened."""
    order = sorted(timelines.values(), key=lambda events: (events[0].at, str(events[0].detail["rule"])))
    return [plain(events, told=told) for events in order]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(timeline=TIMELINES, mode=st.sampled_from([Mode.AUTO, Mode.AUTO, Mode.APPROVE, Mode.SHADOW]))
def test_a_test_plays_what_the_live_engine_does(pack, timeline, mode):
    happens = moments(timeline)
    end = round(happens[-1][0] + 2000)
    tested, lived = as_test(pack, happens, mode, end), as_live(pack, happens, mode, end)
    assert all_of(tested, told=False) == all_of(lived, told=False)
    assert all_of(tested, told=True) == all_of(lived, told=True)

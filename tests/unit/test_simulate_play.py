"""A play: virtual time, a month in no time, and nothing kept where nothing is to be kept."""

import time
from datetime import timedelta

import pytest
from tests.suites import STAGE, pack

from stopgap.alert import Alert, fingerprint
from stopgap.config import load
from stopgap.incident import EventKind as K
from stopgap.simulate.play import START, Cue, Play, Setting, follow, perform
from stopgap.simulate.scene import Crash, Fate, On

RULES = """
rules:
  - name: one
    match: alertname="Down"
    target: "{{ labels.host }}"
    do: [{flag: {at: "env:///etc/{{ labels.host }}.env", set: {A: b}}}]
    hold: 1m
    guard: {cooldown: 0s, budget: 100000/1h, budget_global: 100000/1h, storm: 100000/5m, circuit: 1000/6h}
"""


@pytest.fixture(scope="module")
def rulebook(tmp_path_factory):
    place = pack(tmp_path_factory.mktemp("play"), RULES, "name: shop\n")
    return load(place, STAGE.catalog, environ={}).rulebook


def alert(host="a"):
    labels = {"alertname": "Down", "host": host}
    return Alert(labels, {}, START, None, True, "", fingerprint(labels))


def cue(seconds, *alerts, firing=True):
    async def tell(play):
        await (play.receive(alerts) if firing else play.resolve(*alerts))

    return Cue(START + timedelta(seconds=seconds), tell)


def test_a_month_without_anything_takes_no_time(rulebook):
    async def month():
        play = await Play(STAGE, rulebook).start()
        await follow(play, [cue(5, alert())], end=START + timedelta(days=30))
        await play.stop()
        return play

    began = time.process_time()
    play = perform(month())
    assert time.process_time() - began < 20
    (state,) = play.states.values()
    assert state.phase == "mitigated"


def test_a_stream_of_cues_is_followed_as_it_comes(rulebook):
    async def stream():
        yield cue(5, alert())
        yield cue(60, alert(), firing=False)

    async def main():
        play = await Play(STAGE, rulebook, Setting(on_told=None)).start()
        at = []
        play.observe(lambda line, _: at.append((line.event.kind, line.event.at - START)))
        await follow(play, stream())
        await play.settle()
        await play.stop()
        return at

    at = dict(perform(main()))
    assert at[K.OPENED] == timedelta(seconds=5)
    assert at[K.ALERT_RESOLVED] == timedelta(seconds=60)


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_over_is_forgotten_unless_it_is_to_be_kept(rulebook, keep, monkeypatch):
    fading = 100
    monkeypatch.setattr("stopgap.simulate.journal.FADING", fading)
    rounds = fading + 50

    def cues():
        for number in range(rounds):
            yield cue(number * 200, alert(f"h{number % 7}"))
            yield cue(number * 200 + 10, alert(f"h{number % 7}"), firing=False)

    async def main():
        closed = []
        play = await Play(STAGE, rulebook, Setting(keep=keep, on_told=None)).start()
        play.observe(
            lambda line, state: closed.append(state.outcome) if line.event.kind is K.CLOSED else None
        )
        await follow(play, cues(), end=START + timedelta(seconds=rounds * 200 + 300))
        await play.stop()
        return play, closed

    play, closed = perform(main())
    journal = play.journal
    assert len(closed) == rounds
    assert set(closed) == {"recovered"}
    kept = rounds if keep else 0
    assert len(journal.timelines) - 1 == kept
    assert len(play.closed) == len(journal.permits) == kept
    assert (len(journal.rows), bool(journal.undos)) == ((rounds, True) if keep else (fading, False))
    assert journal.held == {}


def test_a_crash_loses_nothing_that_was_written(rulebook):
    async def main():
        play = await Play(STAGE, rulebook, Setting(keep=False)).start()
        await play.receive((alert(),))
        await play.settle()
        before = dict(play.engine.incidents)
        engine = play.engine
        await play.crash()
        assert play.engine is not engine
        assert dict(play.engine.incidents) == before
        await play.resolve(alert())
        await play.until(START + timedelta(minutes=5))
        await play.stop()
        return play

    play = perform(main())
    assert play.crashes == 1
    assert not play.engine.incidents


def test_a_daemon_that_two_things_kill_at_once_dies_once(rulebook):
    async def main():
        play = await Play(STAGE, rulebook).start()
        play.scene.acts[On.RUN].say("flag:", Fate(takes=timedelta(seconds=2), crash=Crash.AFTER), 2)
        await play.receive((alert("a"), alert("b")))
        await play.until(START + timedelta(minutes=1))
        await play.stop()
        return play

    play = perform(main())
    assert play.crashes == 1
    for events in [play.journal.timelines[name] for name in play.states]:
        assert [event.kind for event in events].count(K.STEP_SUCCEEDED) == 1


def test_the_same_alert_of_many_hosts_is_one_message(rulebook):
    async def main():
        play = await Play(STAGE, rulebook).start()
        await play.receive(tuple(alert(f"h{n}") for n in range(20)))
        await play.settle()
        await play.stop()
        return play.states

    assert {state.phase for state in perform(main()).values()} == {"mitigated"}

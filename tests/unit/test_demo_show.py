"""How the demo judges its own end, and how it writes: without a process or a socket."""

import io
from pathlib import Path

import pytest

from stopgap.demo.daemon import Daemon
from stopgap.demo.lab import Lab
from stopgap.demo.show import differences
from stopgap.demo.stage import Stage, Tone, words
from stopgap.demo.witness import Sight, StoryError, Witness

FORMER = {"mode": "qloapps", "settings": {"PMS_TYPE": "qloapps"}, "pid": 1}
PRESENT = FORMER | {"pid": 2}
RECOVERED = {"phase": "closed", "outcome": "recovered"}


class Terminal(io.StringIO):
    """Says that somebody is looking."""

    def isatty(self) -> bool:
        return True


def test_a_good_end_has_no_differences():
    assert differences(RECOVERED, (b"A=1\n", b"A=1\n"), (FORMER, PRESENT)) == []


@pytest.mark.parametrize(
    ("incident", "file", "present", "said"),
    [
        ({"phase": "closed", "outcome": "kept"}, b"A=1\n", PRESENT, "outcome kept"),
        ({"phase": "recovering", "outcome": None}, b"A=1\n", PRESENT, "is recovering"),
        (RECOVERED, b"A=1", PRESENT, "byte for byte"),
        (RECOVERED, b"A=1\n", PRESENT | {"mode": "mock"}, "mode mock"),
        (RECOVERED, b"A=1\n", PRESENT | {"settings": {}}, "not as before"),
        (RECOVERED, b"A=1\n", FORMER, "never restarted"),
    ],
)
def test_whatever_is_not_as_it_was_is_said(incident, file, present, said):
    (difference,) = differences(incident, (b"A=1\n", file), (FORMER, present))
    assert said in difference


def test_lines_fit_80_columns_and_long_addresses_have_names():
    out = io.StringIO()
    stage = Stage(out)
    stage.names["/tmp/x/hotel.env"] = "hotel.env"
    stage.say("Stopgap", "set PMS_TYPE=mock in /tmp/x/hotel.env")
    stage.say("Prometheus", "long " * 40)
    stage.title("An act")
    stage.aside("explained " * 40)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) == 80
    assert lines[0].endswith("Stopgap       set PMS_TYPE=mock in hotel.env")
    assert lines[1].endswith("…")


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("verify", "max(pms_mock_mode) = 1, wanted == 1"),
        ("recovered", "pms/api/health: status 503, wanted 200"),
    ],
)
def test_what_a_probe_wanted_is_not_cut_off(role, why):
    out = io.StringIO()
    Stage(out).event({"event": "probe_unhealthy", "role": role, "why": why})
    assert out.getvalue().rstrip().endswith(f"wanted {why.split()[-1]}")
    assert len(out.getvalue().rstrip()) <= 80


def test_what_strangers_say_steers_no_terminal():
    out = Terminal()
    Stage(out).event({"event": "refused", "reason": "brake", "text": "\x1b[2J\nforged"})
    assert "\x1b[2J" not in out.getvalue()
    assert out.getvalue().count("\n") == 1
    assert r"\x1b[2J\nforged" in out.getvalue()


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    def painted(out: io.StringIO) -> bool:
        Stage(out).say("PMS", "healthy", Tone.GOOD)
        return "\x1b[32mhealthy\x1b[0m" in out.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert painted(Terminal())
    assert not painted(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not painted(Terminal())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"event": "opened", "rule": "p/r", "severity": "P0"}, "p/r (P0)"),
        ({"event": "step_started", "action": "flag", "text": "flag: set A=1 in x"}, "set A=1 in x"),
        (
            {"event": "step_started", "action": "flag", "text": "take back flag: set A=1 in x"},
            "take back set A=1 in x",
        ),
        ({"event": "step_succeeded", "action": "restart", "seconds": 1.0449}, "restart in 1045 ms"),
        ({"event": "observed", "action": "flag"}, "flag"),
        ({"event": "probe_unhealthy", "role": "recovered", "why": "status 503"}, "recovered: status 503"),
        ({"event": "probe_healthy", "role": "verify"}, "verify: as it should be"),
        (
            {
                "event": "probe_unhealthy",
                "role": "recovered",
                "why": "pms/api/health: status 503, wanted 200",
            },
            "recovered: pms/api/health: 503, wanted 200",
        ),
        (
            {"event": "probe_healthy", "role": "verify", "why": "max(pms_mock_mode) = 1, wanted == 1"},
            "verify: max(pms_mock_mode) = 1, wanted 1",
        ),
        ({"event": "notified", "contact": "oncall", "when": "mitigated"}, "oncall (mitigated)"),
        ({"event": "closed", "outcome": "recovered"}, "recovered"),
        ({"event": "permitted", "rung": 0}, ""),
    ],
)
def test_timeline_events_are_told_in_few_words(line, said):
    assert words(line) == said


class Staring(Witness):
    """Sees the same all the time."""

    def __init__(self, sight: Sight) -> None:
        lab = Lab(monitoring=False)
        lab.ports = {"daemon": 1}
        super().__init__(lab, Daemon(lab, Path("nowhere")), Stage(io.StringIO()))
        self.sight = sight

    async def look(self) -> Sight:
        return self.sight


async def test_waiting_ends_with_what_was_waited_for():
    sight = Sight(mode="mock")
    assert await Staring(sight).until("mock mode", lambda s: s.mode == "mock", within=0) is sight
    with pytest.raises(StoryError, match="in vain for the PMS"):
        await Staring(sight).until("the PMS", lambda s: s.pms == "healthy", within=0)


async def test_a_hand_over_ends_the_story_at_once():
    sight = Sight(incident={"phase": "waiting", "handed_over": True})
    with pytest.raises(StoryError, match="handed over to a person instead of the mitigation"):
        await Staring(sight).until("the mitigation", lambda s: s.phase == "mitigated")

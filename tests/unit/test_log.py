"""What a log line says, and what it cannot be made to do."""

import asyncio
import io
import json
import logging
import re

import pytest
import structlog
from tests.desk import HELD, NOW, TIMELINES, opened

from stopgap import log
from stopgap.incident import Event, EventKind as K, Incident
from stopgap.journal import CONTROL, Line
from stopgap.transitions import fold


@pytest.fixture
def written():
    stream = io.StringIO()
    yield stream
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_event_of_a_timeline_is_one_line(written):
    log.configure(stream=written)
    for event in TIMELINES[HELD]:
        log.observe(Line(HELD, event), fold(HELD, TIMELINES[HELD]))
    told = lines(written)
    assert [line["event"] for line in told] == [event.kind for event in TIMELINES[HELD]]
    assert {line["incident"] for line in told} == {HELD}
    assert list(told[0])[:3] == ["timestamp", "level", "event"]
    assert told[3] | {"rule": "hotel/pms", "action": "flag", "seconds": 0.25, "level": "info"} == told[3]


def test_label_values_cannot_forge_a_line_or_steer_a_terminal(written):
    log.configure(stream=written, console=True)
    event = opened(target="x\n2026-11-21 closed \x1b]0;owned\x07\u202e\u2028\x9b2J\ud800")
    log.observe(Line(HELD, event), fold(HELD, (event,)))
    structlog.get_logger().info("more", **{"key\nwith\x1b": {"a\x1b": ["\r"]}})
    text = written.getvalue()
    assert len(text.splitlines()) == 2
    assert "owned" in text
    plain = text.replace("\x1b[", "") if "\x1b[" in text else text
    assert not set(plain) & set("\x07\r\u202e\u2028\x9b\ud800")
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text


def test_json_lines_hold_no_raw_control_characters(written):
    log.configure(stream=written)
    structlog.get_logger().info(
        "odd", value="a\nb\u202e\x00\ud800", big=2**70, many=list(range(1000)), deep=[[[[[[[[1]]]]]]]]
    )
    (told,) = lines(written)
    assert told["value"] == "a\\nb\\u202e\\x00\\ud800"
    assert len(told["many"]) == log.MOST_ITEMS


def test_a_long_value_is_cut(written):
    log.configure(stream=written)
    structlog.get_logger().info("long", value="x" * 1_000_000)
    assert len(written.getvalue()) < 3000


def test_libraries_write_the_same_kind_of_line(written):
    log.configure(stream=written)
    logging.getLogger("aiohttp.server").warning("bad %s", "re\nquest")
    logging.getLogger("aiohttp.server").info("chatter")
    (told,) = lines(written)
    assert told | {"event": "bad re\\nquest", "level": "warning", "logger": "aiohttp.server"} == told


def test_a_traceback_is_kept_and_cannot_forge_a_line(written):
    log.configure(stream=written, console=True)
    try:
        int("\n2026 [info] all is well\x1b[2J")
    except ValueError:
        structlog.get_logger().exception("fault")
    text = written.getvalue()
    assert "ValueError: invalid literal" in text
    assert "\n2026" not in text
    assert "\x1b[2J" not in text


def test_a_harmless_event_is_the_same_line_whichever_way_it_takes(written, monkeypatch):
    log.configure(stream=written)
    timeline = TIMELINES[HELD]
    for event in timeline:
        log.observe(Line(HELD, event), fold(HELD, timeline))
    monkeypatch.setattr(log, "straight", lambda _: None)
    for event in timeline:
        log.observe(Line(HELD, event), fold(HELD, timeline))
    told = [re.sub(r'"timestamp":"[^"]+Z"', "", line) for line in written.getvalue().splitlines()]
    assert told[: len(timeline)] == told[len(timeline) :]


def test_a_quieter_log_leaves_news_out(written):
    log.configure(stream=written, level=logging.WARNING)
    for kind in (K.OPENED, K.STEP_FAILED, K.HANDED_OVER):
        log.observe(Line(HELD, Event(kind, NOW, {}, 1)), Incident(HELD))
    assert [line["level"] for line in lines(written)] == ["warning", "error"]


@pytest.mark.parametrize(
    ("kind", "level"),
    [(K.HANDED_OVER, "error"), (K.REVERT_FAILED, "error"), (K.STEP_UNKNOWN, "warning"), (K.OPENED, "info")],
)
def test_what_a_person_must_see_is_louder(written, kind, level):
    log.configure(stream=written)
    log.observe(Line(HELD, Event(kind, NOW, {"event": "spoofed", "level": "debug"}, 3)), Incident(HELD))
    (told,) = lines(written)
    assert (told["event"], told["level"], told["event_"]) == (kind, level, "spoofed")


def test_control_actions_are_logged_without_an_incident_s_fields(written):
    log.configure(stream=written)
    log.observe(Line(CONTROL, Event(K.RELOADED, NOW, {"rules": 3}, 1)), Incident(CONTROL))
    (told,) = lines(written)
    assert told["incident"] == "control"
    assert "rule" not in told


class Writes(io.StringIO):
    """Counts how often it is written to."""

    count = 0

    def write(self, text):
        self.count += 1
        return super().write(text)


async def test_what_is_said_in_one_turn_of_the_event_loop_is_written_at_once_and_in_order(written):
    stream = Writes()
    log.configure(stream=stream)
    event = Event(K.NOTE_ADDED, NOW, {"text": "hello"}, 7)
    log.observe(Line(HELD, event), Incident(HELD))
    structlog.get_logger().info("between")
    log.observe(Line(HELD, event), Incident(HELD))
    assert stream.count == 0
    await asyncio.sleep(0)
    assert stream.count == 1
    assert [line["event"] for line in lines(stream)] == ["note_added", "between", "note_added"]
    await asyncio.to_thread(structlog.get_logger().info, "a thread waits for no turn")
    assert stream.count == 2


async def test_what_is_said_in_one_turn_is_bounded(written, monkeypatch):
    monkeypatch.setattr(log, "MOST_HELD", 3)
    stream = Writes()
    log.configure(stream=stream)
    for _ in range(7):
        structlog.get_logger().info("more")
    assert len(lines(stream)) == 6


def test_what_was_said_when_the_event_loop_ended_is_written_with_the_next_line(written):
    log.configure(stream=written)
    loop = asyncio.new_event_loop()
    loop.call_soon(lambda: (structlog.get_logger().info("last"), loop.stop()))
    loop.run_forever()
    loop.close()
    structlog.get_logger().info("next")
    assert [line["event"] for line in lines(written)] == ["last", "next"]


class Full(io.StringIO):
    """A disk without room, or a reader that is gone."""

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("console", [True, False])
def test_a_line_that_nobody_can_take_ends_nobody_who_says_it(written, console):
    log.configure(console=console, stream=Full())
    structlog.get_logger().error("journal_fault", why="the disk is full")
    logging.getLogger("aiohttp").error("so say others")

"""The dead man on virtual time: when it beats, when it keeps silent, and how often it says so."""

import asyncio
from datetime import timedelta

from structlog.testing import capture_logs
from tests.virtual import virtually

from stopgap.deadman import Beat, DeadMan
from stopgap.errors import TemporaryError

MINUTE = timedelta(minutes=1)


class Outside:
    """Hears beats, or fails as told; `wrong` is why notifications could not be taken."""

    def __init__(self, *lasts: float):
        self.heard_at = []
        self.came = []
        self.error = None
        self.wrong = ""
        self.lasts = list(lasts)

    async def send(self):
        self.heard_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.lasts.pop(0) if self.lasts else 0)
        if self.error is not None:
            raise self.error

    async def alive(self):
        return self.wrong

    def man(self):
        return DeadMan(self.send, self.alive, lambda beat, why: self.came.append((beat, why)), MINUTE)


async def after(outside: Outside, seconds: float) -> list[dict]:
    """Let a dead man go on for a time; returns the warnings."""
    man = outside.man()
    with capture_logs() as said:
        man.begin()
        await asyncio.sleep(seconds)
        await man.stop()
    return [line for line in said if line["log_level"] == "warning"]


@virtually
async def test_it_beats_at_once_and_then_each_minute():
    outside = Outside()
    said = await after(outside, 150)
    assert outside.heard_at == [0, 60, 120]
    assert outside.came == [(Beat.SUCCEEDED, "")] * 3
    assert not said


@virtually
async def test_it_keeps_silent_while_notifications_could_not_be_taken_and_says_so_once_in_ten_minutes():
    outside = Outside()
    outside.wrong = "store: disk full"
    said = await after(outside, 650)
    assert outside.heard_at == []
    assert outside.came == [(Beat.WITHHELD, "store: disk full")] * 11
    assert [(line["result"], line["why"], line["unsaid"]) for line in said] == [
        ("withheld", "store: disk full", 0),
        ("withheld", "store: disk full", 9),
    ]


@virtually
async def test_it_beats_again_once_the_store_is_mended():
    outside = Outside()
    outside.wrong = "store: disk full"
    asyncio.get_running_loop().call_later(90, setattr, outside, "wrong", "")
    await after(outside, 130)
    assert outside.heard_at == [120]


@virtually
async def test_a_beat_that_failed_is_warned_of_once_in_ten_minutes_and_the_next_is_sent_all_the_same():
    outside = Outside()
    outside.error = TemporaryError("it answered 502")
    said = await after(outside, 599)
    assert len(outside.heard_at) == 10
    assert outside.came == [(Beat.FAILED, "it answered 502")] * 10
    assert [line["result"] for line in said] == ["failed"]


@virtually
async def test_a_surprise_ends_nothing_and_its_words_are_not_shown():
    outside = Outside()
    outside.error = RuntimeError("https://hc.example.com/secret")
    said = await after(outside, 61)
    assert outside.came == [(Beat.FAILED, "RuntimeError")] * 2
    assert "secret" not in repr(said)


@virtually
async def test_beats_that_one_slow_one_delayed_are_not_caught_up_with():
    outside = Outside(150)
    await after(outside, 271)
    assert outside.heard_at == [0, 150, 210, 270]


@virtually
async def test_a_stopped_one_is_silent_and_one_that_never_began_can_be_stopped():
    outside = Outside()
    await outside.man().stop()
    await after(outside, 1)
    await asyncio.sleep(300)
    assert outside.heard_at == [0]

"""The service: whichever ends first, the other one is cut off, and given the time to clear up."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from tests.virtual import virtually

from stopgap import service
from stopgap.seldom import Seldom
from stopgap.service import _first
from stopgap.store import Unreachable


class Work:
    """Goes on for so long; `cleared` tells that it was cut off, and ended in order."""

    def __init__(self, seconds: float, error: Exception | None = None):
        self.seconds, self.error, self.cleared = seconds, error, False

    async def go(self):
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            self.cleared = True
            raise
        if self.error is not None:
            raise self.error


@virtually
async def test_the_start_is_over_before_the_signal():
    start, signal = Work(1), Work(5)
    assert await _first(start.go(), signal.go()) is True
    assert signal.cleared


@virtually
async def test_a_signal_cuts_the_start_off_which_clears_up():
    start, signal = Work(5), Work(1)
    assert await _first(start.go(), signal.go()) is False
    assert start.cleared


@virtually
async def test_a_start_that_fails_says_why():
    with pytest.raises(ValueError, match="rules"):
        await _first(Work(1, ValueError("rules")).go(), Work(5).go())


@virtually
async def test_a_start_that_fails_while_it_is_cut_off_is_not_heard_of():
    async def stubborn():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            raise ValueError("in the middle") from None

    assert await _first(stubborn(), Work(1).go()) is False


def test_a_database_that_stays_away_is_tried_each_second_and_told_of_each_minute(monkeypatch):
    now, refused = [0.0], []
    monkeypatch.setattr(service, "_seldom", Seldom(timedelta(minutes=1), lambda: now[0]))
    with capture_logs() as said:
        for _ in range(90):
            assert service._pause(Unreachable("refused"), refused.append, 1.0, deposed=False) == 1.0
            now[0] += 1
        service._pause(Unreachable("wrong password"), refused.append, 1.0, deposed=False)
    assert [(one["why"], one["unsaid"]) for one in said] == [
        ("refused", 0),
        ("refused", 59),
        ("wrong password", 0),
    ]
    assert refused == []

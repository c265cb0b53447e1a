"""The heartbeat says that the loop turns, and ends with its owner."""

import asyncio
from datetime import timedelta

from tests.desk import NOW, FakeClock

from stopgap.heartbeat import heartbeat


async def test_it_beats_while_inside_and_not_afterwards():
    beats = []
    async with heartbeat(lambda late, now: beats.append((late, now)), FakeClock(), timedelta()):
        for _ in range(10):
            await asyncio.sleep(0)
    seen = len(beats)
    assert seen >= 5
    assert all(late >= 0 and now == NOW for late, now in beats)
    await asyncio.sleep(0)
    assert len(beats) == seen
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "heartbeat"]

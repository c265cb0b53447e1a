"""Load: a process of its own that sends notifications over raw sockets, and says how long it took until they were answered.

It reads what to do as one JSON object from stdin and writes one to stdout. Everything is bounded: connections, requests, seconds.
"""

import asyncio
import selectors
import sys

import orjson
from tests.bench.arrivals import on_schedule, one_by_one
from tests.bench.flood import fill, flood
from tests.bench.turning import large

LONGEST = 280.0  # seconds that any one task may take
TASKS = {task.__name__: task for task in (fill, flood, large, on_schedule, one_by_one)}


async def _main() -> None:
    task = orjson.loads(sys.stdin.buffer.read())
    async with asyncio.timeout(LONGEST):
        result = await TASKS[task["task"]](task)
    sys.stdout.buffer.write(orjson.dumps(result))


def _loop() -> asyncio.AbstractEventLoop:
    """Return a loop that wakes up to the microsecond; epoll's and poll's timeouts are whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_main())

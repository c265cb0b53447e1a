"""Sink: takes what http actions send while nobody measures when; a process of its own, so that it costs the load nothing.

Started as `python -m tests.bench.sink PORT`.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.effects import Requests
from tests.bench.servers import NotMeasured, accepts, environment

PATIENCE = 10.0  # seconds


@contextmanager
def running_sink(port: int) -> Iterator[None]:
    """Run a sink until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.sink", str(port)], env=environment())
    try:
        until = time.monotonic() + PATIENCE
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > until:
                raise NotMeasured("the sink does not listen")
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


async def _serve(port: int) -> None:
    effects = Requests(port)
    await effects.watch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))

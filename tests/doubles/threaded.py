"""What the doubles that are servers share: a thread with a loop of its own, that serves until the block ends."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextmanager
def answering(answer: Answer, socket: Path | None = None, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve whatever is asked, on a Unix socket, or on loopback at the port that comes back."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), [0]

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        if socket:
            await web.UnixSite(runner, str(socket)).start()
        else:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            ports[0] = runner.addresses[0][1]
        return runner

    def live() -> None:
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

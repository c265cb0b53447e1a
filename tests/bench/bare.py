"""Bare: the least that a web server in this language can do with a notification: read the body, parse it, answer 200.

Started as a process of its own: `python -m tests.bench.bare PORT`.
"""

import asyncio
import signal
import sys

import orjson
from aiohttp import web


async def _webhook(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(text="ok")


async def _ready(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _serve(port: int) -> None:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/webhook", _webhook)
    app.router.add_get("/-/ready", _ready)
    app.router.add_get("/-/healthy", _ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))

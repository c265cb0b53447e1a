"""Serving: how a stand-in listens, is scraped, and ends at once when it is told to."""

import argparse
import asyncio
import signal

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

LATENCY_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10)
_LOOPBACK = "127.0.0.1"


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows `--port`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    return parser


def add_metrics(app: web.Application, registry: CollectorRegistry) -> None:
    """Serve the registry at `/metrics` in Prometheus' text format."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/metrics", metrics)


async def asked_to_end() -> None:
    """Return at SIGTERM or SIGINT."""
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await over.wait()


def serve(app: web.Application, port: int) -> None:
    """Serve on the loopback until SIGTERM; requests under way are given a moment, not a minute."""

    async def serving() -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, _LOOPBACK, port).start()
            await asked_to_end()
        finally:
            await runner.cleanup()

    asyncio.run(serving())

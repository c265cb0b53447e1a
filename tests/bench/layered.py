"""Layered: Stopgap's own pieces on top of the bare handler, one more with each layer, to see what each of them costs.

`parse`: the real edge, which checks the token and bounds the body, judges every alert and counts it. `durable`: every alert is
also put into the real store, under one rule that is not looked for, and nobody decides about it. Whoever wants more starts a
daemon. Started as a process of its own: `python -m tests.bench.layered LAYER PORT DATA`.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from pydantic import SecretStr
from tests.bench.bodies import TOKEN

from stopgap.alert import Alert
from stopgap.app import settle_memory
from stopgap.body import SERVER
from stopgap.clock import SystemClock
from stopgap.credential import Credential
from stopgap.intake import Received
from stopgap.journal import Sighting
from stopgap.metrics import Metrics
from stopgap.store import Store, open_store
from stopgap.webhook import Webhook

RULE = "bench/layer"


class Nothing:
    """Takes alerts and does nothing with them."""

    async def receive(self, alerts: Sequence[Alert]) -> Received:
        return Received(matched={RULE: len(alerts)})


class Kept:
    """Puts every alert into the store, as the incident of its instance."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def receive(self, alerts: Sequence[Alert]) -> Received:
        await self._store.receive([_sighting(alert) for alert in alerts])
        return Received(matched={RULE: len(alerts)}, news=len(alerts))


def _sighting(alert: Alert) -> Sighting:
    return Sighting(
        rule=RULE,
        version="1",
        target=alert.labels["instance"],
        severity="P2",
        mode="auto",
        fingerprint=alert.fingerprint,
        alert={
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "starts_at": alert.starts_at.isoformat(),
        },
        firing=alert.firing,
        at=datetime.now(UTC),
    )


async def _ready(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _serve(layer: str, port: int, data: Path) -> None:
    store = await open_store(data, SystemClock()) if layer == "durable" else None
    intake = Nothing() if store is None else Kept(store)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    Webhook(intake, Metrics((), (), ()), Credential(SecretStr(TOKEN), basic=True)).mount(app)
    app.router.add_get("/-/ready", _ready)
    runner = web.AppRunner(app, **SERVER)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    settle_memory()
    await over.wait()
    await runner.cleanup()
    if store is not None:
        await store.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))

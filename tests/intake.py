"""An intake and a tally that remember, for the webhook's tests, and a server for an application on a free port."""

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import ClientSession, ClientTimeout, web

from stopgap.body import SERVER
from stopgap.errors import StoreError


@dataclass
class Taken:
    matched: dict[str, int]
    unmatched: int = 0


@dataclass
class FakeIntake:
    """Takes alerts, or fails as a full store or a defect does; `gate` holds them back as a slow disk does."""

    alerts: list = field(default_factory=list)
    error: Exception | None = None
    gate: object = None

    async def receive(self, alerts):
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.alerts.extend(alerts)
        return Taken({"p/r": len(alerts)})


@dataclass
class FakeTally:
    codes: Counter = field(default_factory=Counter)
    bad: Counter = field(default_factory=Counter)
    firing: int = 0
    resolved: int = 0
    truncated: int = 0
    mismatched: int = 0

    def answered(self, code):
        self.codes[code] += 1

    def took(self, firing, resolved, taken):
        self.firing += firing
        self.resolved += resolved

    def rejected(self, reason, count):
        self.bad[reason] += count

    def noticed(self, *, truncated, mismatched):
        self.truncated += truncated
        self.mismatched += mismatched


FULL = StoreError("database or disk is full")


def alert(n=0, status="firing", **more):
    return {
        "status": status,
        "labels": {"alertname": "HighLatency", "instance": f"api-{n}:9100", "severity": "critical"},
        "annotations": {"summary": "slow " * 40},
        "startsAt": "2026-11-21T10:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph?g0.expr=up",
        **more,
    }


def notification(*alerts, **more):
    return orjson.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="HighLatency"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "stopgap",
            "externalURL": "http://alertmanager",
            "alerts": list(alerts),
            **more,
        }
    )


@asynccontextmanager
async def serving(*mounts, **server):
    """Serve an application with these mounts; gives its base URL and a client session."""
    app = web.Application()
    for mount in mounts:
        mount(app)
    runner = web.AppRunner(app, shutdown_timeout=1.0, **{**SERVER, **server})
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with ClientSession(timeout=ClientTimeout(total=60)) as session:
            yield f"http://{host}:{port}", session
    finally:
        await runner.cleanup()

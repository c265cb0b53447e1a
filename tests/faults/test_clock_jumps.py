"""The wall clock jumps by an hour, forth and back, while incidents wait in every phase: nothing ends early or late."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.faults.daemon import Daemon, alert, running, until

HOUR = 3600.0
RULES = """
rules:
  - name: verifying
    match: alertname="Verifying"
    do: [{{exec: {{argv: [echo], revert: ["true"]}}}}]
    verify: [{{http: {{url: "{url}/verify"}}, every: 100ms, within: 20m}}]
  - name: held
    match: alertname=~"Held|Recovering"
    target: "{{{{ labels.alertname }}}}"
    do: [{{exec: {{argv: [echo, "{{{{ target }}}}"], revert: ["true"]}}}}]
    recovered: [{{http: {{url: "{url}/well"}}, every: 100ms}}]
    hold: 20m
    max_hold: 30m
  - name: asking
    match: alertname="Asking"
    ladder: [{{name: ask, approval: {{timeout: 20m}}, do: [{{exec: {{argv: ["true"]}}}}]}}]
  - name: cooling
    match: alertname="Cooling"
    do: [{{exec: {{argv: ["false"]}}}}]
    guard: {{cooldown: 20m}}
"""
PHASES = {
    "Verifying": ("verifying", ""),
    "Held": ("mitigated", ""),
    "Recovering": ("recovering", ""),
    "Asking": ("waiting", "approval_pending"),
    "Cooling": ("waiting", "cooldown"),
}


@pytest.fixture
async def shop():
    healthy = {"verify": False}

    async def verify(_: web.Request) -> web.Response:
        return web.Response(status=200 if healthy["verify"] else 500)

    async def well(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/verify", verify)
    app.router.add_get("/well", well)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), healthy


async def live(daemon: Daemon) -> dict[str, dict]:
    found = [one for one in await daemon.incidents() if one["phase"] != "closed"]
    return {one["rule"].partition("/")[2] + "/" + one["target"]: one for one in found}


async def bring_about(daemon: Daemon) -> dict[str, dict]:
    """Bring one incident into each of the phases."""
    assert await daemon.post(alert("Cooling")) == 200
    await until(lambda: daemon.logged("handed_over"))
    assert await daemon.post(alert("Cooling", "resolved")) == 200
    await until(lambda: daemon.logged("closed"))
    assert await daemon.post(*(alert(name, minutes=5) for name in PHASES)) == 200
    await until(lambda: len(daemon.logged("mitigated")) == 2)
    assert await daemon.post(alert("Recovering", "resolved", minutes=5)) == 200

    async def there() -> dict[str, dict]:
        found = await live(daemon)
        stand = sorted((one["phase"], one["reason"] or "") for one in found.values())
        return found if stand == sorted(PHASES.values()) else {}

    return await until(there)


async def lines(daemon: Daemon, incidents: dict[str, dict]) -> dict[str, list]:
    """Return what happened to each, without the answers of probes, and until when each waits."""
    told = {}
    for name, one in incidents.items():
        timeline = await daemon.timeline(one["id"])
        told[name] = [line for line in timeline if not line["event"].startswith("probe_")]
    return told


async def test_an_hour_forth_and_an_hour_back_end_nothing_early_and_nothing_late(tmp_path, shop):
    url, healthy = shop
    async with running(tmp_path, RULES.format(url=url)) as daemon:
        incidents = await bring_about(daemon)
        before = await lines(daemon, incidents)
        for count, offset in enumerate([HOUR, -HOUR], 1):
            daemon.shake("wall", offset)
            await until(lambda n=count: len(daemon.logged("clock_jumped")) == n)
            await asyncio.sleep(1)  # what is due by the wall clock would be done by now
            assert await lines(daemon, incidents) == before
            assert await daemon.metric("clock_offset_seconds") == pytest.approx(offset, abs=1)
        jumps = [
            (round(one["seconds"], -1), round(one["offset"], -1)) for one in daemon.logged("clock_jumped")
        ]
        assert jumps == [(HOUR, HOUR), (-2 * HOUR, -HOUR)]

        healthy["verify"] = True  # an hour behind, time goes on all the same
        await until(lambda: len(daemon.logged("mitigated")) == 3)
        for one in (await live(daemon)).values():
            await daemon.order(one["id"], "close", by="ann", why="over", keep=True)
        await until(lambda: daemon.logged("clock_followed"))
        assert await daemon.metric("clock_offset_seconds") == 0
        assert len(daemon.logged("revert_started")) == 1  # of the rung that failed
        assert len(daemon.logged("handed_over")) == 1

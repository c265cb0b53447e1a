"""The daemon is stopped (SIGSTOP) beyond its time limits: nothing is lost, and what it did not look at is not unhealthy."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.faults.daemon import alert, running, until

RULES = """
rules:
  - name: verifying
    match: alertname="Verifying"
    do: [{{exec: {{argv: [echo], revert: ["true"]}}}}]
    verify: [{{http: {{url: "{url}/slow"}}, every: 100ms, timeout: 1s, within: 3s, for: 2s}}]
  - name: late
    match: alertname=~"Late.*"
    target: "{{{{ labels.alertname }}}}"
    ladder: []
  - name: working
    match: alertname="Working"
    do: [{{exec: {{argv: [sleep, "2"]}}, timeout: 3s}}]
"""
STANDS = 4.5  # seconds: longer than all that is bounded above


@pytest.fixture
async def url():
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.5)  # one question is nearly always under way
        return web.Response()

    app = web.Application()
    app.router.add_get("/slow", slow)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def test_a_daemon_that_stood_still_takes_nothing_back_for_it_and_answers_what_came_meanwhile(
    tmp_path: Path, url: str
):
    async with running(tmp_path, RULES.format(url=url)) as daemon:
        assert await daemon.post(alert("Verifying")) == 200
        assert await daemon.post(alert("Working")) == 200
        await until(lambda: daemon.logged("step_succeeded"))
        await asyncio.sleep(0.8)
        with daemon.standing():
            waiting = [asyncio.create_task(daemon.post(alert(f"Late{n}"))) for n in range(20)]
            await asyncio.sleep(STANDS)
        assert await asyncio.gather(*waiting) == [200] * 20
        await until(lambda: len(daemon.logged("mitigated")) == 1)
        assert len([one for one in daemon.logged("opened") if one["rule"] == "shop/late"]) == 20
        assert not daemon.logged("rung_failed")
        assert not daemon.logged("revert_started")
        assert not daemon.logged("clock_jumped")  # the time that it stood still is time, too
        assert await daemon.metric("event_loop_lag_seconds_bucket", le="1.0") < await daemon.metric(
            "event_loop_lag_seconds_count"
        )

        def known() -> list[str]:
            events = ("step_succeeded", "step_unknown", "step_failed")
            return [e for e in events for one in daemon.logged(e) if one["rule"] == "shop/working"]

        assert "step_failed" not in await until(known)  # it was over in time, and nobody saw that
        assert len([one for one in daemon.logged("step_started") if one["rule"] == "shop/working"]) == 1

"""The whole daemon, with its store on disk, tells after a restart what nobody was told before it, and that only once."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from tests.intake import serving
from tests.prometheus_server import free_port

from stopgap.app import App
from stopgap.settings import Settings

RULES = 'rules: [{name: shop, match: alertname="Down", target: shop, ladder: [], summary: It is down}]\n'
SITE = "contacts: {default: {url_env: PAGER}}\n"
ALERT = {
    "labels": {"alertname": "Down"},
    "annotations": {},
    "startsAt": "2026-11-21T09:00:00Z",
    "status": "firing",
}
NOTIFICATION = {
    "version": "4",
    "receiver": "stopgap",
    "groupKey": "{}",
    "truncatedAlerts": 0,
    "alerts": [ALERT],
}


class Pager:
    """Takes what Apprise posts, unless it is away."""

    def __init__(self) -> None:
        self.away = True
        self.refused = 0
        self.titles: list[str] = []

    def mount(self, app: web.Application) -> None:
        async def take(request: web.Request) -> web.Response:
            if self.away:
                self.refused += 1
                return web.Response(status=503)
            self.titles.append((await request.json())["title"])
            return web.Response()

        app.router.add_post("/{any:.*}", take)


@asynccontextmanager
async def running(folder: Path):
    """Run one daemon, and end its messages as a kill would."""
    port = free_port()
    settings = Settings(
        rules=folder / "rules", data=folder / "data", listen=f"127.0.0.1:{port}", control_token="word"
    )
    app = App(settings)
    await app.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        await app.teller.kill()
        await app.stop()


async def lines(session: aiohttp.ClientSession) -> list[str]:
    headers = {"Authorization": "Bearer word"}
    async with session.get("/api/v1/incidents", headers=headers) as answer:
        (row,) = (await answer.json())["incidents"]
    async with session.get(f"/api/v1/incidents/{row['id']}", headers=headers) as answer:
        return [line["event"] for line in (await answer.json())["timeline"]]


async def until(found) -> None:
    async with asyncio.timeout(20):
        while not await found():
            await asyncio.sleep(0.02)


async def test_what_nobody_was_told_before_a_kill_is_told_after_the_restart_once(tmp_path: Path, monkeypatch):
    pager = Pager()
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "shop.yaml").write_text(RULES)
    (tmp_path / "rules" / "site.yaml").write_text(SITE)
    async with serving(pager.mount) as (receiver, _):
        monkeypatch.setenv("PAGER", receiver.replace("http://", "json://"))

        async with running(tmp_path) as session:
            async with session.post("/webhook", json=NOTIFICATION) as answer:
                assert answer.status == 200

            async def refused() -> bool:
                return pager.refused > 0

            await until(refused)
            assert await lines(session) == ["opened", "handed_over"]

        pager.away = False
        for _ in range(2):
            async with running(tmp_path) as session:

                async def told(session: aiohttp.ClientSession = session) -> bool:
                    return await lines(session) == ["opened", "handed_over", "notified"]

                await until(told)
        assert {*pager.titles} == {"[P2] shop/shop on shop: handed over"}
    await asyncio.sleep(0.05)  # closed connections say goodbye in the next turns of the loop

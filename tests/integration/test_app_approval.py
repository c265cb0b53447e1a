"""The whole daemon asks a person: the message that arrives carries a link, and only the person's answer lets the rung begin."""

import asyncio
import re
from pathlib import Path

import aiohttp
from aiohttp import web
from tests.intake import serving
from tests.prometheus_server import free_port

from stopgap.app import App
from stopgap.settings import Settings

RULES = """
rules:
  - name: mock
    match: alertname="Down"
    target: shop
    ladder:
      - name: by hand
        approval: {{timeout: 10m}}
        do:
          - exec: {{argv: [touch, "{folder}/done"]}}
"""
SITE = "contacts: {default: {url_env: PAGER}}\n"
ALERT = {
    "status": "firing",
    "labels": {"alertname": "Down"},
    "annotations": {},
    "startsAt": "2026-11-21T09:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
}
NOTIFICATION = {
    "version": "4",
    "receiver": "stopgap",
    "groupKey": "{}",
    "truncatedAlerts": 0,
    "alerts": [ALERT],
}


class Pager:
    """Takes what Apprise posts."""

    def __init__(self) -> None:
        self.pages: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    def mount(self, app: web.Application) -> None:
        async def take(request: web.Request) -> web.Response:
            self.pages.put_nowait(await request.json())
            return web.Response()

        app.router.add_post("/{any:.*}", take)


async def ended(session: aiohttp.ClientSession) -> list[str]:
    for _ in range(200):
        async with session.get("/api/v1/incidents") as answer:
            (row,) = (await answer.json())["incidents"]
        if row["phase"] == "mitigated":
            break
        await asyncio.sleep(0.05)
    async with session.get(f"/api/v1/incidents/{row['id']}") as answer:
        return [line["event"] for line in (await answer.json())["timeline"]]


async def test_a_message_asks_its_link_shows_and_the_answer_lets_the_rung_begin(tmp_path: Path, monkeypatch):
    pager, port = Pager(), free_port()
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "shop.yaml").write_text(RULES.format(folder=tmp_path))
    (tmp_path / "rules" / "site.yaml").write_text(SITE)
    async with serving(pager.mount) as (receiver, _):
        monkeypatch.setenv("PAGER", receiver.replace("http://", "json://"))
        listen, here = f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"
        app = App(
            Settings(
                rules=tmp_path / "rules",
                data=tmp_path / "data",
                listen=listen,
                control_token="word",
                external_url=f"{here}/",
            )
        )
        await app.start()
        try:
            async with aiohttp.ClientSession(here, headers={"Authorization": "Bearer word"}) as session:
                async with session.post("/webhook", json=NOTIFICATION) as answer:
                    assert answer.status == 200
                page = await asyncio.wait_for(pager.pages.get(), 20)
                (link,) = re.findall(rf"{here}/approve/\S+/default/\S+", page["message"])
                async with aiohttp.ClientSession() as stranger:
                    async with stranger.get(link) as answer:
                        assert (answer.status, "touch" in await answer.text()) == (200, True)
                    assert not (tmp_path / "done").exists()
                    async with stranger.post(link, data={"answer": "approve", "name": "Ann"}) as answer:
                        assert answer.status == 200
                words = await ended(session)
                assert (
                    words.index("approval_requested") < words.index("approved") < words.index("rung_started")
                )
                assert (tmp_path / "done").exists()
        finally:
            await app.stop()
            await asyncio.sleep(0.05)  # closed connections say goodbye in the next turns of the loop

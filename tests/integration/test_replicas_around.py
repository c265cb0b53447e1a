"""Replicas and their neighbours: an Alertmanager that knows both, a Prometheus that alerts about both, a database that is late."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
from tests.prometheus_server import alertmanager, alertmanager_config, prometheus, prometheus_config
from tests.replicas import Replicas, until
from tests.servers import running_postgres

ALERTS = Path(__file__).resolve().parents[2] / "deploy" / "stopgap.alerts.yaml"
RULES = """
rules:
  - name: note
    match: alertname="Note"
    target: "{{{{ labels.number }}}}"
    do:
      - exec: {{argv: ["/usr/bin/tee", "-a", "{folder}/noted"], stdin: "{{{{ labels.number }}}}\\n"}}
"""


@pytest.fixture
async def replicas(postgres, tmp_path):
    async with Replicas(tmp_path, postgres.database().url, RULES.format(folder=tmp_path)) as replicas:
        yield replicas


async def told(session: aiohttp.ClientSession, url: str, query: str) -> list[dict[str, str]]:
    async with session.get(f"{url}/api/v1/query", params={"query": query}) as answer:
        return [each["metric"] for each in (await answer.json())["data"]["result"]]


async def test_an_alertmanager_that_posts_to_both_makes_one_incident(replicas, tmp_path):
    one, two = await replicas.start("one"), await replicas.start("two")
    leader = await replicas.leader()
    config = alertmanager_config(f"{one.url}/webhook")
    (receiver,) = config["receivers"]
    receiver["webhook_configs"].append({"url": f"{two.url}/webhook", "send_resolved": True})
    async with alertmanager(tmp_path, config) as am:
        alert = {"labels": {"alertname": "Note", "number": "n1"}}
        async with replicas.session.post(f"{am.url}/api/v2/alerts", json=[alert]) as answer:
            assert answer.status == 200

        async def noted() -> bool:
            pages = [await page(replicas, each.url) for each in (one, two)]
            return all('stopgap_notifications_total{code="200"} 0' not in each for each in pages)

        await until(noted, 20, lambda: am.said() + leader.said())
    await until(lambda: asyncio.sleep(0, (tmp_path / "noted").is_file()), 20, leader.said)
    await asyncio.sleep(0.5)  # for a second one, if there were one
    status, listing = await leader.get("/api/v1/incidents")
    assert (status, len(listing["incidents"])) == (200, 1)
    assert (tmp_path / "noted").read_text() == "n1\n"


async def page(replicas: Replicas, url: str) -> str:
    async with replicas.session.get(f"{url}/metrics") as answer:
        return await answer.text()


async def test_neither_a_leader_nor_a_standby_raises_an_alert_while_all_is_well(replicas, tmp_path):
    one = await replicas.start("one")
    await replicas.leader()
    two = await replicas.start("two")
    rules = tmp_path / "alerts.yaml"
    rules.write_text(re.sub(r"(interval|for): \S+", r"\1: 1s", ALERTS.read_text()))
    targets = [each.url.removeprefix("http://") for each in (one, two)]
    config = prometheus_config(scrape={"stopgap": targets}, rules=[rules], interval="1s")
    async with prometheus(tmp_path, config) as server:

        async def both() -> bool:
            return len(await told(replicas.session, server.url, 'up{job="stopgap"} == 1')) == 2

        await until(both, 30, server.said)
        await asyncio.sleep(3)
        firing = {each["alertname"] for each in await told(replicas.session, server.url, "ALERTS")}
    assert firing - {"StopgapHearsNothing", "StopgapDown"} == {
        "Watchdog"
    }  # nobody sends; absent before the first scrape
    assert "\nstopgap_leader_epoch 1.0" in await page(replicas, one.url)
    assert "\nstopgap_leader_epoch 0.0" in await page(replicas, two.url)


async def test_daemons_that_start_before_their_database_wait_for_it(tmp_path):
    with running_postgres() as server:
        base = server.database()
        server.stop()
        async with Replicas(tmp_path, base.url, RULES.format(folder=tmp_path)) as replicas:
            one = replicas.make("one")
            starting = asyncio.create_task(one.start())
            await until(lambda: asyncio.sleep(0, "store_unavailable" in said(one)), 20)
            assert one.alive
            server.start()
            await starting
            assert await replicas.leader() is one
            assert "Connection refused" in said(one)


def said(replica) -> str:
    log = replica.folder / f"{replica.name}.log"
    return log.read_text() if log.is_file() else ""

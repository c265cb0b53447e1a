"""Of several daemons on one PostgreSQL, none acts any more when another one may lead."""

import asyncio
import re
import signal

import pytest
from tests.crash.replicas.wire import Wire
from tests.replicas import Replica, Replicas, until

RULES = """
rules:
  - name: slow
    match: alertname="Slow"
    target: shop
    do:
      - exec:
          argv: ["/bin/sh", "-c", "echo $$ >> {folder}/begun; sleep 3; echo $STOPGAP_IDEMPOTENCY_KEY >> {folder}/done"]
          observe: ["/bin/sh", "-c", "cat {folder}/done 2> /dev/null | wc -l"]
  - name: stopped
    match: alertname="Stopped"
    target: shop
    do:
      - exec:
          argv: ["/bin/sh", "-c", "kill -STOP $PPID; echo $STOPGAP_IDEMPOTENCY_KEY >> {folder}/done"]
          observe: ["/bin/sh", "-c", "cat {folder}/done 2> /dev/null | wc -l"]
"""


@pytest.fixture
async def shared(postgres, tmp_path):
    """Yield replicas, the leader first, and the leader's wire to the database."""
    base = postgres.database()
    async with (
        Wire(lambda: postgres.port) as wire,
        Replicas(tmp_path, base.url, RULES.format(folder=tmp_path)) as replicas,
    ):
        url = re.sub(r":\d+/", f":{wire.port}/", base.url)
        leader = await replicas.start("one", STOPGAP_DATABASE_URL=url)
        assert await replicas.leader() is leader
        await replicas.start("two")
        yield replicas, wire
        wire.heal()


def lines(replicas: Replicas, name: str) -> list[str]:
    path = replicas.folder / name
    return path.read_text().splitlines() if path.exists() else []


async def over(replica: Replica) -> None:
    """Wait until its one incident is closed."""

    async def closed() -> bool:
        status, told = await replica.get("/api/v1/incidents")
        return status == 200 and [each["phase"] for each in told["incidents"]] == ["closed"]

    await until(closed, 20, replica.said)


async def test_an_act_that_is_under_way_when_the_lease_cannot_be_renewed_is_cut_off_before_another_leads(
    shared,
):
    replicas, wire = shared
    leader, standby = replicas.all["one"], replicas.all["two"]
    await leader.post("firing", alertname="Slow")
    await until(lambda: asyncio.sleep(0, lines(replicas, "begun")), 10, leader.said)
    wire.silence()
    await until(standby.leads, 20, standby.said)
    assert lines(replicas, "done") == []
    assert await standby.post("resolved", alertname="Slow") == 200
    await over(standby)
    assert len(lines(replicas, "begun")) == 2
    assert len(lines(replicas, "done")) == 1
    assert leader.alive


async def test_a_daemon_that_is_stopped_in_the_middle_of_an_act_never_goes_on(shared):
    replicas, _ = shared
    leader, standby = replicas.all["one"], replicas.all["two"]
    await leader.post("firing", alertname="Stopped")
    assert await asyncio.wait_for(leader.process.wait(), 20) == -signal.SIGKILL
    await until(standby.leads, 20, standby.said)
    assert await standby.post("resolved", alertname="Stopped") == 200
    await over(standby)
    assert len(lines(replicas, "done")) == 1

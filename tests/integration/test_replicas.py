"""Several daemons on one PostgreSQL: each takes notifications, one leads, and another one takes over within seconds."""

import asyncio
import os
import signal
import time

import aiohttp
import pytest
from tests.replicas import Replica, Replicas, until

RULES = """
rules:
  - name: mock
    match: alertname="Down"
    target: "{{{{ labels.shop }}}}"
    do:
      - flag: {{at: "env://{folder}/app.env", set: {{MODE: mock}}}}
    verify: []
    recovered:
      - {{exec: {{argv: ["/bin/true"]}}, every: 100ms}}
    hold: 300ms
    guard: {{cooldown: 1s, budget: 100/1h, budget_global: 100/1h}}
"""
ENV = "MODE=normal\n"
LOADED = "stopgap_config_last_reload_successful"
STORE = 'stopgap_dependency_up{dependency="store"}'


@pytest.fixture
async def replicas(postgres, tmp_path):
    (tmp_path / "app.env").write_text(ENV)
    async with Replicas(tmp_path, postgres.database().url, RULES.format(folder=tmp_path)) as replicas:
        yield replicas


def mode(replicas: Replicas) -> str:
    return (replicas.folder / "app.env").read_text()


async def phases(replica: Replica) -> list[str]:
    status, told = await replica.get("/api/v1/incidents")
    return [each["phase"] for each in told["incidents"]] if status == 200 else [str(told)]


async def reach(replica: Replica, *wanted: str) -> None:
    seen: list[list[str]] = []

    async def there() -> bool:
        seen.append(await phases(replica))
        return seen[-1] == list(wanted)

    await until(there, 20, lambda: f"{seen[-1]}\n{replica.said()}")


async def two(replicas: Replicas) -> tuple[Replica, Replica]:
    """Start two; return who leads and who stands by."""
    first = await replicas.start("one")
    assert await replicas.leader() is first
    return first, await replicas.start("two")


async def test_what_a_standby_takes_is_acted_upon_by_the_one_that_leads(replicas):
    leader, standby = await two(replicas)
    assert await standby.post("firing", alertname="Down", shop="a") == 200
    await reach(leader, "mitigated")
    assert mode(replicas) == "MODE=mock\n"
    assert await standby.post("resolved", alertname="Down", shop="a") == 200
    await reach(leader, "closed")
    assert mode(replicas) == ENV


async def test_a_standby_passes_on_what_people_ask_and_says_what_it_is(replicas):
    leader, standby = await two(replicas)
    await standby.post("firing", alertname="Down", shop="a")
    await reach(standby, "mitigated")
    (incident,) = (await standby.get("/api/v1/incidents"))[1]["incidents"]
    status, _ = await standby.order(f"/api/v1/incidents/{incident['id']}/revert", by="ada", why="enough")
    assert status == 200
    await until(lambda: asyncio.sleep(0, mode(replicas) == ENV), 10)
    status, told = await standby.get("/-/ready")
    assert (status, told["role"], told["leader"]) == (200, "standby", leader.url)
    status, told = await leader.get("/-/ready")
    assert (status, told["role"]) == (200, "leader")
    async with standby.session.get(f"{standby.url}/api/v1/incidents") as answer:
        assert answer.status == 401


async def test_another_one_takes_over_when_the_leader_is_killed_and_takes_back_what_that_one_held(replicas):
    leader, standby = await two(replicas)
    await leader.post("firing", alertname="Down", shop="a")
    await reach(leader, "mitigated")
    began = time.monotonic()
    await leader.end(signal.SIGKILL)
    assert await standby.post("resolved", alertname="Down", shop="a") == 200  # while nobody leads
    assert await replicas.leader() is standby
    assert time.monotonic() - began < 8
    await reach(standby, "closed")
    assert mode(replicas) == ENV


async def test_a_leader_that_is_stopped_hands_over_at_once(replicas):
    leader, standby = await two(replicas)
    began = time.monotonic()
    assert await leader.end(signal.SIGTERM) == 0
    assert await replicas.leader() is standby
    assert time.monotonic() - began < 4


async def test_who_is_stopped_as_it_wins_the_lead_leaves_it_to_others_at_once(postgres, tmp_path):
    base = postgres.database()
    async with Replicas(
        tmp_path, base.url, RULES.format(folder=tmp_path), STOPGAP_LEADER_TTL="1m"
    ) as replicas:
        await replicas.start("one")
        await (await replicas.leader()).end(signal.SIGTERM)
        with base.connect(base.name) as admin, admin.transaction():
            admin.execute("SELECT * FROM leader FOR UPDATE")  # whoever is about to win waits
            standby = await replicas.start("two")
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            await until(lambda: asyncio.sleep(0, base.rows(waits)), 10, standby.said)
            standby.send(signal.SIGTERM)
            await until(lambda: asyncio.sleep(0, "stopping" in standby.said()), 10, standby.said)
        assert await standby.end(signal.SIGTERM) == 0
        assert base.rows("SELECT epoch, until FROM leader") == [(2, 0)]


async def test_a_leader_that_slept_past_its_lease_stands_by_when_it_wakes(replicas):
    leader, standby = await two(replicas)
    await leader.post("firing", alertname="Down", shop="a")
    await reach(leader, "mitigated")
    leader.send(signal.SIGSTOP)
    await until(standby.leads, 15, standby.said)
    leader.send(signal.SIGCONT)

    async def stands_by() -> bool:
        try:
            status, told = await leader.get("/-/ready")
        except aiohttp.ClientError:  # it begins anew
            return False
        return status == 200 and told.get("role") == "standby"

    await until(stands_by, 15, leader.said)
    assert await leader.post("resolved", alertname="Down", shop="a") == 200
    await reach(standby, "closed")
    assert mode(replicas) == ENV
    assert await replicas.leader() is standby


async def test_a_restart_of_the_database_ends_no_daemon(replicas, postgres):
    leader, standby = await two(replicas)
    await leader.post("firing", alertname="Down", shop="a")
    await reach(leader, "mitigated")
    assert await number(standby, STORE) == 1
    postgres.stop()
    assert await standby.post("firing", alertname="Down", shop="b") == 503
    await until(lambda: is_down(standby), 20, standby.said)
    postgres.start()
    await replicas.leader(within=30)
    await until(lambda: taken(standby, "b"), 20)
    await until(lambda: taken(leader, "a", "resolved"), 20)
    await until(lambda: taken(leader, "b", "resolved"), 20)
    await reach(await replicas.leader(), "closed", "closed")
    assert mode(replicas) == ENV
    assert leader.alive
    assert standby.alive


async def taken(replica: Replica, shop: str, status: str = "firing") -> bool:
    return await replica.post(status, alertname="Down", shop=shop) == 200


async def test_daemons_that_share_a_database_need_one_control_token_for_all(replicas):
    replica = replicas.make("one", STOPGAP_CONTROL_TOKEN="")
    with pytest.raises(AssertionError, match=r"one control token|empty token"):
        await replica.start()
    assert os.WEXITSTATUS(replica.process.returncode << 8) == 2


async def test_signals_while_the_database_is_away_reload_nothing_and_end_it_in_order(replicas):
    replica = replicas.make("one", STOPGAP_DATABASE_URL="postgresql://a:b@127.0.0.1:1/c")
    start = asyncio.create_task(replica.start())
    await asyncio.sleep(0.1)
    await until(lambda: asyncio.sleep(0, "store_unavailable" in replica.said()), 20)
    for _ in range(
        15
    ):  # `systemctl reload`: systemd takes an end by SIGHUP for a wish, and starts nothing again
        replica.send(signal.SIGHUP)
        await asyncio.sleep(0.1)
    assert replica.alive, replica.said()
    start.cancel()
    assert await replica.end(signal.SIGTERM) == 0


async def test_a_standby_loads_its_own_rules_and_says_what_came_of_it(replicas):
    _, standby = await two(replicas)
    file = replicas.folder / "rules" / "shop.yaml"
    good = file.read_text()
    file.write_text("rules: [{name: x}]\n")
    assert (await standby.order("/-/reload"))[0] == 422
    assert await number(standby, LOADED) == 0
    file.write_text(good)
    assert (await standby.order("/-/reload"))[0] == 200
    assert await number(standby, LOADED) == 1


async def test_who_is_deposed_while_its_rules_are_wrong_waits_for_right_ones(replicas, postgres):
    leader, standby = await two(replicas)
    file = replicas.folder / "rules" / "shop.yaml"
    good = file.read_text()
    file.write_text("rules: [{name: x}]\n")
    assert (await leader.order("/-/reload"))[0] == 422  # the old ones stay in force
    leader.send(signal.SIGSTOP)
    await until(standby.leads, 15, standby.said)
    leader.send(signal.SIGCONT)
    await until(lambda: asyncio.sleep(0, "rule_error" in leader.said()), 15, leader.said)
    file.write_text(good)
    await until(lambda: taken(leader, "a", "resolved"), 20, leader.said)
    assert leader.alive


async def number(replica: Replica, name: str) -> float:
    async with replica.session.get(f"{replica.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(found.split()[1])


async def is_down(replica: Replica) -> bool:
    return await number(replica, STORE) == 0

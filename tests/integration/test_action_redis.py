"""What the action `redis` promises, on a real server: bounded verbs, whole or not at all, each key and setting taken back."""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import redis as client
from pydantic import SecretStr, ValidationError
from tests.integration.test_action_contract import NOW, through_the_store
from tests.servers import PASSWORD, Server, running_redis

from stopgap.action import Danger, Restored, Settled
from stopgap.actions import Redis
from stopgap.actions.redis_keys import SetKeys
from stopgap.errors import PermanentError, TemporaryError

REDIS = Redis(None)


@dataclass
class World:
    """A server, as somebody else sees it."""

    server: Server
    other: "client.Redis"

    @property
    def at(self) -> str:
        return f"redis://{self.server.address}/1"

    def params(self, **more: Any) -> Any:
        return REDIS.params(at=self.at, **more)

    def stock(self) -> dict[str, Any]:
        """Return all keys: value, and seconds that are left."""
        found = {}
        for key in sorted(self.other.keys()):
            kind = self.other.type(key)
            value = self.other.get(key) if kind == b"string" else self.other.dump(key)
            found[key.decode()] = (value, self.other.ttl(key))
        return found

    def policy(self) -> dict[str, str]:
        return self.other.config_get("maxmemory-policy", "maxmemory")


@pytest.fixture
def world(redis_server):
    other = client.Redis(port=redis_server.port, db=1, retry=None)
    other.flushdb()
    other.config_set("maxmemory-policy", "noeviction")
    other.config_set("maxmemory", "0")
    other.set("flag", b"\x00old")
    other.set("mortal", "x", ex=1000)
    other.rpush("queue", "a", "b")
    yield World(redis_server, other)
    other.close()


def config(world: World):
    return world.params(set_config={"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"})


def values(world: World):
    return world.params(set={"flag": "it's: new", "queue": "no list", "fresh": "1", "mortal": "y"})


def brief(world: World):
    return world.params(set={"flag": "new", "fresh": "1"}, ttl="5m")


def ends(world: World):
    return world.params(expire={"flag": "2m", "queue": "2m", "mortal": "1m", "absent": "1m"})


@dataclass
class Case:
    make: Callable[[World], Any]
    look: Callable[[World], Any]
    meddle: Callable[[World], Any]


CASES = {
    "config": Case(config, World.policy, lambda w: w.other.config_set("maxmemory-policy", "volatile-ttl")),
    "values": Case(values, World.stock, lambda w: w.other.set("flag", "theirs")),
    "brief": Case(brief, World.stock, lambda w: w.other.set("flag", "theirs")),
    "ends": Case(ends, World.stock, lambda w: w.other.rpush("queue", "c")),
}


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


async def acted(params):
    before = through_the_store(await REDIS.observe(params, NOW))
    return before, through_the_store(await REDIS.run(params, before, NOW))


async def test_taking_back_restores_what_was_there(world, case):
    old, params = case.look(world), case.make(world)
    before, receipt = await acted(params)
    assert case.look(world) != old
    answer = await REDIS.revert(params, before, receipt, NOW)
    assert (answer.result, bool(answer.detail)) == (Restored.REVERTED, True)
    assert case.look(world) == old
    assert (await REDIS.revert(params, before, receipt, NOW)).result is Restored.NOTHING


async def test_taking_back_without_a_receipt_restores_too(world, case):
    old, params = case.look(world), case.make(world)
    before, _ = await acted(params)
    await REDIS.revert(params, before, None, NOW)
    assert case.look(world) == old


async def test_acting_twice_with_one_key_is_acting_once(world, case):
    params = case.make(world)
    before, receipt = await acted(params)
    once = case.look(world)
    assert REDIS.idempotent(params)
    assert through_the_store(await REDIS.run(params, before, NOW)) == receipt
    assert case.look(world) == once


async def test_what_did_not_change_is_observed_alike_each_time(world, case):
    params = case.make(world)
    assert len({repr(await REDIS.observe(params, NOW)) for _ in range(20)}) == 1


async def test_an_unknown_outcome_is_settled_by_observing(world, case):
    params = case.make(world)
    before = through_the_store(await REDIS.observe(params, NOW))

    async def now():
        return through_the_store(await REDIS.observe(params, NOW))

    assert REDIS.settled(params, before, await now()) is Settled.NOT_DONE
    assert REDIS.settled_revert(params, before, await now()) is Settled.DONE
    receipt = await REDIS.run(params, before, NOW)
    assert REDIS.settled(params, before, await now()) is Settled.DONE
    assert REDIS.settled_revert(params, before, await now()) is Settled.NOT_DONE
    case.meddle(world)
    assert REDIS.settled(params, before, await now()) is Settled.UNCLEAR
    await REDIS.revert(params, before, receipt, NOW)


async def test_what_somebody_changed_meanwhile_is_left_alone_and_the_rest_is_not(world, case):
    params = case.make(world)
    before, receipt = await acted(params)
    case.meddle(world)
    theirs = case.look(world)
    answer = await REDIS.revert(params, before, receipt, NOW)
    assert (answer.result, answer.partly) == (Restored.DRIFTED, True)
    now = case.look(world)
    kept = "maxmemory-policy" if case is CASES["config"] else "queue" if case is CASES["ends"] else "flag"
    assert now[kept] == theirs[kept]
    assert now != theirs


async def test_what_changed_since_it_was_observed_is_not_overwritten(world, case):
    params = case.make(world)
    before = await REDIS.observe(params, NOW)
    case.meddle(world)
    theirs = case.look(world)
    with pytest.raises(TemporaryError, match="changed by somebody else"):
        await REDIS.run(params, before, NOW)
    assert case.look(world) == theirs


async def test_what_changes_in_the_very_moment_of_the_act_is_not_overwritten(world):
    class Raced(SetKeys):
        def stage(self, together, key):
            world.other.set("flag", "theirs")
            super().stage(together, key)

    verb = Raced({"flag": "ours", "fresh": "1"}, None)
    async with world.params(set={"flag": "ours"}).login.place.connect(None, 5) as connected:
        before = await verb.observe(connected)
        with pytest.raises(TemporaryError, match="at this moment"):
            await verb.run(connected, before)
    assert (world.other.get("flag"), world.other.get("fresh")) == (b"theirs", None)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.005, 0.02])
async def test_a_cancelled_act_is_whole_or_not_there(world, case, seconds):
    params = case.make(world)
    old = case.look(world)
    before, _ = await acted(params)
    done = case.look(world)
    await REDIS.revert(params, before, None, NOW)
    task = asyncio.create_task(REDIS.run(params, before, NOW))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await REDIS.observe(params, NOW)  # the server has heard all that was sent
    assert case.look(world) in (old, done)
    await REDIS.revert(params, before, None, NOW)
    assert case.look(world) == old


async def test_a_key_that_ended_as_we_let_it_comes_back(world):
    params = world.params(expire={"flag": "1s", "queue": "1s"})
    old = world.stock()
    before, receipt = await acted(params)
    world.other.pexpire("flag", 1)
    world.other.pexpire("queue", 1)
    for each in receipt.values():
        each["ends_at"] -= 2000  # as it is two seconds later
    while world.other.exists("flag", "queue"):
        await asyncio.sleep(0.002)
    assert (await REDIS.revert(params, before, receipt, NOW)).result is Restored.REVERTED
    assert world.stock() == old


async def test_a_server_before_redis_7_says_ends_to_the_second():
    with (
        running_redis("--rename-command", "PEXPIRETIME", "") as server,
        client.Redis(port=server.port) as other,
    ):
        other.set("mortal", "x", px=100_500)
        other.set("flag", "old")
        params = REDIS.params(at=f"redis://{server.address}/0", set={"mortal": "y", "flag": "z"}, ttl="5m")
        before, receipt = await acted(params)
        assert before["mortal"]["ends_at"] % 1000 == 0
        assert (await REDIS.revert(params, before, receipt, NOW)).result is Restored.REVERTED
        assert other.mget("mortal", "flag") == [b"x", b"old"]
        assert 98 <= other.ttl("mortal") <= 101
        assert other.ttl("flag") == -1


async def test_a_key_that_somebody_deleted_stays_deleted(world):
    params = values(world)
    before, receipt = await acted(params)
    world.other.delete("flag")
    assert (await REDIS.revert(params, before, receipt, NOW)).result is Restored.DRIFTED
    assert "flag" not in world.stock()


async def test_a_key_that_somebody_deleted_stays_deleted_though_nobody_knows_what_we_left(world):
    params = world.params(set={"flag": "new"})
    before, _ = await acted(params)
    world.other.delete("flag")
    assert (await REDIS.revert(params, before, None, NOW)).result is Restored.DRIFTED
    assert world.other.get("flag") is None


async def test_a_key_that_would_have_ended_meanwhile_is_deleted(world):
    world.other.set("brief", "x", px=150)
    params = world.params(set={"brief": "new"})
    before, receipt = await acted(params)
    before["brief"]["ends_at"] -= 2000
    await REDIS.revert(params, before, receipt, NOW)
    assert "brief" not in world.stock()


async def test_an_undo_that_is_too_large_is_refused(world):
    world.other.set("big", b"x" * 1_100_000)
    world.other.rpush("long", *(["x" * 1000] * 4000))
    for key in ("big", "long"):
        with pytest.raises(PermanentError, match="cannot be put back"):
            await REDIS.observe(world.params(set={key: "1"}), NOW)


# --- deleting ---


async def test_keys_of_a_pattern_are_deleted_and_no_others(world):
    world.other.mset({f"cache:{i}": "x" for i in range(1234)})
    old = {"flag", "mortal", "queue"}
    params = world.params(delete={"pattern": "cache:*", "max_keys": 2000})
    await REDIS.rehearse(params, NOW)
    assert len(world.stock()) == 1237
    assert await acted(params) == (None, None)
    assert set(world.stock()) == old
    assert await acted(params) == (None, None)
    assert not REDIS.reverts(params)
    assert REDIS.undo_by_hand(params, None) == "nothing"
    assert (await REDIS.revert(params, None, None, NOW)).result is Restored.NOTHING


async def test_more_keys_than_may_be_deleted_are_not_deleted_and_the_number_is_told(world):
    world.other.mset({f"cache:{i}": "x" for i in range(50)})
    params = world.params(delete={"pattern": "cache:*", "max_keys": 49})
    for act in (REDIS.run(params, None, NOW), REDIS.rehearse(params, NOW)):
        with pytest.raises(PermanentError, match="50 keys match cache:\\*, at most 49"):
            await act
    assert len(world.stock()) == 53


async def test_a_flush_is_destructive_and_of_one_database(world):
    neighbour = client.Redis(port=world.server.port, db=2)
    neighbour.set("theirs", 1)
    params = world.params(flushdb=True)
    assert REDIS.danger_of({"flushdb": True}) is REDIS.danger_of({"flushdb": "true"}) is Danger.DESTRUCTIVE
    assert REDIS.danger_of({"delete": {}}) is REDIS.danger_of({"flushdb": False}) is Danger.BOUNDED
    await REDIS.rehearse(params, NOW)
    assert world.stock()
    await acted(params)
    assert world.stock() == {}
    assert neighbour.get("theirs") == b"1"
    neighbour.close()


# --- what is said ---


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "write one of set_config"),
        ({"flushdb": True, "set": {"a": "1"}}, "write one of set_config"),
        ({"delete": {"pattern": "*", "max_keys": 5}}, "begins with characters"),
        ({"delete": {"pattern": "[ab]*", "max_keys": 5}}, "begins with characters"),
        ({"delete": {"pattern": "a*"}}, "Field required"),
        ({"delete": {"pattern": "a*", "max_keys": 100_001}}, "less than or equal"),
        ({"expire": {"a": "1ms"}}, "after 1s at least"),
        ({"set": {"a": "1"}, "ttl": "1ms"}, "at least 1s"),
        ({"flushdb": True, "ttl": "1m"}, "ttl is the time"),
        ({"set_config": {"maxmemory policy": "x"}}, "pattern"),
    ],
)
def test_what_is_wrong_is_said_at_once(given, said):
    with pytest.raises(ValidationError, match=said):
        REDIS.params(at="redis://127.0.0.1/0", **given)


@pytest.mark.parametrize(
    "at", ["redis://u:hunter2@h/0", "redis://h/x", "redis:///0", "redis://h/0?db=1", "env:///x"]
)
def test_what_is_no_redis_is_refused(at):
    with pytest.raises(ValidationError) as told:
        REDIS.params(at=at, flushdb=True)
    assert "hunter2" not in str(told.value).split("[type=")[0]


def test_words_name_what_changes_and_hide_secrets():
    at = "redis://app@cache.example.com/3"
    params = REDIS.params(at=at, set_config={"requirepass": SecretStr("hunter2"), "maxmemory": "1gb"})
    assert REDIS.describe(params) == ("in redis:cache.example.com:6379/3 set requirepass=***, maxmemory=1gb")
    assert REDIS.resource(params)[1] == "redis:cache.example.com:6379#maxmemory"
    said = REDIS.undo_by_hand(params, {"requirepass": "old secret", "maxmemory": "0"})
    assert said == "in redis:cache.example.com:6379/3: CONFIG SET requirepass *** maxmemory 0"
    params = REDIS.params(at=at, set={"a": SecretStr("hunter2"), "b": "x"})
    assert "hunter2" not in REDIS.describe(params)
    assert REDIS.resource(params) == ("redis:cache.example.com:6379/3#a", "redis:cache.example.com:6379/3#b")
    before = {"a": None, "b": {"type": "string", "value": "eA==", "ends_at": None}}
    assert REDIS.undo_by_hand(params, before).endswith("delete a; set b as before")
    hidden = REDIS.params(at=SecretStr("redis://:hunter2@cache.example.com/3"), set={"a": "1"})
    for text in (REDIS.describe(hidden), *REDIS.resource(hidden), repr(hidden)):
        assert "hunter2" not in text
        assert "cache.example.com" not in text


async def test_errors_tell_away_from_denied_and_hide_secrets(world):
    gone = REDIS.params(at="redis://127.0.0.1:1/0", password=SecretStr("hunter2"), set={"a": "1"})
    with pytest.raises(TemporaryError):
        await REDIS.run(gone, None, NOW)
    unknown = REDIS.params(at="redis://nowhere.invalid/0", set={"a": "1"})
    with pytest.raises(TemporaryError):
        await REDIS.observe(unknown, NOW)
    with pytest.raises(PermanentError, match="no setting nonsense"):
        await REDIS.observe(world.params(set_config={"nonsense": "1"}), NOW)
    wrong = world.params(set_config={"maxmemory-policy": SecretStr("hunter2")})
    with pytest.raises(PermanentError) as told:
        await acted(wrong)
    assert "hunter2" not in str(told.value)
    with running_redis("--requirepass", PASSWORD) as server:
        at = f"redis://{server.address}/0"
        for password in (None, SecretStr("hunter2")):
            with pytest.raises(PermanentError) as told:
                await REDIS.rehearse(REDIS.params(at=at, password=password, flushdb=True), NOW)
            assert "hunter2" not in str(told.value)
        by_socket = f"redis:///0?unix_socket={server.home / 'socket'}"
        await REDIS.rehearse(REDIS.params(at=by_socket, password=SecretStr(PASSWORD), flushdb=True), NOW)
        quoted = PASSWORD.replace("%", "%25").replace("@", "%40").replace("/", "%2F").replace(" ", "%20")
        await acted(REDIS.params(at=SecretStr(f"redis://:{quoted}@{server.address}/0"), set={"a": "1"}))


async def test_a_server_that_is_silent_does_not_hold_us():
    with running_redis() as server:
        params = REDIS.params(at=f"redis://{server.address}/0", set={"a": "1"})
        before = await REDIS.observe(params, NOW)
        with server.frozen():
            began = time.monotonic()
            with pytest.raises(TemporaryError):
                await REDIS.run(params, before, dataclasses.replace(NOW, timeout=timedelta(seconds=0.5)))
            assert time.monotonic() - began < 2

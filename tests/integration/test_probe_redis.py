"""The redis probe against a real server: each cell of its row in the table of verdicts."""

import os
import re
import resource
import socket
import time
from datetime import timedelta

import pytest
import redis as client
from pydantic import SecretStr, ValidationError
from tests.servers import PASSWORD, running_redis

from stopgap.errors import ProbeError
from stopgap.probe import Verdict
from stopgap.probes.redis import Redis, RedisParams

LONG, SHORT = timedelta(seconds=10), timedelta(milliseconds=300)


async def ask(at, timeout=LONG, **given):
    return await Redis(None).ask(RedisParams.model_validate({"at": at, **given}), timeout)


async def test_a_server_that_answers_is_healthy(redis_server):
    found = await ask(f"redis://{redis_server.address}/0")
    assert (found.verdict, found.why) == (Verdict.HEALTHY, f"redis:{redis_server.address}/0: answers")
    by_socket = await ask(f"redis:///0?unix_socket={redis_server.home / 'socket'}")
    assert by_socket.verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("info", "wanted", "verdict", "why"),
    [
        ("connected_clients", "> 0", "healthy", "connected_clients = 1, wanted > 0"),
        ("connected_clients", "> 9000", "unhealthy", "wanted > 9000"),
        ("rdb_last_bgsave_status", '== "ok"', "healthy", "= ok"),
        ("role", '== "slave"', "unhealthy", "role = master"),
        ("role", "== 1", "unknown", "not to be compared"),
        ("connected_clients", '== "1"', "unknown", "not to be compared"),
        ("nonsense", "== 1", "unknown", "nonsense is absent"),
        ("db0", "== 1", "unknown", ""),
    ],
)
async def test_a_field_is_judged(redis_server, info, wanted, verdict, why):
    found = await ask(f"redis://{redis_server.address}/0", info=info, **{"is": wanted})
    assert (found.verdict, why in found.why) == (verdict, True), found


async def test_memory_is_a_part_of_what_there_is():
    with running_redis("--maxmemory", "40mb") as server, client.Redis(port=server.port) as other:
        at = f"redis://{server.address}/0"
        low = await ask(at, info="used_memory_ratio", **{"is": "< 0.9"})
        other.set("big", b"x" * 5_000_000)
        other.config_set("maxmemory", int(other.info()["used_memory"] * 1.02))
        high = await ask(at, info="used_memory_ratio", **{"is": "< 0.9"})
        other.config_set("maxmemory", 0)
        roomy = await ask(at, info="used_memory_ratio", **{"is": "< 0.9"})
    assert [each.verdict for each in (low, high, roomy)] == ["healthy", "unhealthy", "healthy"], (
        low,
        high,
        roomy,
    )


async def test_refused_silent_and_away_are_unhealthy_and_denied_is_unknown():
    with running_redis("--requirepass", PASSWORD) as server:
        at = f"redis://{server.address}/0"
        assert (await ask(at, password=SecretStr(PASSWORD))).verdict is Verdict.HEALTHY
        for password in (None, SecretStr("hunter2")):
            denied = await ask(at, password=password)
            assert denied.verdict is Verdict.UNKNOWN, denied
            assert "hunter2" not in denied.why
        with server.frozen():
            began = time.monotonic()
            silent = await ask(at, SHORT, password=SecretStr(PASSWORD))
            assert silent.verdict is Verdict.UNHEALTHY
            assert time.monotonic() - began < 1.5
        server.stop()
        refused = await ask(at)
        assert refused.verdict is Verdict.UNHEALTHY
    with pytest.raises(ProbeError, match="does not resolve"):
        await ask("redis://nowhere.invalid/0")
    assert (await ask("redis:///0?unix_socket=/nowhere")).verdict is Verdict.UNHEALTHY


async def test_what_this_machine_lacks_says_nothing_of_the_server(redis_server):
    absent = await ask(f"rediss://{redis_server.address}/0?ssl_ca=/nowhere")
    assert absent.verdict is Verdict.UNKNOWN, absent
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    following = os.dup(0)
    os.close(following)
    resource.setrlimit(resource.RLIMIT_NOFILE, (following, limits[1]))
    try:
        lacking = await ask(f"redis://{redis_server.address}/0")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (lacking.verdict, "Too many open files" in lacking.why) == (Verdict.UNKNOWN, True), lacking


async def test_what_speaks_something_else_is_unhealthy():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        port = server.getsockname()[1]
        assert (await ask(f"redis://127.0.0.1:{port}/0", SHORT)).verdict is Verdict.UNHEALTHY


def test_a_field_and_its_condition_stand_together():
    for given in ({"info": "role"}, {"is": "== 1"}):
        with pytest.raises(ValidationError, match="write both, or neither"):
            RedisParams.model_validate({"at": "redis://h/0", **given})


def test_what_is_asked_is_described_without_secrets():
    secret = RedisParams.model_validate({"at": SecretStr("redis://:hunter2@h/0")})
    assert Redis(None).describe(secret) == "redis *** ping"
    plain = RedisParams.model_validate({"at": "redis://h/0", "info": "used_memory_ratio", "is": "< 0.9"})
    assert re.fullmatch(r"redis redis:h:6379/0 used_memory_ratio < 0\.9", Redis(None).describe(plain))

"""The lab's world as the shipped alerting rules see it: real supervisord, Prometheus, Alertmanager; no Stopgap."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from stopgap.demo.lab import Lab, until
from stopgap.demo.supervised import Program, Supervised

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("lab")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with Lab(monitoring=True) as running:
        yield running


async def fires(lab: Lab, *names: str, within: float = 40) -> bool:
    async def all_fire() -> bool:
        return set(names) <= await lab.firing()

    return await until(all_fire, within)


async def resolves(lab: Lab, *names: str, within: float = 40) -> bool:
    async def none_fires() -> bool:
        return not set(names) & await lab.firing()

    return await until(none_fires, within)


async def query(lab: Lab, expression: str) -> float:
    url = f"{lab.prometheus_url}/api/v1/query"
    async with aiohttp.ClientSession() as session, session.get(url, params={"query": expression}) as answer:
        result = (await answer.json())["data"]["result"]
    return float(result[0]["value"][1]) if result else float("nan")


async def status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


def set_env(lab: Lab, **values: str) -> None:
    """Edit the `.env` as a person would."""
    text = lab.env_path.read_text()
    for key, value in values.items():
        text, edits = re.subn(rf"^((?:export )?{key}=)\S+", rf"\g<1>{value}", text, flags=re.MULTILINE)
        assert edits == 1
    lab.env_path.write_text(text)


async def test_mock_mode_and_a_wider_limit_resolve_their_alerts_while_both_causes_last(lab: Lab) -> None:
    before = lab.env_bytes()
    former = await lab.hotel_mode()
    assert former["mode"] == "qloapps"
    await lab.break_pms()
    await lab.surge()
    assert await fires(lab, "PMSCircuitBreakerOpen", "RateLimitSpike")
    assert await status(f"{lab.url('hotel')}/health/ready") == 503

    set_env(lab, PMS_TYPE="mock", RATE_LIMIT_PER_MINUTE="300")
    assert (await lab.hotel_mode())["mode"] == "qloapps", "the file alone changes nothing"
    await lab.restart("hotel")
    mode = await lab.hotel_mode()
    assert (mode["mode"], mode["settings"]["RATE_LIMIT_PER_MINUTE"]) == ("mock", "300")
    assert await resolves(lab, "PMSCircuitBreakerOpen", "RateLimitSpike")
    assert await status(f"{lab.url('hotel')}/health/ready") == 200
    assert await query(lab, "max(pms_mock_mode)") == 1

    assert await status(f"{lab.url('pms')}/api/health") == 503, "the PMS is as dead as before"
    assert await query(lab, lab.vars["offered"]) > 10, "the guests are as many as before"
    await lab.heal_pms()
    await lab.calm()
    lab.env_path.write_bytes(before)
    await lab.restart("hotel")
    assert (await lab.hotel_mode())["settings"] == former["settings"]


async def test_a_slow_pms_hides_behind_the_cache_and_a_dead_database_comes_back_by_restart(lab: Lab) -> None:
    before = lab.env_bytes()
    await lab.slow_pms()
    await lab.kill_database()
    assert await fires(lab, "HighLatency", "DatabaseDown")
    await lab.restart("postgres")
    set_env(lab, PMS_CACHE_TTL_SECONDS="300", AUDIO_ENABLED="false")
    await lab.restart("hotel")
    assert await resolves(lab, "HighLatency", "DatabaseDown")
    assert await query(lab, lab.vars["pms_latency"]) > 3, "the PMS is as slow as before"

    await lab.speed_pms()
    lab.env_path.write_bytes(before)
    await lab.restart("hotel")

    async def fast() -> bool:
        return await query(lab, lab.vars["pms_latency"]) < 1

    assert await until(fast, 15)


async def test_a_hanging_database_is_ended_by_a_restart(lab: Lab) -> None:
    await lab.kill_database(hang=True)
    assert await fires(lab, "DatabaseDown")
    await lab.restart("postgres")
    assert await resolves(lab, "DatabaseDown")


async def test_the_understudy_tells_what_alertmanager_would(tmp_path: Path) -> None:
    heard: list[dict[str, object]] = []

    async def receive(request: aiohttp.web.Request) -> aiohttp.web.Response:
        assert request.headers["Authorization"] == f"Bearer {lab.token}"
        heard.append(await request.json())
        return aiohttp.web.Response()

    app = aiohttp.web.Application()
    app.router.add_post("/webhook", receive)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with Lab(tmp_path / "lab", webhook=f"http://127.0.0.1:{port}/webhook", monitoring=False) as lab:
            await lab.break_pms()
            assert await fires(lab, "PMSCircuitBreakerOpen")
            assert await query(lab, "max(pms_mock_mode)") == 0
            await lab.heal_pms()
            assert await resolves(lab, "PMSCircuitBreakerOpen")
    finally:
        await runner.cleanup()
    assert [body["status"] for body in heard] == ["firing", "resolved"]
    assert heard[0]["commonLabels"] == heard[1]["commonLabels"]
    assert (tmp_path / "lab" / "hotel.env").exists(), "a directory that was given is kept"


async def test_nothing_is_left_behind_when_whoever_runs_the_lab_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, json, sys\n"
        "from pathlib import Path\n"
        "from stopgap.demo.lab import Lab\n"
        "async def main():\n"
        "    async with Lab(Path(sys.argv[1]), monitoring=False) as lab:\n"
        "        print(json.dumps(await lab.pids()), flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "lab")], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        pids = json.loads(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
    assert {"hotel", "postgres", "pms", "guests"} <= set(pids)
    end = time.monotonic() + 15
    while (left := [pid for pid in pids.values() if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left


async def test_a_supervisord_that_hangs_is_ended_with_all_its_programs(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path, [Program("sleeper", (sys.executable, "-c", DEAF))])
    await supervised.start()

    async def runs() -> bool:
        try:
            return "sleeper" in await supervised.pids()
        except OSError:
            return False

    assert await until(runs, 15)
    pid = (await supervised.pids())["sleeper"]
    boss = int((tmp_path / "supervisord.pid").read_text())
    os.kill(boss, signal.SIGSTOP)
    await asyncio.wait_for(supervised.stop(within=1), 10)
    assert not alive(boss)
    assert await until(lambda: asyncio.to_thread(lambda: not alive(pid)), 5)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False

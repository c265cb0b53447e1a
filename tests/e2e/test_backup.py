"""The disk is lost, the backup is not: the restored daemon knows what it holds, and takes it back when that is over."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.prometheus_server import free_port

STOPGAP = Path(sys.executable).parent / "stopgap"
CALM = {"Authorization": "Bearer word"}
TARGETS = [f"shop-{n}" for n in range(6)]
RULES = """
rules:
  - name: mock
    match: alertname="Down"
    target: "{{{{ labels.instance }}}}"
    do:
      - flag: {{at: "env://{folder}/{{{{ target }}}}.env", set: {{MODE: mock}}}}
    recovered:
      - {{exec: {{argv: ["/bin/true"]}}, every: 100ms}}
    hold: 300ms
    guard: {{budget: 99/1h, budget_global: 99/1h, storm: {{targets: 99999/5m}}}}
  - name: tell
    match: alertname="Noise"
    target: "{{{{ labels.instance }}}}"
    ladder: []
    guard: {{storm: {{targets: 99999/5m}}}}
"""


class Site:
    """A daemon in a directory, and what it changes beside it."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.session = session
        self.process: asyncio.subprocess.Process | None = None
        (folder / "rules").mkdir()
        (folder / "rules" / "shop.yaml").write_text(RULES.format(folder=folder))
        for target in [*TARGETS, "late"]:
            (folder / f"{target}.env").write_text("MODE=normal\n")

    async def start(self, data: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STOPGAP_")}
        environ["STOPGAP_CONTROL_TOKEN"] = "word"
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(STOPGAP, "serve", "--rules", str(self.folder / "rules"), "--data", str(data)),
                *("--listen", f"127.0.0.1:{port}"),
                env=environ,
                stdout=log,
                stderr=log,
            )
        await self.comes(self.answers)

    async def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await asyncio.wait_for(self.process.wait(), 20)

    async def answers(self) -> bool:
        try:
            async with self.session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def comes(self, true: Callable[[], Awaitable[bool]], within: float = 20) -> None:
        end = asyncio.get_running_loop().time() + within
        while not await true():
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"{true}: {(self.folder / 'daemon.log').read_text()[-4000:]}")
            await asyncio.sleep(0.05)

    async def post(self, status: str, name: str, *instances: str) -> None:
        ends = "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-21T09:01:00Z"
        alerts = [
            {
                "status": status,
                "labels": {"alertname": name, "instance": instance},
                "annotations": {},
                "startsAt": "2026-11-21T09:00:00Z",
                "endsAt": ends,
            }
            for instance in instances
        ]
        body = {"version": "4", "receiver": "x", "groupKey": "{}", "status": status, "alerts": alerts}
        async with self.session.post(f"{self.url}/webhook", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def incidents(self, rule: str = "mock") -> dict[str, dict[str, Any]]:
        """Return the newest incident of each target."""
        url = f"{self.url}/api/v1/incidents?limit=1000&rule=shop/{rule}"
        async with self.session.get(url, headers=CALM) as answer:
            return {told["target"]: told for told in reversed((await answer.json())["incidents"])}

    def modes(self) -> set[str]:
        return {(self.folder / f"{target}.env").read_text() for target in TARGETS}


@pytest.fixture
async def site(tmp_path) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        site = Site(tmp_path, session)
        try:
            yield site
        finally:
            await site.end(signal.SIGKILL)


async def copied_while_alerts_stream_in(site: Site, data: Path) -> None:
    command = [str(STOPGAP), "backup", str(site.folder / "copy.db"), "--data", str(data)]
    run = asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=False)
    copying, sent = asyncio.create_task(run), 0
    while not copying.done():
        await site.post("firing", "Noise", f"noise-{sent}")
        sent += 1
        await asyncio.sleep(0.01)
    said = await copying
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"backup: {site.folder}/copy.db, ")
    assert sent > 0


async def on_a_new_disk(site: Site, data: Path, restored: Path) -> None:
    """Lose the machine with its disk; a new one gets the copy."""
    await site.end(signal.SIGKILL)
    shutil.rmtree(data)
    restored.mkdir(mode=0o700)
    (site.folder / "copy.db").rename(restored / "stopgap.db")
    brake = [str(STOPGAP), "brake", "on", "--data", str(restored), "--why", "restored"]
    said = await asyncio.to_thread(
        subprocess.run, brake, capture_output=True, text=True, timeout=30, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    await site.start(restored)


async def test_what_is_held_is_taken_back_by_the_daemon_of_a_restored_backup(site, tmp_path):
    async def all_are(phase: str, outcome: str | None, *targets: str) -> bool:
        found = await site.incidents()
        told = [found[target] for target in targets if target in found]
        return [(one["phase"], one["outcome"]) for one in told] == [(phase, outcome)] * len(targets)

    await site.start(tmp_path / "data")
    await site.post("firing", "Down", *TARGETS)
    await site.comes(partial(all_are, "mitigated", None, *TARGETS))
    held = {target: told["id"] for target, told in (await site.incidents()).items()}
    await site.post("firing", "Noise", "before")
    await copied_while_alerts_stream_in(site, tmp_path / "data")
    await site.post("firing", "Noise", "after")
    await site.post("firing", "Down", "late")
    await site.comes(partial(all_are, "mitigated", None, "late"))
    await on_a_new_disk(site, tmp_path / "data", tmp_path / "restored")

    # what was held is known and still held; what came after the copy is not
    assert {target: told["id"] for target, told in (await site.incidents()).items()} == held
    assert await all_are("mitigated", None, *TARGETS)
    assert site.modes() == {"MODE=mock\n"}
    noise = set(await site.incidents("tell"))
    assert "before" in noise
    assert "after" not in noise

    # Alertmanager repeats what fires, and says what is over
    await site.post("firing", "Noise", "after")
    assert "after" in await site.incidents("tell")
    await site.post("firing", "Down", *TARGETS)
    assert {target: told["id"] for target, told in (await site.incidents()).items()} == held
    await site.post("resolved", "Down", *TARGETS)
    await site.comes(partial(all_are, "recovering", None, *TARGETS))
    assert site.modes() == {"MODE=mock\n"}  # until somebody has looked, and takes the brake off
    async with site.session.delete(f"{site.url}/api/v1/brake?scope=global&by=me", headers=CALM) as answer:
        assert answer.status == 200, await answer.text()
    await site.comes(partial(all_are, "closed", "recovered", *TARGETS))
    assert site.modes() == {"MODE=normal\n"}
    assert (tmp_path / "late.env").read_text() == "MODE=mock\n"  # it waits for a person: see deploy/README.md
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "restored").glob("stopgap.db*")} == {0o600}
    await site.end()
    assert site.process is not None
    assert site.process.returncode == 0

"""Real Prometheus and Alertmanager for tests: started on free ports of 127.0.0.1, awaited until ready, ended by their pid.

```python
config = prometheus_config(scrape={"hotel": ["127.0.0.1:8000"]}, rules=[path], alertmanagers=[am.address], interval="200ms")
async with alertmanager(tmp_path, alertmanager_config(webhook_url)) as am, prometheus(tmp_path, config) as prom:
    ...
```

A missing Debian package is an error, never a skip.
"""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

READY_SECONDS = 30.0
END_SECONDS = 5.0
_TRIES = 3


@dataclass(slots=True)
class Server:
    """A running server: its address, its files, and how to end it."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    config: Path
    log: Path

    @property
    def address(self) -> str:
        """Return `127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Return the base URL."""
        return f"http://{self.address}"

    async def reload(self, config: Mapping[str, Any] | None = None) -> None:
        """Make it read its configuration again, after writing a new one if given."""
        if config is not None:
            write_config(self.config, config)
        timeout = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(f"{self.url}/-/reload") as response,
        ):
            if response.status != 200:
                raise RuntimeError(f"{self.name} refuses to reload: {await response.text()}")

    async def end(self, number: int = signal.SIGTERM) -> None:
        """End this process, and wait for it; SIGKILL when it does not listen."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            await asyncio.to_thread(self.process.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await asyncio.to_thread(self.process.wait, END_SECONDS)

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-4000:]


def prometheus_config(
    *,
    interval: str = "200ms",
    scrape: Mapping[str, Sequence[str]] | None = None,
    rules: Sequence[Path] = (),
    alertmanagers: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """Compose a configuration: `scrape` is addresses by job, `alertmanagers` addresses; `interval` scrapes and evaluates."""
    jobs = [
        {"job_name": job, "static_configs": [{"targets": list(to)}]} for job, to in (scrape or {}).items()
    ]
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": jobs,
        "rule_files": [str(path) for path in rules],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": list(alertmanagers)}], "timeout": "5s", "api_version": "v2"}
            ]
        },
        **more,
    }


def alertmanager_config(
    webhook_url: str,
    *,
    receiver: str = "stopgap",
    token: str | None = None,
    **route: Any,
) -> dict[str, Any]:
    """Compose a configuration with one webhook receiver that is told at once; `route` overrides keys of the route."""
    webhook: dict[str, Any] = {"url": webhook_url, "send_resolved": True}
    if token is not None:
        webhook["http_config"] = {"authorization": {"type": "Bearer", "credentials": token}}
    return {
        "route": {
            "receiver": receiver,
            "group_by": ["..."],
            "group_wait": "100ms",
            "group_interval": "1s",
            "repeat_interval": "1m",
            **route,
        },
        "receivers": [{"name": receiver, "webhook_configs": [webhook]}],
    }


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration: JSON is YAML."""
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


@asynccontextmanager
async def prometheus(
    directory: Path, config: Mapping[str, Any], *flags: str, resend_delay: str = "1s"
) -> AsyncIterator[Server]:
    """Run a Prometheus in `directory` (made if missing) until the block ends.

    It finds its targets and its Alertmanagers about 5 s after its start; an alert that fired before is sent again after
    `resend_delay` (a minute by default in the wild), and its end lies four times that delay ahead.
    """
    home = directory / "prometheus"
    command = [
        _command("prometheus", package="prometheus"),
        f"--config.file={home / 'config.yml'}",
        f"--storage.tsdb.path={home / 'tsdb'}",
        "--storage.tsdb.retention.time=1d",
        "--web.enable-lifecycle",
        f"--rules.alert.resend-delay={resend_delay}",
        *flags,
    ]
    async with _running("prometheus", home, config, command) as server:
        yield server


@asynccontextmanager
async def alertmanager(directory: Path, config: Mapping[str, Any], *flags: str) -> AsyncIterator[Server]:
    """Run an Alertmanager in `directory` (made if missing) until the block ends; without a cluster unless a flag says where."""
    home = directory / "alertmanager"
    command = [
        _command("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager"),
        f"--config.file={home / 'config.yml'}",
        f"--storage.path={home / 'storage'}",
        *(
            []
            if any(flag.startswith("--cluster.listen-address=") for flag in flags)
            else ["--cluster.listen-address="]
        ),
        *flags,
    ]
    async with _running("alertmanager", home, config, command) as server:
        yield server


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _command(*names: str, package: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise RuntimeError(
        f"{names[0]} is not installed, and this test needs the real one: apt-get install {package}"
    )


@asynccontextmanager
async def _running(
    name: str, home: Path, config: Mapping[str, Any], command: Sequence[str]
) -> AsyncIterator[Server]:
    home.mkdir(parents=True, exist_ok=True)
    write_config(home / "config.yml", config)
    server = await _started(name, home, command)
    try:
        yield server
    finally:
        await server.end()


async def _started(name: str, home: Path, command: Sequence[str]) -> Server:
    """Start and await readiness; another port when somebody else took this one meanwhile."""
    for _ in range(_TRIES):
        port = free_port()
        log = home / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=home,
            )
        server = Server(name, port, process, home / "config.yml", log)
        try:
            await _ready(server)
        except BaseException as error:
            await server.end(signal.SIGKILL)
            if isinstance(error, RuntimeError) and "address already in use" in server.said():
                continue
            raise
        return server
    raise RuntimeError(f"{name} found no free port in {_TRIES} tries")


async def _ready(server: Server) -> None:
    until = time.monotonic() + READY_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
        while time.monotonic() < until:
            if server.process.poll() is not None:
                raise RuntimeError(f"{server.name} ended at its start:\n{server.said()}")
            try:
                async with http.get(f"{server.url}/-/ready") as response:
                    if response.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"{server.name} was not ready within {READY_SECONDS:g} s:\n{server.said()}")

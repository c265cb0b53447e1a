"""Lab: the hotel and all that surrounds it as real processes, which can be broken, healed and left behind without a trace.

A real supervisord runs the hotel, its database, the booking system, the guests and, when they are installed, a real
Prometheus and a real Alertmanager that post to Stopgap. The alerting rules are the pack's own file; only its waits and
ranges are cut (`hasten`).
Where Prometheus and Alertmanager are missing, an `Understudy` plays their part. The lab prints nothing.
"""

import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xmlrpc.client import Fault

import aiohttp

import stopgap
from stopgap.demo.guests import CALM, SURGE
from stopgap.demo.monitoring import (
    alertmanager_argv,
    alertmanager_yml,
    hasten,
    prometheus_argv,
    prometheus_yml,
)
from stopgap.demo.supervised import LabError, Program, Supervised
from stopgap.demo.understudy import QUERIES, Understudy

HOST = "127.0.0.1"
SLOW = 3.6  # seconds: beyond the alert's 3 s, below the hotel's patience
_UP_WITHIN = 40.0
_PATIENCE = aiohttp.ClientTimeout(total=5)
_PORTS = ("daemon", "hotel", "postgres", "pms", "guests", "prometheus", "alertmanager")
_PORT_RANGE = range(20000, 32000)

ENV = """\
# Agente Hotel: read once, at start
ENVIRONMENT=demo

# Booking system: qloapps, or mock to make availability up
PMS_TYPE=qloapps            # never leave this on mock
PMS_BASE_URL="{pms}"
PMS_CACHE_TTL_SECONDS=0

DATABASE_URL='postgresql+asyncpg://agente_user:not-a-secret@{database}/agente_hotel'

export AUDIO_ENABLED=true
RATE_LIMIT_PER_MINUTE="120"
"""


def shipped_rules() -> Path:
    """Return the directory of the packs that ship: beside the package when installed, else the working tree's `rules`."""
    package = Path(stopgap.__file__).parent
    installed = package / "packs"
    return installed if installed.is_dir() else package.parents[1] / "rules"


class Lab:
    """The demo's world, as an asynchronous context manager.

    `directory` is kept when given, else made and removed again. `webhook` is where notifications go; by default to a port
    set aside for the daemon (`listen`). `monitoring` False lets the understudy play though the real ones are installed.
    """

    def __init__(
        self, directory: Path | None = None, *, webhook: str | None = None, monitoring: bool | None = None
    ) -> None:
        self.prometheus_binary = shutil.which("prometheus")
        self.alertmanager_binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        installed = bool(self.prometheus_binary and self.alertmanager_binary)
        self.real = installed if monitoring is None else monitoring
        if self.real and not installed:
            raise LabError("Prometheus and Alertmanager are not both installed")
        self._given = directory
        self._webhook = webhook
        self._stack = AsyncExitStack()
        self.token = secrets.token_urlsafe(24)
        self.understudy: Understudy | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring everything up and return when it answers. Raises LabError that names what did not."""
        try:
            self._lay_out()
            self._session = await self._stack.enter_async_context(aiohttp.ClientSession(timeout=_PATIENCE))
            self._stack.push_async_callback(self._supervised.stop)
            await self._supervised.start()
            await self._await_up()
            if not self.real:
                self.understudy = Understudy(self._targets(), self.webhook, self.token)
                listening = self.understudy.listening(HOST, self.ports["prometheus"])
                await self._stack.enter_async_context(listening)
        except BaseException:  # whatever ended the start, a cancellation too: half a lab is taken down again
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything in reverse; bounded; nothing is left but a directory that was given."""
        await self._stack.aclose()

    # -- what there is ------------------------------------------------------------------------------------------------

    def url(self, name: str) -> str:
        """Return `http://127.0.0.1:port` of `hotel`, `pms`, `guests`, `prometheus`, `alertmanager` or `daemon`."""
        return f"http://{HOST}:{self.ports[name]}"

    @property
    def listen(self) -> str:
        """Return the address set aside for the daemon: its `--listen`."""
        return f"{HOST}:{self.ports['daemon']}"

    @property
    def webhook(self) -> str:
        """Return where notifications go."""
        return self._webhook or f"{self.url('daemon')}/webhook"

    @property
    def prometheus_url(self) -> str:
        """Return where queries are answered: by Prometheus, else by the understudy."""
        return self.url("prometheus")

    @property
    def alertmanager_url(self) -> str | None:
        """Return Alertmanager's address; the understudy has none."""
        return self.url("alertmanager") if self.real else None

    @property
    def rules(self) -> Path:
        """Return the directory of rules, as shipped."""
        return shipped_rules()

    @property
    def supervisor_socket(self) -> Path:
        """Return supervisord's unix socket."""
        return self._supervised.socket

    def locator(self, program: str) -> str:
        """Return the locator of a supervised program."""
        return f"supervisor://{self.supervisor_socket}#{program}"

    @property
    def vars(self) -> dict[str, str]:
        """Return the pack's vars with which the shipped rules act on this lab, in seconds instead of minutes."""
        found = {
            "app": self.locator("hotel"),
            "config": f"env://{self.env_path}",
            "fleet": "fly://stopgap-demo",  # nothing here can be scaled; the first rungs help, so nothing is
            "memory_at": "fly://stopgap-demo",
            "database": self.locator("postgres"),
            "database_address": f"{HOST}:{self.ports['postgres']}",
            "url": self.url("hotel"),
            "pms_url": self.url("pms"),
            "latency_p95": "histogram_quantile(0.95, sum by (le) (rate(orchestration_latency_seconds_bucket[5s])))",
            "limiter_hits": "sum(rate(slowapi_limiter_hits_total[5s]))",
            "pms_latency": "histogram_quantile(0.95, sum by (le) (rate(pms_api_latency_seconds_bucket[5s])))",
            "offered": "sum(rate(guest_requests_total[5s]))",
            "cache_ttl_normal": "0",
            "hold": "4s",
            "max_hold": "10m",
            "cooldown": "1s",
            "budget": "1000/1h",  # the story is told until somebody ends it
            "budget_global": "1000/1h",
            "settle": "500ms",
            "within": "20s",
            "scraped": "2s",
            "windowed": "7s",
            "windowed_within": "30s",
            "every": "500ms",
            "recheck": "500ms",
        }
        return found if self.real else found | QUERIES

    def env_bytes(self) -> bytes:
        """Return the hotel's `.env` as it is on disk now."""
        return self.env_path.read_bytes()

    async def hotel_mode(self) -> dict[str, Any]:
        """Ask the hotel *process* by which settings it goes: `mode`, `settings`, `pid`, `started_at`. Raises LabError."""
        mode: dict[str, Any] = await self._json("GET", f"{self.url('hotel')}/api/mode")
        return mode

    async def firing(self) -> frozenset[str]:
        """Return the names of the alerts that fire, as Alertmanager (or the understudy) sees it."""
        if self.understudy is not None:
            return self.understudy.firing
        active = await self._json("GET", f"{self.url('alertmanager')}/api/v2/alerts?active=true")
        return frozenset(alert["labels"].get("alertname", "") for alert in active)

    async def pids(self) -> dict[str, int]:
        """Return program → process id of everything that runs."""
        return await self._supervised.pids()

    # -- what can be done to it ---------------------------------------------------------------------------------------

    async def break_pms(self) -> None:
        """Let the booking system answer 503 to everything."""
        await self._json("PUT", f"{self.url('pms')}/control", {"broken": True})

    async def heal_pms(self) -> None:
        """Let the booking system answer again."""
        await self._json("PUT", f"{self.url('pms')}/control", {"broken": False})

    async def slow_pms(self, seconds: float = SLOW) -> None:
        """Let the booking system take its time."""
        await self._json("PUT", f"{self.url('pms')}/control", {"delay": seconds})

    async def speed_pms(self) -> None:
        """Let the booking system answer at once."""
        await self.slow_pms(0.0)

    async def surge(self, rate: float = SURGE) -> None:
        """Let every guest send this many messages a second."""
        await self._json("PUT", f"{self.url('guests')}/control", {"rate": rate})

    async def calm(self) -> None:
        """Let the guests go back to a message now and then."""
        await self.surge(CALM)

    async def kill_database(self, *, hang: bool = False) -> None:
        """Kill the database, or let it hang: it stays away until it is restarted."""
        pid = (await self.pids()).get("postgres")
        if pid is not None:
            os.kill(pid, signal.SIGSTOP if hang else signal.SIGKILL)

    async def restart(self, program: str) -> None:
        """Restart a program as a person at `supervisorctl` would."""
        await self._supervised.restart(program)

    # -- how it is made -----------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        if self._given is None:
            made = tempfile.mkdtemp(prefix="stopgap-lab-")
            self._stack.callback(shutil.rmtree, made, ignore_errors=True)
            self.directory = Path(made).resolve()
        else:
            self._given.mkdir(parents=True, exist_ok=True)
            self.directory = self._given.resolve()
        self.ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self.env_path = self.directory / "hotel.env"
        database = f"{HOST}:{self.ports['postgres']}"
        self.env_path.write_text(ENV.format(pms=self.url("pms"), database=database), encoding="utf-8")
        self.token_file = self.directory / "webhook.token"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token, encoding="utf-8")
        if self.real:
            self._lay_out_monitoring()
        self._supervised = Supervised(self.directory, self._programs())

    def _lay_out_monitoring(self) -> None:
        alerts = (self.rules / "agente-hotel" / "alerts.yaml").read_text(encoding="utf-8")
        alertmanager = f"{HOST}:{self.ports['alertmanager']}"
        for name, text in {
            "alerts.yaml": hasten(alerts),
            "prometheus.yml": prometheus_yml(self._targets(), alertmanager),
            "alertmanager.yml": alertmanager_yml(self.webhook, self.token_file),
        }.items():
            (self.directory / name).write_text(text, encoding="utf-8")

    def _targets(self) -> dict[str, str]:
        return {
            "agente-hotel": f"{HOST}:{self.ports['hotel']}",
            "agente-hotel-pms": f"{HOST}:{self.ports['pms']}",
            "agente-hotel-guests": f"{HOST}:{self.ports['guests']}",
        }

    def _programs(self) -> list[Program]:
        def stand_in(name: str, *more: str) -> tuple[str, ...]:
            return (sys.executable, "-m", f"stopgap.demo.{name}", "--port", str(self.ports[name]), *more)

        programs = [
            Program("postgres", stand_in("postgres"), priority=10, again=False),
            Program("pms", stand_in("pms"), priority=10),
            Program("hotel", stand_in("hotel", "--env", str(self.env_path), "--recovery", "2"), priority=20),
            Program("guests", stand_in("guests", "--url", self.url("hotel")), priority=30),
        ]
        if self.real and self.prometheus_binary and self.alertmanager_binary:
            for name, argv, binary in (
                ("alertmanager", alertmanager_argv, self.alertmanager_binary),
                ("prometheus", prometheus_argv, self.prometheus_binary),
            ):
                address = f"{HOST}:{self.ports[name]}"
                programs.append(Program(name, argv(binary, self.directory, address), priority=5))
        return programs

    async def _await_up(self) -> None:
        up = {"hotel": "/health/ready", "pms": "/api/health", "guests": "/metrics"}
        if self.real:
            up |= {"prometheus": "/-/ready", "alertmanager": "/-/ready"}
        if not await until(self._supervisor_answers, _UP_WITHIN):
            raise LabError(f"supervisord did not come up:\n{self._supervised.tail('supervisord')}")
        for name, path in up.items():

            async def answers(address: str = self.url(name) + path) -> bool:
                return await self._answers(address)

            if not await until(answers, _UP_WITHIN):
                raise LabError(f"{name} did not come up:\n{self._supervised.tail(name)}")

    async def _supervisor_answers(self) -> bool:
        if not self._supervised.alive:
            raise LabError(f"supervisord ended:\n{self._supervised.tail('supervisord')}")
        try:
            await self.pids()
        except (OSError, Fault):
            return False
        return True

    async def _answers(self, address: str) -> bool:
        try:
            async with self._session.get(address) as answer:
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _json(self, method: str, address: str, body: object = None) -> Any:
        try:
            async with self._session.request(method, address, json=body) as answer:
                answer.raise_for_status()
                return json.loads(await answer.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise LabError(f"{method} {address}: {str(error) or type(error).__name__}") from error


async def until(true: Callable[[], Awaitable[bool]], within: float) -> bool:
    """Ask four times a second until the answer is yes; False when it was not within so many seconds."""
    end = time.monotonic() + within
    while not await true():
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(0.25)
    return True


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago; all are held until the last is found, so that no two are the same.

    They lie below the range that outgoing connections draw from: a program that restarts finds its port still free.
    """
    with ExitStack() as held:
        found: list[int] = []
        for port in random.sample(_PORT_RANGE, 1000):
            if len(found) == count:
                return found
            one = held.enter_context(socket.socket())
            with suppress(OSError):
                one.bind((HOST, port))
                found.append(port)
        raise LabError(f"no free ports on {HOST} between {_PORT_RANGE.start} and {_PORT_RANGE.stop}")

"""Street: things that break, a real Prometheus and real Alertmanagers that see it, and a real daemon that helps.

Between each Alertmanager and the daemon stands a relay, which can lose what it is given. People are told at the same place.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from tests import prometheus_server
from tests.e2e.harness import stopgap
from tests.prometheus_server import Server, free_port

from stopgap.demo.supervised import leash

Told = dict[str, Any]
HOST = "127.0.0.1"
RECEIVER = "stopgap"
QUICK = aiohttp.ClientTimeout(total=10)
PATIENCE = 45.0  # seconds, on a machine that does much else

ALERTS = """
groups:
  - name: street
    rules:
      - alert: Broken
        expr: street_broken == 1
        labels: {severity: critical}
"""

SITE = """
contacts: {default: {url_env: STOPGAP_CONTACT_DEFAULT}}
defaults: {guard: {budget: 100/1h, budget_global: 100/1h, storm: {targets: 100/5m}}}
"""

RULE = """
  - name: {name}
    match: ['alertname="Broken"', 'kind="{name}"']
    target: "{{{{ labels.thing }}}}"
    do:
      - exec:
          argv: [sh, "{effects}.sh", "{{{{ labels.thing }}}}", "on"]
          revert: [sh, "{effects}.sh", "{{{{ labels.thing }}}}", "off"]
    verify:
      - {{exec: {{argv: ["true"]}}, every: 200ms}}
    {recovered}
    hold: 1s
    unknown_for: 2s
"""

RECOVERED = {
    "plain": "",  # asks whether the alert is over
    "asking": 'recovered: [{promql: \'street_broken{thing="{{ labels.thing }}"}\', is: "== 0", after: 0s, every: 500ms}]',
    "looking": 'recovered: [{http: {url: "{{ vars.things }}/{{ labels.thing }}", status: 200}, every: 500ms}]',
}
"""The rules, by the label `kind` of the alerts that they take: how each asks whether the cause is gone."""


@dataclass
class Relay:
    """Hands on what it is given, or loses it with a friendly answer."""

    to: str = ""
    lossy: bool = False
    passed: list[bytes] = field(default_factory=list)
    lost: list[bytes] = field(default_factory=list)


class Square:
    """The place in this process: things and whether they are broken, relays by name, and people who are told."""

    def __init__(self) -> None:
        self.broken: dict[tuple[str, str], bool] = {}
        self.told: list[Told] = []
        self.relays: dict[str, Relay] = {}
        self._port = 0

    @property
    def address(self) -> str:
        return f"{HOST}:{self._port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer while inside."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/things/{thing}", self._thing)
        app.router.add_post("/relay/{name}/{path:.*}", self._relay)
        app.router.add_post("/people", self._tell)
        app.router.add_post("/people/", self._tell)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            self._port = runner.addresses[0][1]
            async with aiohttp.ClientSession(timeout=QUICK) as self._session:
                yield
        finally:
            await runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = (
            f'street_broken{{thing="{thing}",kind="{kind}"}} {int(broken)}'
            for (thing, kind), broken in self.broken.items()
        )
        return web.Response(text="\n".join(lines) + "\n")

    async def _thing(self, request: web.Request) -> web.Response:
        broken = any(
            is_so for (thing, _), is_so in self.broken.items() if thing == request.match_info["thing"]
        )
        return web.Response(status=503 if broken else 200)

    async def _relay(self, request: web.Request) -> web.Response:
        relay, body = self.relays[request.match_info["name"]], await request.read()
        if relay.lossy:
            relay.lost.append(body)
            return web.Response()
        relay.passed.append(body)
        return web.Response(status=await self.post(f"{relay.to}/{request.match_info['path']}", body))

    async def post(self, url: str, body: bytes) -> int:
        """Post a body as it is; 502 when nobody listens."""
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 502

    async def _tell(self, request: web.Request) -> web.Response:
        self.told.append(await request.json())
        return web.Response()


class Daemon:
    """A real `stopgap serve` with a directory that outlives it."""

    def __init__(self, home: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.home, self.data, self.log = home, home / "data", home / "daemon.log"
        self.listen = f"{HOST}:{free_port()}"
        self.url = f"http://{self.listen}"
        self._arguments, self._environment = arguments, environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and return when it takes notifications."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STOPGAP_")}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*leash(), sys.executable, "-m", "stopgap", "serve", "--rules", str(self.home / "rules")),
                *("--data", str(self.data), "--listen", self.listen, *self._arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean | dict(self._environment),
            )
        await comes("a daemon that is ready", self._ready, self.tail)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal, and wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask its API with the control token."""
        token = (self.data / "control.token").read_text().strip()
        async with (
            aiohttp.ClientSession(timeout=QUICK, headers={"Authorization": f"Bearer {token}"}) as session,
            session.request(method, self.url + path, json=body) as answer,
        ):
            assert answer.ok, await answer.text()
            return await answer.json()

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.tail()
        try:
            async with (
                aiohttp.ClientSession(timeout=QUICK) as session,
                session.get(f"{self.url}/-/ready") as answer,
            ):
                return answer.ok
        except aiohttp.ClientError:
            return False

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


@dataclass
class Street:
    """All of it; `alertmanagers` are one or several that know each other."""

    square: Square
    daemon: Daemon
    prometheus: Server
    alertmanagers: list[Server]
    effects_file: Path

    def breaks(self, thing: str, kind: str = "plain") -> None:
        self.square.broken[thing, kind] = True

    def mends(self, thing: str, kind: str = "plain") -> None:
        self.square.broken[thing, kind] = False

    def effects(self, thing: str) -> list[str]:
        """Return what was really done to a thing, in order: `on`, `off`."""
        lines = self.effects_file.read_text().splitlines() if self.effects_file.exists() else []
        return [what for name, _, what in (line.partition(" ") for line in lines) if name == thing]

    async def incidents(self, thing: str) -> list[Told]:
        """Return all incidents of a thing with their timelines, oldest first."""
        rows = (await self.daemon.ask(f"/api/v1/incidents?target={thing}"))["incidents"]
        return [await self.daemon.ask(f"/api/v1/incidents/{row['id']}") for row in reversed(rows)]

    async def incident(self, thing: str) -> Told:
        """Return the only incident that a thing ever had."""
        (told,) = await self.incidents(thing)
        return told

    async def reaches(
        self, thing: str, phase: str, reason: str | None = None, within: float = PATIENCE
    ) -> Told:
        """Wait until the newest incident of a thing is in a phase (for a reason), and return it."""
        found: list[Told] = []

        async def is_there() -> bool:
            found[:] = await self.incidents(thing)
            newest = found[-1] if found else {}
            return newest.get("phase") == phase and reason in (None, newest["reason"])

        wanted = f"{thing} {phase} {reason or ''}"
        await comes(wanted, is_there, lambda: "\n".join([*map(outline, found), self.daemon.tail()]), within)
        return found[-1]

    def sent(self, thing: str, *whence: int, lost: bool | None = None) -> list[str]:
        """Return what Alertmanagers sent of a thing, each message's status: that came, that was lost, or all."""
        found = []
        for i in whence or range(len(self.alertmanagers)):
            relay = self.square.relays[f"from{i}"]
            bodies = {None: relay.passed + relay.lost, False: relay.passed, True: relay.lost}[lost]
            alerts = (alert for body in bodies for alert in json.loads(body)["alerts"])
            found += [alert["status"] for alert in alerts if alert["labels"]["thing"] == thing]
        return found

    def loses(self, lossy: bool) -> None:  # noqa: FBT001 - a switch
        """Let the way from Alertmanagers to the daemon lose all messages, with a friendly answer, or none."""
        for i, _ in enumerate(self.alertmanagers):
            self.square.relays[f"from{i}"].lossy = lossy

    def about(self, thing: str) -> list[str]:
        """Return the titles of what people were told of a thing."""
        return [told["title"] for told in self.square.told if f" on {thing}:" in told["title"]]

    async def cli(self, *arguments: str) -> None:
        """Run `stopgap` as a person does who was given address and token."""
        token = str(self.daemon.data / "control.token")
        ours = {"STOPGAP_URL": self.daemon.url, "STOPGAP_CONTROL_TOKEN_FILE": token}
        ended = await asyncio.to_thread(stopgap, *arguments, environment=ours)
        assert ended.returncode == 0, ended.stderr

    async def listed(self, thing: str, at: Server | None = None) -> list[Told]:
        """Return what an Alertmanager has of a thing's alerts."""
        server = at or self.alertmanagers[0]
        found: list[Told] = await call("GET", f"{server.url}/api/v2/alerts?filter=thing={thing}")
        return found

    async def silence(self, thing: str) -> str:
        """Silence a thing's alert as a person does; returns the silence's id."""
        now = time.time()
        body = {
            "matchers": [{"name": "thing", "value": thing, "isRegex": False, "isEqual": True}],
            "startsAt": _instant(now),
            "endsAt": _instant(now + 3600),
            "createdBy": "ann",
            "comment": "looking at it",
        }
        made: Told = await call("POST", f"{self.alertmanagers[0].url}/api/v2/silences", body)
        return str(made["silenceID"])

    async def polls(self, times: int = 2) -> None:
        """Let the daemon poll so many times."""
        await asyncio.sleep(times * 1.1)


def _instant(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def outline(told: Told) -> str:
    """Return an incident in a few lines."""
    lines = [
        f"  {line['at'][11:23]} {line['event']} {line.get('by', '')} {line.get('reason', '')} {line.get('why', '')}"
        for line in told["timeline"]
    ]
    return "\n".join([f"{told['id']} {told['target']}: {told['phase']} {told['reason'] or ''}", *lines])


def events(told: Told) -> list[str]:
    return [line["event"] for line in told["timeline"]]


def told_by(told: Told, event: str) -> list[str | None]:
    """Return who told of each event of a kind; None is a webhook."""
    return [line.get("by") for line in told["timeline"] if line["event"] == event]


async def call(method: str, url: str, body: object = None) -> Any:
    """Ask any HTTP API."""
    async with (
        aiohttp.ClientSession(timeout=QUICK) as session,
        session.request(method, url, json=body) as answer,
    ):
        assert answer.ok, await answer.text()
        return await answer.json() if "json" in answer.content_type else None


async def comes(
    what: str, true: Callable[[], Awaitable[object]], tell: Callable[[], str] = str, within: float = PATIENCE
) -> None:
    """Wait until something is true."""
    end = time.monotonic() + within
    while not await true():
        assert time.monotonic() < end, f"no {what} within {within} s\n{tell()}"
        await asyncio.sleep(0.1)


def lay_out(home: Path) -> Path:
    """Write the daemon's rules; returns the file in which its acts leave their traces."""
    rules, effects = home / "rules", home / "effects"
    rules.mkdir(parents=True)
    (home / "effects.sh").write_text(f'echo "$1 $2" >> {effects}\n')
    (rules / "site.yaml").write_text(SITE)
    written = (RULE.format(name=name, effects=effects, recovered=how) for name, how in RECOVERED.items())
    (rules / "street.yaml").write_text("rules:\n" + "".join(written))
    return effects


@asynccontextmanager
async def street(home: Path, *, alertmanagers: int = 1, resend_delay: str = "1s") -> AsyncIterator[Street]:
    """Set all up in a directory, and take it down again."""
    effects = lay_out(home)
    (home / "alerts.yml").write_text(ALERTS)
    async with AsyncExitStack() as stack:
        square = Square()
        await stack.enter_async_context(square.open())
        servers = [
            await stack.enter_async_context(one) for one in _alertmanagers(home, square, alertmanagers)
        ]
        prometheus = await stack.enter_async_context(_prometheus(home, square, servers, resend_delay))
        daemon = Daemon(
            home,
            [
                *("--prometheus", prometheus.url, "--receiver", RECEIVER, "--poll-every", "1s"),
                *(word for server in servers for word in ("--alertmanager", server.url)),
                *("--var", f"things=http://{square.address}/things"),
            ],
            {
                "STOPGAP_CONTACT_DEFAULT": f"json://{square.address}/people",
                "STOPGAP_RESEND_DELAY": resend_delay,
            },
        )
        for i, _ in enumerate(servers):
            square.relays[f"from{i}"].to = daemon.url
        stack.push_async_callback(daemon.stop)
        await daemon.start()
        there = Street(square, daemon, prometheus, servers, effects)
        await comes("scrape", lambda: _scraped(there))
        yield there


def _alertmanagers(home: Path, square: Square, count: int) -> list[AbstractAsyncContextManager[Server]]:
    ports = [free_port() for _ in range(count)]
    found = []
    for i, port in enumerate(ports):
        square.relays[f"from{i}"] = Relay()
        config = prometheus_server.alertmanager_config(
            f"http://{square.address}/relay/from{i}/webhook",
            receiver=RECEIVER,
            group_wait="0s",
            repeat_interval="1h",
        )
        cluster = [
            f"--cluster.listen-address={HOST}:{port}",
            "--cluster.peer-timeout=3s",
            *(f"--cluster.peer={HOST}:{other}" for other in ports if other != port),
        ]
        flags = cluster if count > 1 else []
        found.append(prometheus_server.alertmanager(home / f"am{i}", config, *flags))
    return found


def _prometheus(
    home: Path, square: Square, alertmanagers: Sequence[Server], resend_delay: str
) -> AbstractAsyncContextManager[Server]:
    for i, server in enumerate(alertmanagers):
        square.relays[f"to{i}"] = Relay(server.url)
    reached = [
        {
            "static_configs": [{"targets": [square.address]}],
            "path_prefix": f"/relay/to{i}",
            "timeout": "500ms",
        }
        for i, _ in enumerate(alertmanagers)
    ]
    config = prometheus_server.prometheus_config(
        scrape={"street": [square.address]},
        rules=[home / "alerts.yml"],
        alerting={"alertmanagers": reached},
    )
    return prometheus_server.prometheus(home, config, resend_delay=resend_delay)


async def _scraped(there: Street) -> bool:
    """Tell whether Prometheus scrapes, and knows all Alertmanagers."""
    up = (await call("GET", f"{there.prometheus.url}/api/v1/query?query=up"))["data"]["result"]
    known = (await call("GET", f"{there.prometheus.url}/api/v1/alertmanagers"))["data"]["activeAlertmanagers"]
    return bool(up) and len(known) == len(there.alertmanagers)

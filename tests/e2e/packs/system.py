"""System: what a pack looks after, made of real parts below one folder: a stand-in and its exporters under a real supervisord."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.doubles.installed import Doubles
from tests.e2e.street import call
from tests.prometheus_server import free_port

from stopgap.demo.supervised import Program, Supervised

ROOT = Path(__file__).resolve().parents[3]
HOST = "127.0.0.1"


class System:
    """One system. Subclasses lay out its parts (`lay_out`), name its vars, and say how its parts are (`state`)."""

    pack: ClassVar[str]
    standin: ClassVar[str]  # module below tests.standins
    jobs: ClassVar[tuple[str, ...]] = ()  # of the exporters; the app's own job is the pack's name
    env_text: ClassVar[str] = ""
    beside: ClassVar[bool] = (
        False  # all other packs are loaded beside its own: once is enough, they are rehearsed at the start
    )
    pending: ClassVar[str] = (
        "0s"  # how long alerts wait: where a restart would fire one, longer than it takes
    )
    lasting: ClassVar[str] = (
        "5s"  # and how long they last beyond their cause: until the probes have seen that it helped
    )

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env_path = home / ".env"
        self.port, self.exporters = free_port(), free_port()
        self.parts: dict[str, object] = {}
        self.environment: dict[str, str] = {}  # of the daemon
        self.supervised = Supervised(home, ())
        self.alertmanager = ""  # its URL, once there is one
        self.asked_at = datetime.now(UTC)
        self.stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def app(self) -> str:
        """Return the app's locator."""
        return f"supervisor://{self.supervised.socket}#app"

    @property
    def vars(self) -> Mapping[str, str]:
        """Return the pack's vars that lead to the parts."""
        return {"app": self.app, "url": self.url}

    async def lay_out(self) -> None:
        """Make the parts; `stack` takes what is to be undone at the end."""

    async def state(self) -> dict[str, object]:
        """Return how the parts are, by name."""
        return {"env": self.env_path.read_bytes(), "running": set(await self.pids())}

    def scrapes(self) -> list[dict[str, Any]]:
        """Return Prometheus' jobs."""
        of_app = {"job_name": self.pack, "static_configs": [{"targets": [f"{HOST}:{self.port}"]}]}
        beside = [
            {
                "job_name": job,
                "metrics_path": f"/metrics/{job}",
                "static_configs": [{"targets": [f"{HOST}:{self.exporters}"]}],
            }
            for job in self.jobs
        ]
        return [of_app, *beside]

    # -- what can be done to it ---------------------------------------------------------------------------------------

    def breaks(self, **faults: float) -> None:
        """Set switches, beside those that are set; 0 is well."""
        path = self.home / "faults.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(found | faults))
        fresh.replace(path)  # at once: the stand-in looks at any time

    async def asks_for(self, alert: str, *, over: bool = False, **labels: str) -> None:
        """Raise an alert as a person does with amtool, or end it."""
        now = datetime.now(UTC)
        said = {
            "labels": {"alertname": alert, "job": self.pack, "severity": "high", **labels},
            "startsAt": self.asked_at.isoformat(),
            "endsAt": (now if over else now + timedelta(hours=1)).isoformat(),
        }
        await call("POST", f"{self.alertmanager}/api/v2/alerts", [said])

    def env(self) -> dict[str, str]:
        """Return the settings as they are on disk."""
        lines = (line.partition("=") for line in self.env_path.read_text().splitlines())
        return {key: value for key, equals, value in lines if equals and not key.startswith("#")}

    def doubles(self) -> Doubles:
        """Put the doubles of tools first on the daemon's PATH."""
        return Doubles(self.home / "bin", _Environment(self.environment))

    # -- its life -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        async with self.stack:
            self.env_path.write_text(self.env_text)
            self.breaks()
            await self.lay_out()
            (self.home / "parts.json").write_text(json.dumps({"url": self.url, **self.parts}))
            self.supervised = Supervised(self.home, self.programs())
            self.stack.push_async_callback(self.supervised.stop)
            await self.supervised.start()
            yield self

    def programs(self) -> list[Program]:
        """Return what supervisord runs."""
        run = ("env", f"PYTHONPATH={ROOT}{os.pathsep}{ROOT / 'daemon'}", sys.executable, "-m")
        module = (f"tests.standins.{self.standin}", str(self.home))
        return [
            Program("app", (*run, *module, str(self.port))),
            Program("exporters", (*run, *module, str(self.exporters), "exporters")),
        ]

    async def pids(self) -> dict[str, int]:
        """Return program → process id of what runs."""
        return await self.supervised.pids()


class _Environment:
    """What the doubles need of pytest's monkeypatch."""

    def __init__(self, found: dict[str, str]) -> None:
        self._found = found

    def setenv(self, name: str, value: str, prepend: str | None = None) -> None:
        self._found[name] = f"{value}{prepend}{os.environ.get(name, '')}" if prepend else value

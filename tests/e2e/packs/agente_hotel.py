"""Agente Hotel: an env file, a real nginx in front, a real Redis, and machines that are containers of Compose (its double)."""

import os
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Mapping

from tests.doubles.installed import container
from tests.e2e.packs.case import Case
from tests.e2e.packs.system import HOST, System
from tests.prometheus_server import free_port
from tests.servers import running_nginx

from stopgap.demo.supervised import Program

CLIENT = "203.0.113.66"
SITE = """
    set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
    server {{ listen PORT; include HOME/blocked[.]conf; location / {{ proxy_pass {url}; }} }}
"""
ENV = """\
# read at start
PMS_TYPE=qloapps
export RATE_LIMIT_PER_MINUTE=120   # of each machine
CACHE_ENABLED=true
"""


class AgenteHotel(System):
    """The hotel."""

    pack = "agente-hotel"
    standin = "hotel"
    jobs = ("agente-hotel-nginx", "agente-hotel-accesslog", "agente-hotel-redis")
    pending = "3s"  # who is refused must show, too, before it is asked which rung is right
    lasting = "7s"
    env_text = ENV

    async def lay_out(self) -> None:
        """Run one machine, and nginx in front of it."""
        self.redis_port = free_port()
        self.nginx = self.stack.enter_context(running_nginx(SITE.format(url=self.url)))
        (self.nginx.home / "blocked.conf").write_text("# kept out\n")
        self.nginx.stop()
        self.nginx.start()
        self.tools = self.doubles()
        folder = str(self.home / "compose")
        self.tools.change(
            "docker",
            {
                "folder": folder,
                "files": [f"{folder}/compose.yml"],
                "containers": [container("ab", "api", folder)],
            },
        )
        self.parts |= {
            "docker": str(self.tools.folder / "docker.json"),
            "nginx": self.nginx.url,
            "redis": self.redis_url,
            "client": CLIENT,
        }

    @property
    def redis_url(self) -> str:
        """Return where Redis is."""
        return f"redis://{HOST}:{self.redis_port}/0"

    @property
    def vars(self) -> Mapping[str, str]:
        """Lead the pack to the parts."""
        return {
            "app": self.app,
            "config": f"env://{self.env_path}",
            "fleet": "compose://bookgen/api",
            "url": self.url,
            "redis": f"supervisor://{self.supervised.socket}#redis",
            "redis_url": self.redis_url,
            "blocklist": f"nginx://{self.nginx.home}/blocked.conf#{self.nginx.home}/nginx.conf",
            "within": "4s",
            "windowed_within": "8s",
        }

    def programs(self) -> list[Program]:
        """Run Redis, too; when it dies it stays dead."""
        server = shutil.which("redis-server")
        assert server, "redis-server is not installed: apt-get install redis-server"
        argv = (server, "--bind", HOST, "--port", str(self.redis_port), "--save", "", "--appendonly", "no")
        return [*super().programs(), Program("redis", argv, again=False)]

    def machines(self) -> int:
        """Count the machines that run."""
        return len(self.tools.state("docker")["containers"])

    def status(self, address: str) -> int:
        """Return what nginx answers to somebody from an address."""
        asking = urllib.request.Request(f"{self.nginx.url}/health/live", headers={"X-Forwarded-For": address})
        try:
            with urllib.request.urlopen(asking, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    async def redis_dies(self) -> None:
        """Kill Redis."""
        os.kill((await self.pids())["redis"], signal.SIGKILL)

    async def state(self) -> dict[str, object]:
        """Say how the parts are."""
        return {
            **await super().state(),
            "machines": self.machines(),
            "blocked": (self.nginx.home / "blocked.conf").read_text(),
            "let in": self.status(CLIENT) != 403,  # the hotel itself may be at its start
        }


def _wider_and_more(system: AgenteHotel) -> None:
    assert system.env()["export RATE_LIMIT_PER_MINUTE"].split()[0] == "300"
    assert system.machines() == 3


def _is_kept_out(system: AgenteHotel) -> None:
    assert (system.status(CLIENT), system.status("203.0.113.67")) == (403, 200)
    assert system.env()["export RATE_LIMIT_PER_MINUTE"].split()[0] == "120"


async def _redis_is_back(system: AgenteHotel) -> None:
    assert "redis" in await system.pids()


CASES = (
    Case(  # before the other: what comes soon after starts with what held, and there is nobody to block then
        "agente-hotel",
        "traffic-headroom",
        "block-nginx",
        steps=("block", "restart"),
        begin=lambda system: system.breaks(client=40),
        held=_is_kept_out,
        end=lambda system: system.breaks(client=0),
        told={"oncall"},
    ),
    Case(
        "agente-hotel",
        "traffic-headroom",
        "flag-scale",
        steps=("flag", "restart", "scale"),
        begin=lambda system: system.breaks(traffic=22),
        held=_wider_and_more,
        end=lambda system: system.breaks(traffic=1),
        told={"oncall"},
    ),
    Case(
        "agente-hotel",
        "redis-relief",
        "flag-restart",
        steps=("flag", "restart", "restart"),
        begin=AgenteHotel.redis_dies,
        held=_redis_is_back,
        told={"oncall"},
    ),
)

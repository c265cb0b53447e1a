"""AskProAI: a real nginx in front of the API, a real Redis that can be full, and Cloudflare (its double)."""

import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.doubles.cloudflare import USERS_TOKEN, ZONE, running_cloudflare
from tests.e2e.packs.case import Case
from tests.e2e.packs.system import System
from tests.servers import running_nginx, running_redis

CLIENT = "192.0.2.66"
MEMORY = 6_000_000  # bytes that Redis may take
SITE = """
    include HOME/limits.con[f];
    server {{ listen PORT; location / {{ proxy_pass {url}; proxy_set_header Host $host; }} }}
"""


class AskProAI(System):
    """The API."""

    pack = "askproai"
    standin = "askproai"
    jobs = ("askproai-health", "askproai-cloudflare", "askproai-nginx", "askproai-nginxlog", "askproai-redis")

    @property
    def vars(self) -> Mapping[str, str]:
        """Lead the pack to the parts."""
        home = self.nginx.home
        return {
            "fpm": self.app,
            "url": self.nginx.url,
            "primary": self.nginx.url,
            "redis_at": f"redis://{self.redis.address}/0",
            "redis_cache": f"redis://{self.redis.address}/1",
            "limits_link": f"{home}/limits.conf",
            "limits_flood": f"{home}/flood.limits",
            "limits_normal": f"{home}/normal.limits",
            "nginx_reload": f"nginx://{home}/blocked.conf#{home}/nginx.conf",
            "zone": "cloudflare://example.com",
            "blocklist": "cloudflare://example.com",
            "record": "api.example.com",
            "php": str(self.home / "php"),
            "flood_hold": "1s",
            "block_hold": "1s",
            "within": "4s",
            "windowed_within": "5s",
        }

    async def lay_out(self) -> None:
        """Run nginx and Redis, and reach Cloudflare."""
        self.nginx = self.stack.enter_context(running_nginx(SITE.format(url=self.url)))
        for name in ("normal", "flood"):
            (self.nginx.home / f"{name}.limits").write_text(f"add_header X-Limits {name} always;\n")
        (self.nginx.home / "blocked.conf").write_text("# kept out\n")
        (self.nginx.home / "limits.conf").symlink_to(self.nginx.home / "normal.limits")
        self.nginx.stop()
        self.nginx.start()
        self.redis = self.stack.enter_context(running_redis("--maxmemory", str(MEMORY)))
        self.cloudflare = self.stack.enter_context(running_cloudflare())
        self.environment |= {"CLOUDFLARE_API_TOKEN": USERS_TOKEN, "CLOUDFLARE_BASE_URL": self.cloudflare.url}
        (self.home / "php").write_text(f'#!/bin/sh\necho "$@" >> {self.home}/asked\n')
        (self.home / "php").chmod(0o755)
        self.parts |= {
            "redis": f"redis://{self.redis.address}/0",
            "cloudflare": self.cloudflare.url,
            "zone": ZONE,
            "token": USERS_TOKEN,
            "client": CLIENT,
        }

    def cache(self) -> Any:
        """Return a client of Redis, in the cache's database."""
        import redis

        return redis.Redis.from_url(f"redis://{self.redis.address}/1", decode_responses=True)

    def fills_the_cache(self) -> None:
        """Let the cache take all the memory there is; each of its keys has an end."""
        import redis

        with self.cache() as client:
            try:
                for n in range(MEMORY // 1000):
                    client.set(f"askproai_cache:{n}", "x" * 5000, ex=3600)
            except redis.RedisError:
                return
        raise AssertionError("Redis took it all")

    def clears_the_cache(self) -> None:
        """Let somebody find what filled it."""
        with self.cache() as client:
            client.flushdb()

    def policy(self) -> str:
        """Return what Redis does when it is full."""
        with self.cache() as client:
            return str(client.config_get("maxmemory-policy")["maxmemory-policy"])

    def limits(self) -> str:
        """Return by which limits nginx goes."""
        with urllib.request.urlopen(f"{self.nginx.url}/api/health", timeout=5) as answer:
            return str(answer.headers["X-Limits"])

    def level(self) -> object:
        """Return Cloudflare's security level."""
        return self.cloudflare.settings["security_level"]["value"]

    async def state(self) -> dict[str, object]:
        """Say how the parts are."""
        return {
            **await super().state(),
            "policy": self.policy(),
            "limits": self.limits(),
            "link": (self.nginx.home / "limits.conf").readlink(),
            "level": self.level(),
            "blocked": self.cloudflare.blocked(),
        }


def _is_limited_and_challenged(system: AskProAI) -> None:
    assert (system.limits(), system.level()) == ("flood", "under_attack")


def _is_blocked(system: AskProAI) -> None:
    assert [(address, mode) for address, mode, _ in system.cloudflare.blocked()] == [(CLIENT, "block")]


def _evicts(system: AskProAI) -> None:
    assert system.policy() == "volatile-lru"
    with system.cache() as client:
        assert client.set("askproai_cache:new", "x" * 5000, ex=3600)
        assert client.info("stats")["evicted_keys"] > 0
    assert "queue:restart" in (system.home / "asked").read_text()


CASES = (
    Case(
        "askproai",
        "redis-memory",
        "redis-exec",
        steps=("redis", "exec"),
        begin=AskProAI.fills_the_cache,
        held=_evicts,
        end=AskProAI.clears_the_cache,
        told={"slack"},
    ),
    Case(
        "askproai",
        "abusive-client",
        "block",
        steps=("block",),
        begin=lambda system: system.breaks(client=900),
        held=_is_blocked,
        end=lambda system: system.breaks(client=0),
        told={"slack"},
    ),
    Case(
        "askproai",
        "flood",
        "exec-nginx-cloudflare",
        steps=(
            "exec",
            "restart",
            "restart",
            "exec",
            "flag",
            "restart",
        ),  # limits, taken back, and both together
        begin=lambda system: system.breaks(flood=900),
        held=_is_limited_and_challenged,
        end=lambda system: system.breaks(flood=0),
        told={"slack"},
    ),
)

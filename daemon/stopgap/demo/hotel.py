"""Hotel: a small booking assistant of the kind that the first pack protects. It reads its `.env` at start and never again.

Whatever is changed in that file is therefore in force only after a restart: a flag without an activation does nothing here, as in
real life. `/api/mode` says which settings the *process* goes by.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stopgap.demo.postgres import answers
from stopgap.demo.serving import LATENCY_BUCKETS, add_metrics, arguments, serve

_OPENS_AFTER = 3  # failures in a row
_PATIENCE = aiohttp.ClientTimeout(total=10)  # longer than a slow PMS takes: slowness is not an outage
_BURST_SECONDS = 2.0  # how many seconds' worth of requests the limit lets through at once


def read_env(text: str) -> dict[str, str]:
    """Read the lines `KEY=value` of a `.env` file; quotes are taken off, comments and `export` are skipped."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or key.startswith("#"):
            continue
        found[key.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote in {'"', "'"} and quote in value[1:]:
        return value[1 : value.index(quote, 1)]
    return value.split(" #", 1)[0].rstrip()


@dataclass(frozen=True)
class Settings:
    """What the process goes by, read once from the mapping of an `.env` file."""

    env: Mapping[str, str]

    @property
    def mock(self) -> bool:
        """Tell whether availability is made up instead of asked for."""
        return self.env.get("PMS_TYPE", "qloapps") == "mock"

    @property
    def pms_url(self) -> str:
        """Return where the PMS answers."""
        return self.env.get("PMS_BASE_URL", "http://127.0.0.1:1").rstrip("/")

    @property
    def cache_ttl(self) -> float:
        """Return for how many seconds an availability is remembered."""
        return float(self.env.get("PMS_CACHE_TTL_SECONDS", "0"))

    @property
    def audio(self) -> bool:
        """Tell whether spoken messages are transcribed and answered."""
        return self.env.get("AUDIO_ENABLED", "true").lower() in {"true", "1", "yes"}

    @property
    def limit(self) -> int:
        """Return how many requests a minute one guest may send."""
        return int(self.env.get("RATE_LIMIT_PER_MINUTE", "120"))

    @property
    def database(self) -> tuple[str, int]:
        """Return host and port of the database."""
        parts = urlsplit(self.env.get("DATABASE_URL", ""))
        return parts.hostname or "127.0.0.1", parts.port or 5432

    def shown(self) -> dict[str, str]:
        """Return all settings; the password of an URL is masked."""
        return {key: _masked(value) for key, value in self.env.items()}


def _masked(value: str) -> str:
    password = urlsplit(value).password if "://" in value else None
    return value.replace(f":{password}@", ":***@") if password else value


@dataclass
class Breaker:
    """Circuit breaker in front of the PMS: opens after three failures in a row, tries again `recovery` seconds later."""

    recovery: float
    now: Callable[[], float] = time.monotonic
    failures: int = 0
    opened_at: float | None = None

    @property
    def lets_through(self) -> bool:
        """Tell whether the PMS may be asked now: always while closed, half open after `recovery`."""
        return self.opened_at is None or self.now() - self.opened_at >= self.recovery

    def report(self, *, worked: bool) -> None:
        """Learn how a question went."""
        if worked:
            self.failures, self.opened_at = 0, None
            return
        self.failures += 1
        if self.failures >= _OPENS_AFTER:
            self.opened_at = self.now()


@dataclass
class Limiter:
    """Rate limit per guest: a bucket that refills evenly, so that the hits follow the traffic without a minute's lag."""

    per_minute: int
    now: Callable[[], float] = time.monotonic
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admits(self, guest: str) -> bool:
        """Take one request of this guest, or refuse it."""
        now, pace = self.now(), self.per_minute / 60
        tokens, seen_at = self._buckets.get(guest, (pace * _BURST_SECONDS, now))
        tokens = min(pace * _BURST_SECONDS, tokens + (now - seen_at) * pace)
        admitted = tokens >= 1
        if guest in self._buckets or len(self._buckets) < 1000:  # noqa: PLR2004 - strangers beyond that share no memory
            self._buckets[guest] = (tokens - admitted, now)
        return admitted


class Hotel:
    """The running service: settings in force, what it found out about PMS and database, and its metrics."""

    def __init__(self, settings: Settings, period: float, recovery: float) -> None:
        self.settings, self.period = settings, period
        self.breaker, self.limiter = Breaker(recovery), Limiter(settings.limit)
        self.database_up = False
        self.pms_asked = False
        self.started_at = datetime.now(UTC)
        self._cache: dict[str, tuple[float, asyncio.Future[bool]]] = {}
        self.session: aiohttp.ClientSession
        self._measure()

    def _measure(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.latency = Histogram(
            "orchestration_latency_seconds", "Time to answer", buckets=LATENCY_BUCKETS, registry=registry
        )
        self.hits = Counter("slowapi_limiter_hits", "Requests refused with 429", registry=registry)
        gauges = {
            "pms_circuit_breaker_state": (
                "0 closed, 1 open",
                lambda: float(self.breaker.opened_at is not None),
            ),
            "pms_mock_mode": ("1 while availability is made up", lambda: float(self.settings.mock)),
            "database_up": ("1 while the database answers", lambda: float(self.database_up)),
            "rate_limit_per_minute": ("Limit in force", lambda: float(self.settings.limit)),
            "pms_cache_ttl_seconds": ("Cache time in force", lambda: self.settings.cache_ttl),
            "audio_enabled": ("1 while spoken messages are answered", lambda: float(self.settings.audio)),
        }
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=registry).set_function(value)

    @property
    def ready(self) -> dict[str, bool]:
        """Return the readiness checks. In mock mode the PMS is not asked, hence not checked."""
        pms = self.settings.mock or (self.pms_asked and self.breaker.opened_at is None)
        return {"database": self.database_up, "pms": pms}

    async def watch_database(self) -> None:
        """Ask the database for ever."""
        while True:
            self.database_up = await answers(*self.settings.database, timeout=1)
            await asyncio.sleep(self.period)

    async def watch_pms(self) -> None:
        """Ask the PMS for its health for ever, unless it is not to be used."""
        while not self.settings.mock:
            if self.breaker.lets_through:
                self.breaker.report(worked=await self._get("/api/health", {}))
                self.pms_asked = True
            await asyncio.sleep(self.period)

    async def _get(self, path: str, query: Mapping[str, str]) -> bool:
        try:
            async with self.session.get(self.settings.pms_url + path, params=query) as answer:
                await answer.read()
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def available(self, room: str, *, spoken: bool) -> bool:
        """Answer one message; a spoken one is never the same twice, so that the cache does not help it."""
        if self.settings.mock or (spoken and not self.settings.audio):
            return True  # made up, or the polite request to write instead
        if self.breaker.opened_at is not None:
            return False
        if spoken:
            return await self._get("/api/availability", {"room": room})
        return await self._remembered(room)

    async def _remembered(self, room: str) -> bool:
        now = time.monotonic()
        until, answer = self._cache.get(room, (0.0, None))
        if answer is None or now >= until:
            answer = asyncio.ensure_future(self._get("/api/availability", {"room": room}))
            if self.settings.cache_ttl and len(self._cache) < 1000:  # noqa: PLR2004 - rooms come from strangers
                self._cache[room] = (now + self.settings.cache_ttl, answer)
        worked = await asyncio.shield(answer)
        if not worked:
            self._cache.pop(room, None)
        return worked


HOTEL = web.AppKey("hotel", Hotel)


async def _availability(request: web.Request) -> web.Response:
    hotel = request.app[HOTEL]
    if not hotel.limiter.admits(request.headers.get("X-Forwarded-For", request.remote or "")):
        hotel.hits.inc()
        return web.json_response({"error": "too many requests"}, status=429)
    with hotel.latency.time():
        worked = await hotel.available(
            request.query.get("room", ""), spoken=request.query.get("kind") == "voice"
        )
    if not worked:
        return web.json_response({"error": "cannot check availability"}, status=503)
    return web.json_response({"free": True, "source": "mock" if hotel.settings.mock else "qloapps"})


async def _ready(request: web.Request) -> web.Response:
    checks = request.app[HOTEL].ready
    return web.json_response({"checks": checks}, status=200 if all(checks.values()) else 503)


async def _live(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _mode(request: web.Request) -> web.Response:
    hotel = request.app[HOTEL]
    settings = hotel.settings
    return web.json_response(
        {
            "mode": "mock" if settings.mock else "qloapps",
            "settings": settings.shown(),
            "pid": os.getpid(),
            "started_at": hotel.started_at.isoformat(),
        }
    )


async def _watching(app: web.Application) -> AsyncIterator[None]:
    hotel = app[HOTEL]
    async with aiohttp.ClientSession(
        timeout=_PATIENCE, connector=aiohttp.TCPConnector(limit=0)
    ) as hotel.session:
        tasks = [asyncio.create_task(hotel.watch_database()), asyncio.create_task(hotel.watch_pms())]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def application(settings: Settings, period: float = 0.5, recovery: float = 30.0) -> web.Application:
    """Build the hotel; it looks at PMS and database every `period` seconds, the breaker recovers after `recovery`."""
    app = web.Application()
    app[HOTEL] = Hotel(settings, period, recovery)
    app.router.add_get("/api/availability", _availability)
    app.router.add_get("/api/mode", _mode)
    app.router.add_get("/health/ready", _ready)
    app.router.add_get("/health/live", _live)
    add_metrics(app, app[HOTEL].registry)
    app.cleanup_ctx.append(_watching)
    return app


def main() -> None:
    """Run the hotel: `python -m stopgap.demo.hotel --env FILE --port N`."""
    parser = arguments("hotel stand-in")
    parser.add_argument("--env", type=Path, required=True, help="the .env file, read once")
    parser.add_argument(
        "--period", type=float, default=0.5, help="seconds between two looks at PMS and database"
    )
    parser.add_argument(
        "--recovery", type=float, default=30.0, help="seconds until an open breaker tries again"
    )
    options = parser.parse_args()
    settings = Settings(read_env(options.env.read_text(encoding="utf-8")))
    serve(application(settings, options.period, options.recovery), options.port)


if __name__ == "__main__":
    main()

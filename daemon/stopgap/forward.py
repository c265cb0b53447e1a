"""Forward: what a daemon answers that stands by. Notifications it takes itself; what people ask goes to the one that leads."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from stopgap.api.desk import Reloaded
from stopgap.api.gate import border
from stopgap.api.problem import Problem, reply
from stopgap.api.status import reloaded
from stopgap.body import Room, read_body
from stopgap.credential import Credential
from stopgap.store import Standby
from stopgap.webhook import Webhook

WITHIN = aiohttp.ClientTimeout(total=60, sock_connect=3)
LARGEST = 4 * 1024 * 1024  # bytes of a request that is passed on
LARGEST_OF_STRANGERS = 64 * 1024  # of one without the token, such as an answer to a link
AT_ONCE = 16 * 1024 * 1024  # bytes of all of them
ARRIVES_WITHIN = timedelta(seconds=10)  # whoever is in the middle of a request cannot be closed to make room
PASSED_ON = "Stopgap-Passed-On"
"""The header of a request that was passed on: nobody passes it on again."""
UNANSWERED = "the daemon that leads does not answer: try again in a few seconds"
_OWN = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect"}
)
"""Headers that are about one connection (RFC 9110, 7.6.1), not about what is asked."""


class Forward:
    """The web of a standby. `reload` is its own: each daemon has its own files of rules."""

    def __init__(
        self,
        standby: Standby,
        webhook: Webhook,
        token: Credential,
        metrics: Callable[[], bytes],
        reload: Callable[[], Awaitable[Reloaded]],
        session: Callable[[], aiohttp.ClientSession],
    ) -> None:
        self._standby = standby
        self._webhook = webhook
        self._token = token
        self._metrics = metrics
        self._reload = reload
        self._session = session
        self._room = Room(AT_ONCE)
        self._waiting: set[asyncio.Timeout] = set()
        self._over = False

    def application(self, largest: int) -> web.Application:
        """Return it; `largest` bounds a notification, in bytes."""
        app = web.Application(client_max_size=largest, middlewares=[border])
        self._webhook.mount(app)
        app.router.add_get("/metrics", self._numbers)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        app.router.add_post("/-/reload", self._load_anew)
        app.router.add_route("*", "/{rest:.*}", self._pass_on)
        return app

    def give_up(self) -> None:
        """Pass nothing on from now on, and wait no more for one that led: it may be frozen, and this daemon leads now."""
        self._over = True
        for waiting in self._waiting:
            waiting.reschedule(0)

    async def _numbers(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={hdrs.CONTENT_TYPE: "text/plain; version=0.0.4"})

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _: web.Request) -> web.Response:
        leader = self._standby.leader
        told: dict[str, Any] = {"ready": not self._standby.error, "role": "standby"}
        told["leader"] = leader.url or leader.holder if leader is not None else None
        told["checks"] = {"store": self._standby.error or "ok"}
        return reply(told, 503 if self._standby.error else 200)

    async def _load_anew(self, request: web.Request) -> web.Response:
        shown = request.headers.get(hdrs.AUTHORIZATION, "")
        if not self._token.admits(shown):
            raise Problem(401, self._token.refusal(shown))
        return reloaded(await self._reload())

    async def _pass_on(self, request: web.Request) -> web.Response:
        url = self._leader(request)
        if not request.raw_path.startswith("/"):
            raise Problem(400, "the request's target is no path")
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _OWN
        )
        headers[PASSED_ON] = "1"
        with self._room.share() as share, self._until_given_up() as waiting:
            async with waiting:
                body = await read_body(request, share, self._most(request), ARRIVES_WITHIN)
                return await self._asked(request, url, headers, body)

    @contextmanager
    def _until_given_up(self) -> Iterator[asyncio.Timeout]:
        waiting = asyncio.timeout(None)
        self._waiting.add(waiting)
        try:
            yield waiting
        except TimeoutError:
            raise Problem(503, UNANSWERED) from None
        finally:
            self._waiting.discard(waiting)

    async def _asked(
        self, request: web.Request, url: str, headers: CIMultiDict[str], body: bytes
    ) -> web.Response:
        try:
            async with self._session().request(
                request.method,
                URL(url + request.raw_path, encoded=True),
                headers=headers,
                data=body or None,
                allow_redirects=False,
                auto_decompress=False,
                timeout=WITHIN,
            ) as answer:
                said = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
                return web.Response(status=answer.status, body=await answer.read(), headers=said)
        except (aiohttp.ClientError, TimeoutError):
            raise Problem(503, UNANSWERED) from None

    def _most(self, request: web.Request) -> int:
        """Return how much is read of a request: little of what comes without the token, which the leader will ask for."""
        admitted = self._token.admits(request.headers.get(hdrs.AUTHORIZATION, ""))
        return LARGEST if admitted else LARGEST_OF_STRANGERS

    def _leader(self, request: web.Request) -> str:
        leader = self._standby.leader
        if self._over or leader is None or PASSED_ON in request.headers:
            raise Problem(503, "no daemon leads at this moment: try again in a few seconds")
        if not leader.url:
            raise Problem(
                503, "this daemon stands by, and the one that leads says not where it is: set --peer-url"
            )
        return leader.url

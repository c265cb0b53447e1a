"""Dead man: tells a service outside, regularly, that this daemon could take a notification; there, silence is what pages.

One GET to a URL of healthchecks.io, Dead Man's Snitch, Uptime Kuma or their like. It is withheld while notifications could not be
taken. The URL may bear a secret, so nothing here prints it, and no other host ever sees it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum

import aiohttp
import structlog
from aiohttp import hdrs
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed
from yarl import URL

from stopgap.errors import ActionError, PermanentError, TemporaryError
from stopgap.seldom import Seldom

log = structlog.get_logger(__name__)

WITHIN = timedelta(seconds=10)
ATTEMPTS = 2
PAUSE = timedelta(seconds=1)
SAID_AGAIN = timedelta(minutes=10)
REDIRECTS = 3
TOO_MANY_REQUESTS = 429
_READ = 1024  # bytes of an answer
_UNCOUNTED = (b"(not found)", b"(rate limited)")
"""What healthchecks.io says, with 200, of a check that is gone and of a beat that it did not count."""


class Beat(StrEnum):
    """What came of one heartbeat."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    WITHHELD = "withheld"


class Beacon:
    """Where heartbeats go. `session` is asked at every call; nothing is opened before."""

    def __init__(
        self, url: SecretStr, session: Callable[[], aiohttp.ClientSession], within: timedelta = WITHIN
    ) -> None:
        self._url = url
        self._session = session
        self._within = within

    async def send(self) -> None:
        """Send one heartbeat, and once more if that may help. Raises ActionError with a reason that shows no URL."""
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(PAUSE),
            retry=retry_if_exception_type(TemporaryError),
            reraise=True,
        ):
            with attempt:
                await self._get()

    async def _get(self) -> None:
        try:
            async with asyncio.timeout(self._within.total_seconds()):
                status, said = await self._follow(URL(self._url.get_secret_value()))
        except TimeoutError:
            raise TemporaryError("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TemporaryError(_reason(error)) from None
        if status >= 500 or status == TOO_MANY_REQUESTS:  # noqa: PLR2004 - the server's own errors
            raise TemporaryError(f"it answered {status}")
        if status // 100 != 2:  # noqa: PLR2004 - success
            raise PermanentError(f"it answered {status}: is the address still right?")
        if any(words in said for words in _UNCOUNTED):
            raise PermanentError(f"it answered {status}, but did not count it: is the check still there?")

    async def _follow(self, url: URL) -> tuple[int, bytes]:
        """Return status and some of the body of the last answer. Raises PermanentError for a redirect that leads away."""
        for _ in range(REDIRECTS + 1):
            async with self._session().get(
                url,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),  # the caller's `asyncio.timeout` bounds it
            ) as response:
                where = response.headers.get(hdrs.LOCATION)
                if response.status not in (301, 302, 303, 307, 308) or not where:
                    return response.status, await response.content.read(_READ)
            onward = url.join(URL(where))
            if onward.host != url.host or onward.scheme not in (url.scheme, "https"):
                raise PermanentError("it redirects to another place, which is not followed")
            url = onward
        raise PermanentError("it redirects without end")


def _reason(error: Exception) -> str:
    """Say what went wrong without the URL."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__


class DeadMan:
    """Beats `every` so often while it may. `alive` returns why notifications could not be taken, or an empty text.

    `came` hears of each beat what came of it, and why. A heartbeat that is late is not caught up with.
    """

    def __init__(
        self,
        send: Callable[[], Awaitable[None]],
        alive: Callable[[], Awaitable[str]],
        came: Callable[[Beat, str], None],
        every: timedelta,
    ) -> None:
        self._send = send
        self._alive = alive
        self._came = came
        self._every = every.total_seconds()
        self._seldom = Seldom(SAID_AGAIN, lambda: asyncio.get_running_loop().time())
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin with a heartbeat at once."""
        self._task = asyncio.create_task(self._go_on(), name="dead man")

    async def stop(self) -> None:
        """Send no more; a stopped daemon is one that cannot take notifications."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_on(self) -> None:
        time = asyncio.get_running_loop().time
        due_at = time()
        while True:
            beat, why = await self._beat()
            self._came(beat, why)
            unsaid = self._seldom.ask(beat) if why else None
            if unsaid is not None:
                log.warning("heartbeat", result=beat.value, why=why[:300], unsaid=unsaid)
            due_at = max(due_at + self._every, time())
            await asyncio.sleep(due_at - time())

    async def _beat(self) -> tuple[Beat, str]:
        try:
            why = await self._alive()
            if why:
                return Beat.WITHHELD, why
            await self._send()
        except ActionError as error:
            return Beat.FAILED, str(error)
        except Exception as error:  # noqa: BLE001 - border: beat. A surprise must not end all later ones, and its words may quote the URL
            return Beat.FAILED, type(error).__name__
        return Beat.SUCCEEDED, ""

"""Context: the clients of the outside that actions and probes are given when they are made, once, in `app.py`."""

from dataclasses import dataclass

import aiohttp

from stopgap.contacts import Contacts
from stopgap.prometheus import Prometheus


class Http:
    """One HTTP session, opened at first use inside the running loop: no redirects are followed unless asked, no proxy from env."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """Return the session, opening it at first use. Every caller gives its own timeout."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=30), trust_env=False
            )
        return self._session

    async def close(self) -> None:
        """Close the session if it was ever opened."""
        if self._session is not None:
            await self._session.close()


@dataclass(frozen=True, slots=True)
class Context:
    """What an action or a probe may reach. Building one does no I/O."""

    http: Http
    prometheus: Prometheus
    contacts: Contacts

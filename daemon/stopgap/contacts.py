"""Contacts: whom to tell, and the telling itself, through Apprise.

A contact is a name and one or more Apprise URLs, which are secrets; a message goes to the first address that takes it. Apprise is
imported at the first message and runs in four threads of our own. A thread cannot be cancelled, so all around it is bounded:
the queue (a full one refuses), the sockets, what is read from them, each address, the whole message. Nothing here prints a URL.

Only the schemes of `SCHEMES` are sent to, and the web addresses that Apprise knows as one of these (a pasted Slack hook). The list
holds services reached over the network; what runs commands, writes to this machine, or forwards to another Apprise is left out.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from stopgap.duration import print_duration
from stopgap.errors import ActionError, PermanentError, TemporaryError
from stopgap.leash import leash

_SERVICES = """
betterstack discord feishu firehydrant flock form forms gchat goalert goalerts gotify gotifys
guilded ilert incidentio jira json jsons lark line mailgun mailto mailtos matrix matrixs mmost
mmosts nctalk nctalks ntfy ntfys opsgenie pagerduty pagertree pbul postmark pover revolt rocket
rockets sendgrid ses signal signals signl4 slack sns sparkpost spike splunk squadcast synology
synologys tgram threema twilio twist victorops vonage webex whatsapp workflow workflows wxteams
xmatters xml xmls zulip
"""
SCHEMES = frozenset(_SERVICES.split())
_LONGEST_TITLE, _LONGEST_BODY = 200, 4000  # characters
_THREADS, _WAITING, _ATTEMPTS = 4, 64, 3
_SOCKET = 4.0  # seconds for a connection, and for each read
_LARGEST_ANSWER = 1024 * 1024  # bytes of all that an address says to one message
_PER_ADDRESS = (
    8.0  # seconds until the next address is tried; less where there are many, so that each has its turn
)


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody, or some place, that can be told: Apprise URLs, best first."""

    name: str
    urls: tuple[SecretStr, ...]


Book = Mapping[str, Mapping[str, Contact]]
"""Contacts by pack and name; those of the whole site stand under the pack ""."""


class Contacts:
    """The contact book of the rules in force, and the couriers. `limit` bounds one message, `pause` spaces its attempts."""

    def __init__(
        self,
        book: Book | None = None,
        *,
        limit: timedelta = timedelta(seconds=20),
        pause: timedelta = timedelta(seconds=1),
    ) -> None:
        self.book: Book = book or {}
        self._limit, self._pause = limit, pause
        self._couriers = _Couriers()
        self.on_told: Callable[[str, str], None] = lambda _name, _why: None
        """Hears after each message for whom it was, and why it did not arrive, or an empty text."""

    def replace(self, book: Book) -> None:
        """Take another book, at a reload; messages under way keep their addresses."""
        self.book = book

    def find(self, pack: str, name: str) -> Contact | None:
        """Look a contact up: the pack's own, else the site's."""
        return self.book.get(pack, {}).get(name) or self.book.get("", {}).get(name)

    def check(self, pack: str, name: str) -> Contact:
        """Return a contact that can be told, as far as that shows without telling. Raises PermanentError."""
        contact = self._known(pack, name)
        for url in contact.urls:
            _check_scheme(url.get_secret_value())
        return contact

    def _known(self, pack: str, name: str) -> Contact:
        contact = self.find(pack, name)
        if contact is None:
            raise PermanentError(
                f"no contact is called {name!r}: add it to `contacts` of site.yaml or of the pack"
            )
        if not contact.urls:
            raise PermanentError(f"contact {name!r} has no address: set the variable of its url_env")
        return contact

    async def send(self, pack: str, name: str, title: str, body: str) -> None:
        """Tell a contact, by the first of its addresses that takes the message.

        Raises PermanentError for a contact that does not exist or cannot work, TemporaryError when nobody took the message.
        """
        try:
            await self._send(pack, name, title, body)
        except ActionError as error:
            self.on_told(name, str(error))
            raise
        self.on_told(name, "")

    async def _send(self, pack: str, name: str, title: str, body: str) -> None:
        contact = self._known(pack, name)
        title, body = _line(title), _cut(body)
        try:
            async with asyncio.timeout(self._limit.total_seconds()):
                async for attempt in AsyncRetrying(
                    stop=stop_after_attempt(_ATTEMPTS),
                    wait=wait_random_exponential(self._pause.total_seconds()),
                    retry=retry_if_exception_type(TemporaryError),
                    reraise=True,
                ):
                    with attempt:
                        await self._offer(contact, title, body)
        except TimeoutError:
            limit = print_duration(self._limit)
            raise TemporaryError(f"contact {name!r} took no message within {limit}") from None

    async def _offer(self, contact: Contact, title: str, body: str) -> None:
        """Try one address after the other."""
        reasons: list[str] = []
        hopeless = True
        patience = min(_PER_ADDRESS, self._limit.total_seconds() / (len(contact.urls) + 1))
        for url in contact.urls:
            try:
                async with asyncio.timeout(patience):
                    await self._couriers.run(partial(_deliver, url, title, body))
            except PermanentError as error:
                reasons.append(str(error))
            except TemporaryError as error:
                reasons.append(str(error))
                hopeless = False
            except TimeoutError:
                reasons.append("no answer")
                hopeless = False
            else:
                return
        why = f"contact {contact.name!r} was not told: {'; '.join(dict.fromkeys(reasons))}"
        raise PermanentError(why) if hopeless else TemporaryError(why)

    def close(self) -> None:
        """Send nothing more: what waits is refused, what is under way is left to its socket timeouts."""
        self._couriers.close()


class _Couriers:
    """A few daemon threads behind a bounded queue: a receiver that never answers keeps no process from ending."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Future[None], Callable[[], None]] | None] = queue.Queue(_WAITING)
        self._threads: list[threading.Thread] = []
        self._closed = False

    async def run(self, call: Callable[[], None]) -> None:
        """Run a call in a thread. Raises TemporaryError when too many are waiting or the couriers are closed."""
        if self._closed:
            raise TemporaryError("messages are no longer sent: Stopgap is ending")
        done: Future[None] = Future()
        try:
            self._queue.put_nowait((done, call))
        except queue.Full:
            raise TemporaryError("too many messages are waiting") from None
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, daemon=True, name="courier") for _ in range(_THREADS)
            ]
            for thread in self._threads:
                thread.start()
        await asyncio.wrap_future(done)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            done, call = task
            if not done.set_running_or_notify_cancel():
                continue
            try:
                call()
            except ActionError as error:
                done.set_exception(error)
            except Exception as error:  # noqa: BLE001 - a border: 170 plugins, and their errors may quote the address
                done.set_exception(TemporaryError(f"an address failed with {type(error).__name__}"))
            else:
                done.set_result(None)
        self._queue.put(None)  # the end, for the next thread

    def close(self) -> None:
        self._closed = True
        while not self._queue.empty():
            try:
                task = self._queue.get_nowait()
            except queue.Empty:
                break
            if task is not None and task[0].set_running_or_notify_cancel():
                task[0].set_exception(TemporaryError("messages are no longer sent: Stopgap is ending"))
        self._queue.put_nowait(None)


def _deliver(url: SecretStr, title: str, body: str) -> None:
    """Hand one message to Apprise, in a courier's thread."""
    import apprise  # noqa: PLC0415 - heavy, and most processes never send

    logging.getLogger("apprise").disabled = True  # it logs addresses and what receivers answer
    address = _check_scheme(url.get_secret_value())
    asset = apprise.AppriseAsset(async_mode=False, storage_mode=apprise.PersistentStoreMode.MEMORY)
    service = apprise.Apprise.instantiate(address, asset=asset)
    if service is None or not _known(service):
        raise PermanentError("an address is not one that Apprise can use: see its page of the service")
    service.socket_connect_timeout = service.socket_read_timeout = _SOCKET
    with leash(_PER_ADDRESS, _LARGEST_ANSWER):
        taken = service.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT)
    if not taken:
        raise TemporaryError("an address did not take the message")


def address_flaw(url: str) -> str:
    """Say why an address cannot be sent to, "" when its form is good. The address itself is a secret."""
    try:
        _check_scheme(url)
    except PermanentError as error:
        return str(error)
    return ""


def _check_scheme(url: str) -> str:
    """Return an address that is sent to. Raises PermanentError that does not show it."""
    address = url.strip()
    if address.partition("://")[0].lower() not in SCHEMES | {"https"}:
        raise PermanentError(
            "an address has a scheme that is not sent to; such as slack, mailtos, ntfys, pagerduty or json are"
        )
    return address


def _known(service: object) -> bool:
    """Tell whether the plugin itself is an allowed one, whatever the address looked like."""
    names: set[str] = set()
    for attribute in ("protocol", "secure_protocol"):
        value = getattr(service, attribute, None) or ()
        names |= {value} if isinstance(value, str) else set(value)
    return not names.isdisjoint(SCHEMES)


def _line(title: str) -> str:
    """Make a title one printable line: it becomes a mail header."""
    text = "".join(char if char.isprintable() else " " for char in title[:_LONGEST_TITLE])
    return " ".join(text.split()) or "Stopgap"


def _cut(body: str) -> str:
    """Bound a body and drop control characters, keeping its lines."""
    text = "".join(char if char.isprintable() or char in "\n\t" else " " for char in body[:_LONGEST_BODY])
    return text + "\n[cut]" if len(body) > _LONGEST_BODY else text

"""Messages through the real Apprise: to a real SMTP server and a web server, from the engine's own timeline."""

import asyncio
import time
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP
from pydantic import SecretStr
from tests.world import MOCK, World, alert, rule

from stopgap.contacts import Contact, Contacts
from stopgap.incident import EventKind as K
from stopgap.rule import Escalation, Mode
from stopgap.tell import Teller
from stopgap.wording import Phrase, Wording

SECONDS = 20.0  # that a message may take; none does


class Mailbox:
    """An SMTP server that keeps what it gets."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - as aiosmtpd calls it
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self):
        return f"mailto://127.0.0.1:{self.port}?from=stopgap@example.com&to=ops@example.com&mode=insecure&format=text"

    @property
    def subjects(self):
        return [mail["Subject"] for mail in self.mails]

    def text(self, number):
        return self.mails[number].get_body(("plain",)).get_content()


class Hook:
    """A web server that keeps what is posted to it; those paths that are `broken` answer 500."""

    def __init__(self):
        self.posts, self.broken, self.refused = [], set(), 0

    async def take(self, request):
        if request.path in self.broken:
            self.refused += 1
            return web.Response(status=500)
        self.posts.append((request.path, await request.json()))
        return web.Response()

    @property
    def titles(self):
        return [message["title"] for _, message in self.posts]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def mailbox():
    async with Mailbox() as box:
        yield box


@pytest.fixture
async def hook():
    hook = Hook()
    app = web.Application()
    app.router.add_post("/{path:.*}", hook.take)
    async with TestServer(app) as server:
        hook.url = f"json://127.0.0.1:{server.port}"
        yield hook


class Office:
    """A world whose Teller sends through Apprise."""

    def __init__(self, addresses, **more):
        book = {name: Contact(name, tuple(map(SecretStr, urls))) for name, urls in addresses.items()}
        self.contacts = Contacts({"": book}, pause=timedelta(milliseconds=10))
        self.world = World((rule(**more),))

    def teller(self):
        world = self.world
        made = Teller(world.journal, self.contacts, world.clock, world.engine.rule_of)
        world.engine.subscribe(made.observe)
        return made

    async def __aenter__(self):
        self._teller = self.teller()
        await self.world.start()
        self._teller.start()
        return self

    async def __aexit__(self, *_):
        await self._teller.stop()
        await self.world.engine.stop()
        self.contacts.close()

    async def crash(self):
        await self._teller.kill()
        await self.world.crash()
        self._teller = self.teller()
        self._teller.start()


async def until(found):
    """Wait until something is found."""
    end = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.01)


LADDER = (
    Escalation(K.OPENED, ("oncall",)),
    Escalation(K.MITIGATED, ("oncall",)),
    Escalation(K.CLOSED, ("oncall",)),
)


async def test_declaration_update_and_resolution_arrive_by_mail_and_by_webhook(mailbox, hook):
    escalate = tuple(Escalation(kind, ("ops", "chat")) for kind in (K.OPENED, K.HANDED_OVER, K.CLOSED))
    addresses = {"ops": [mailbox.url], "chat": [f"{hook.url}/chat"]}
    async with Office(addresses, ladder=(), escalate=escalate, summary="Serve from mock data") as office:
        await office.world.fire(alert("Down", team="a\nBcc: evil@example.com"))
        await until(lambda: len(mailbox.mails) == len(hook.posts) == 2)
        await office.world.resolve(alert("Down", team="a\nBcc: evil@example.com"))
        await until(lambda: len(mailbox.mails) == len(hook.posts) == 3)
    titles = [f"[P1] test/mock on app: {word}" for word in ("opened", "handed over", "closed")]
    assert mailbox.subjects == hook.titles == titles
    assert mailbox.mails[0]["To"] == "ops@example.com"
    assert mailbox.mails[0]["Bcc"] is None
    declared, updated, over = (mailbox.text(n) for n in range(3))
    assert declared.splitlines()[0] == "Serve from mock data"
    assert "the rule tells people only" in updated
    assert "outcome: handed over" in over
    posted = [message["message"] for _, message in hook.posts]
    assert [text.split() for text in posted] == [text.split() for text in (declared, updated, over)]


async def test_customers_read_the_packs_own_words(mailbox):
    down = Wording(
        Phrase.parse("{{ severity }}: bookings are degraded"),
        Phrase.parse(
            "We look into it since {{ opened_at }}.\nImpact: {{ annotations.summary }}\nNext: {{ next_update_at }}"
        ),
    )
    entry = Escalation(K.OPENED, ("customers",), message="down")
    more = {"escalate": (entry,), "messages": {"down": down}, "severity_names": {"P1": "SEV-2"}}
    async with Office({"customers": [mailbox.url]}, **more) as office:
        await office.world.fire()
        await until(lambda: mailbox.mails)
        opened_at = office.world.incident.opened_at
    assert mailbox.subjects == ["SEV-2: bookings are degraded"]
    assert mailbox.text(0).splitlines() == [
        f"We look into it since {opened_at:%Y-%m-%d %H:%M} UTC.",
        "Impact: it is down",
    ]


async def test_the_first_word_of_a_shadow_says_that_it_is_one(mailbox):
    async with Office(
        {"ops": [mailbox.url]}, mode=Mode.SHADOW, escalate=(Escalation(K.OPENED, ("ops",)),)
    ) as office:
        await office.world.fire()
        await until(lambda: mailbox.mails)
    assert mailbox.subjects == ["[SHADOW] [P1] test/mock on app: opened"]


async def test_a_broken_address_gives_way_to_the_next_of_the_contact(mailbox, hook):
    hook.broken.add("/first")
    closed_port = "mailto://127.0.0.1:1?from=a@example.com&to=b@example.com&mode=insecure"
    addresses = {"oncall": [f"{hook.url}/first", closed_port, mailbox.url]}
    async with Office(addresses, ladder=(MOCK,), escalate=(Escalation(K.OPENED, ("oncall",)),)) as office:
        await office.world.fire()
        await until(lambda: mailbox.mails)
        await until(lambda: "notified" in office.world.words)
    assert mailbox.subjects == ["[P1] test/mock on app: opened"]


async def test_a_receiver_that_comes_back_gets_what_it_missed(hook):
    hook.broken.add("/chat")
    async with Office({"oncall": [f"{hook.url}/chat"]}, ladder=(MOCK,), escalate=LADDER) as office:
        await office.world.fire()
        await until(lambda: "mitigated" in office.world.words)
        await until(lambda: hook.refused)
        assert not hook.posts
        hook.broken.clear()
        await until(lambda: len(hook.posts) == 2)
    assert [title.partition(": ")[2] for title in hook.titles] == ["opened", "mitigated"]


async def test_a_kill_between_the_event_and_its_message_loses_nothing(hook):
    hook.broken.add("/chat")
    async with Office({"default": [f"{hook.url}/chat"]}, ladder=()) as office:
        await office.world.fire()
        await until(lambda: "handed_over" in office.world.words)
        await office.crash()
        hook.broken.clear()
        await until(lambda: hook.posts)
    assert {*hook.titles} == {"[P1] test/mock on app: handed over"}, "at least once"

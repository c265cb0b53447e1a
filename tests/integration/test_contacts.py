"""Contacts: messages through the real Apprise to a real web server (`json://` is its generic sink)."""

import asyncio
import logging
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from stopgap.contacts import Contact, Contacts
from stopgap.errors import TemporaryError

# Apprise's mail plugin imports it where Python still has it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Sink:
    """A receiver: keeps what arrives at `/path`, answers with the statuses given, then with 200."""

    def __init__(self):
        self.messages = []
        self.statuses = []

    async def take(self, request):
        self.messages.append((request.path, await request.json()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def sink(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    sink = Sink()
    app = web.Application()
    app.router.add_post("/{path:.*}", sink.take)
    async with TestServer(app) as server:
        sink.url = f"json://127.0.0.1:{server.port}"
        yield sink


@pytest.fixture
def told():
    """Contacts of which `oncall` has the addresses given."""
    made = []

    def with_addresses(*urls):
        contact = Contact("oncall", tuple(SecretStr(url) for url in urls))
        made.append(Contacts({"": {"oncall": contact}}, pause=timedelta()))
        return made[-1]

    yield with_addresses
    for contacts in made:
        contacts.close()


async def test_a_message_arrives_with_title_and_body(sink, told):
    await told(f"{sink.url}/a").send("hotel", "oncall", "mock mode is held", "line 1\nline <2>")
    ((path, message),) = sink.messages
    assert path == "/a"
    assert (message["title"], message["message"]) == ("mock mode is held", "line 1\nline <2>")


async def test_what_a_hostile_label_brings_is_bounded_and_printable(sink, told):
    await told(sink.url).send("hotel", "oncall", "a\r\nBcc: b\x00" + "t" * 500, "b\x1b[2J" + "x" * 10_000)
    ((_, message),) = sink.messages
    assert message["title"].startswith("a Bcc: b t")
    assert len(message["title"]) <= 200
    assert message["message"].startswith("b [2Jx")
    assert message["message"].endswith("x\n[cut]")
    assert len(message["message"]) <= 4010


async def test_the_next_address_is_tried_when_one_fails(sink, told):
    sink.statuses = [500]
    await told(f"{sink.url}/first", f"{sink.url}/second").send("", "oncall", "title", "body")
    assert [path for path, _ in sink.messages] == ["/first", "/second"]


async def test_an_address_that_cannot_work_does_not_keep_the_next_from_trying(sink, told):
    await told("file:///etc/passwd", "json://127.0.0.1:1/x", f"{sink.url}/third").send(
        "", "oncall", "title", "body"
    )
    assert [path for path, _ in sink.messages] == ["/third"]


async def test_a_failure_that_passes_is_tried_again(sink, told):
    sink.statuses = [503, 503]
    await told(sink.url).send("", "oncall", "title", "body")
    assert len(sink.messages) == 3


async def test_when_nobody_takes_it_the_error_names_the_contact_and_no_address(sink, told, caplog):
    caplog.set_level(logging.DEBUG)
    sink.statuses = [500] * 3
    with pytest.raises(TemporaryError, match="'oncall' was not told: an address did not take") as failed:
        await told(f"{sink.url}/hunter2").send("", "oncall", "title", "body")
    assert len(sink.messages) == 3
    assert "hunter2" not in str(failed.value)
    assert not [record for record in caplog.records if record.name.startswith("apprise")]


async def test_messages_go_out_side_by_side_without_stalling_the_loop(sink, told):
    contacts = told(sink.url)
    await asyncio.gather(*(contacts.send("", "oncall", f"title {i}", "body") for i in range(20)))
    assert {message["title"] for _, message in sink.messages} == {f"title {i}" for i in range(20)}

"""Contacts: whose name counts, what is refused before anything is sent, and that no address is ever shown."""

import asyncio
import threading
from datetime import timedelta

import apprise
import pytest
from pydantic import SecretStr

import stopgap.contacts
from stopgap.contacts import SCHEMES, Contact, Contacts
from stopgap.errors import PermanentError, TemporaryError

# Apprise's mail plugin imports it where Python still has it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SOON = timedelta(milliseconds=50)
AT_ONCE = timedelta()


def contact(name, *urls):
    return Contact(name, tuple(SecretStr(url) for url in urls))


def with_contact(*urls, **given):
    return Contacts({"": {"oncall": contact("oncall", *urls)}}, pause=AT_ONCE, **given)


def test_a_pack_overrides_a_contact_of_the_site():
    site, own = contact("oncall", "json://site"), contact("oncall", "json://own")
    contacts = Contacts({"": {"oncall": site}, "hotel": {"oncall": own}})
    assert contacts.find("hotel", "oncall") is own
    assert contacts.find("other", "oncall") is site
    assert contacts.find("hotel", "boss") is None


def test_a_reload_replaces_the_book():
    contacts = with_contact("json://x")
    contacts.replace({})
    assert contacts.find("", "oncall") is None


@pytest.mark.parametrize(
    ("book", "cure"),
    [
        ({}, r"no contact is called 'oncall': add it to `contacts` of site\.yaml"),
        ({"": {"oncall": contact("oncall")}}, "'oncall' has no address: set the variable of its url_env"),
    ],
)
async def test_an_unknown_contact_is_a_permanent_error_that_says_the_cure(book, cure):
    with pytest.raises(PermanentError, match=cure):
        await Contacts(book).send("hotel", "oncall", "title", "body")
    with pytest.raises(PermanentError, match=cure):
        Contacts(book).check("hotel", "oncall")


def test_a_contact_is_checked_without_telling_anybody():
    assert with_contact("json://x").check("hotel", "oncall").name == "oncall"
    with pytest.raises(PermanentError, match="a scheme that is not sent to") as refused:
        with_contact("json://x", "file:///hunter2").check("hotel", "oncall")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "scheme", ["file", "exec", "dbus", "syslog", "apprise", "macosx", "windows", "gnome", "script"]
)
def test_nothing_local_is_in_the_list_of_schemes(scheme):
    assert scheme not in SCHEMES


@pytest.mark.parametrize(
    "url",
    [
        "file:///hunter2",
        "syslog://hunter2",
        "apprise://hunter2",
        "hunter2",
        "",
        "slack://hunter2",
        "https://example.com/hunter2",
    ],
)
async def test_an_address_that_cannot_work_is_a_permanent_error_without_the_address(url):
    contacts = with_contact(url)
    with pytest.raises(PermanentError, match="an address") as refused:
        await contacts.send("", "oncall", "title", "body")
    assert "hunter" not in str(refused.value)
    assert "hunter" not in repr(contacts.find("", "oncall"))
    contacts.close()


def test_every_scheme_of_the_list_is_one_that_apprise_knows():
    known = {
        name
        for plugin in apprise.Apprise().details(show_disabled=True)["schemas"]
        for kind in ("protocols", "secure_protocols")
        for name in plugin[kind] or ()
    }
    assert known >= SCHEMES


async def test_a_plugin_that_breaks_is_a_failed_address_and_its_words_are_not_repeated(monkeypatch):
    def broken(url, title, body):
        raise RuntimeError("json://hunter2 exploded")

    monkeypatch.setattr(stopgap.contacts, "_deliver", broken)
    contacts = with_contact("json://x")
    with pytest.raises(TemporaryError, match="an address failed with RuntimeError") as failed:
        await contacts.send("", "oncall", "title", "body")
    assert "hunter" not in str(failed.value)
    contacts.close()


async def test_what_came_of_each_message_is_heard_without_the_address(monkeypatch):
    def deliver(url, title, body):
        if title == "bad":
            raise TemporaryError("an address did not take the message")

    monkeypatch.setattr(stopgap.contacts, "_deliver", deliver)
    contacts, heard = with_contact("json://hunter2"), []
    contacts.on_told = lambda name, why: heard.append((name, why))
    await contacts.send("", "oncall", "good", "body")
    with pytest.raises(TemporaryError) as failed:
        await contacts.send("", "oncall", "bad", "body")
    with pytest.raises(PermanentError):
        await contacts.send("", "nobody", "good", "body")
    assert heard[:2] == [("oncall", ""), ("oncall", str(failed.value))]
    assert heard[2][0] == "nobody"
    assert "hunter2" not in repr(heard)
    contacts.close()


class Stuck:
    """A receiver that never answers, in the thread of a courier, until it is released."""

    def __init__(self):
        self.released = threading.Event()

    def __call__(self, url, title, body):
        self.released.wait(10)


async def test_a_message_is_given_up_at_its_time_limit_even_if_its_thread_is_not(monkeypatch):
    stuck = Stuck()
    monkeypatch.setattr(stopgap.contacts, "_deliver", stuck)
    contacts = with_contact("json://x", limit=SOON)
    with pytest.raises(TemporaryError, match="took no message within 50ms"):
        await contacts.send("", "oncall", "title", "body")
    contacts.close()
    stuck.released.set()


async def test_a_full_queue_refuses_instead_of_growing(monkeypatch):
    stuck = Stuck()
    monkeypatch.setattr(stopgap.contacts, "_deliver", stuck)
    monkeypatch.setattr(stopgap.contacts, "_WAITING", 1)
    monkeypatch.setattr(stopgap.contacts, "_THREADS", 2)
    contacts = with_contact("json://x", limit=SOON)
    errors = []
    for _ in range(4):  # two are under way, one waits, the fourth is refused
        with pytest.raises(TemporaryError) as failed:
            await contacts.send("", "oncall", "title", "body")
        errors.append(str(failed.value))
    assert "too many messages are waiting" in errors[-1]
    stuck.released.set()
    contacts.close()


async def test_after_close_what_waits_and_what_comes_is_refused(monkeypatch):
    monkeypatch.setattr(stopgap.contacts, "_THREADS", 2)
    stuck = Stuck()
    monkeypatch.setattr(stopgap.contacts, "_deliver", stuck)
    contacts = with_contact("json://x")
    sending = [asyncio.create_task(contacts.send("", "oncall", "title", "body")) for _ in range(3)]
    await asyncio.sleep(0)
    while contacts._couriers._queue.qsize() > 1:
        await asyncio.sleep(0)
    contacts.close()
    with pytest.raises(TemporaryError, match="Stopgap is ending"):
        await sending[2]
    with pytest.raises(TemporaryError, match="Stopgap is ending"):
        await contacts.send("", "oncall", "title", "body")
    stuck.released.set()
    await asyncio.gather(*sending[:2])


async def test_an_address_that_never_answers_gives_way_to_the_next(monkeypatch):
    stuck, taken = Stuck(), []

    def deliver(url, title, body):
        if url.get_secret_value() == "json://stuck":
            stuck(url, title, body)
        else:
            taken.append(title)

    monkeypatch.setattr(stopgap.contacts, "_deliver", deliver)
    monkeypatch.setattr(stopgap.contacts, "_PER_ADDRESS", SOON.total_seconds())
    contacts = with_contact("json://stuck", "json://x")
    await contacts.send("", "oncall", "title", "body")
    assert taken == ["title"]
    stuck.released.set()
    contacts.close()


async def test_each_of_many_addresses_that_never_answer_has_its_turn_within_the_time_of_a_message(
    monkeypatch,
):
    stuck, taken = Stuck(), []

    def deliver(url, title, body):
        if url.get_secret_value() == "json://stuck":
            stuck(url, title, body)
        else:
            taken.append(title)

    monkeypatch.setattr(stopgap.contacts, "_deliver", deliver)
    contacts = with_contact("json://stuck", "json://stuck", "json://stuck", "json://x", limit=10 * SOON)
    await contacts.send("", "oncall", "title", "body")
    assert taken == ["title"]
    stuck.released.set()
    contacts.close()

"""A daemon that stands by answers for itself what is its own, and passes on to the leader what people ask."""

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.test_utils import unused_port
from pydantic import SecretStr
from tests.intake import FakeIntake, FakeTally, serving
from yarl import URL

from stopgap import forward as forwarding
from stopgap.api.problem import Problem, reply
from stopgap.app import Reloaded
from stopgap.credential import Credential
from stopgap.errors import Problem as Mistake
from stopgap.forward import Forward
from stopgap.rulebook import UNCHANGED
from stopgap.store.tenure import Leader
from stopgap.webhook import Webhook

TOKEN = {"Authorization": "Bearer word"}
HOP = {"Connection": "close", "TE": "trailers", "Upgrade": "websocket"}


class Standby:
    """As much of a standby as is asked: who leads, and what is wrong with the database."""

    def __init__(self):
        self.leader, self.error = None, ""


class Led:
    """The leader's side: what it was asked, and what it answers."""

    def __init__(self):
        self.asked = []
        self.answer = lambda: reply({"ok": True})
        self.gate = None

    def mount(self, app):
        app.router.add_route("*", "/{rest:.*}", self.hear)

    async def hear(self, request):
        self.asked.append((request.method, request.raw_path, await request.read(), request.headers.copy()))
        if self.gate is not None:
            await self.gate.wait()
        return self.answer()


class Site:
    """A standby before a leader; `ask` asks the standby."""

    def __init__(self):
        self.standby, self.led, self.reloaded = Standby(), Led(), Reloaded(3, changes=UNCHANGED)
        self.intake = FakeIntake()

    async def reload(self):
        return self.reloaded

    def application(self, session):
        webhook = Webhook(self.intake, FakeTally(), Credential(SecretStr("hook")))
        token = Credential(SecretStr("word"))
        forward = Forward(self.standby, webhook, token, lambda: b"stopgap_leader 0\n", self.reload, session)
        self.room, self.give_up = forward._room, forward.give_up
        return forward.application(1024 * 1024)


@pytest.fixture
async def site():
    site = Site()
    async with ClientSession(timeout=ClientTimeout(total=10)) as session, serving(site.led.mount) as (url, _):
        site.leads_at = url
        site.standby.leader = Leader("other", url, 1)
        runner = web.AppRunner(site.application(lambda: session))
        await runner.setup()
        port = unused_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        site.url, site.session = f"http://127.0.0.1:{port}", session
        yield site
        await runner.cleanup()


async def ask(site, method, path, **more):
    async with site.session.request(
        method, URL(site.url + path, encoded=True), allow_redirects=False, **more
    ) as answer:
        return SimpleNamespace(status=answer.status, body=await answer.read(), headers=answer.headers)


# --- its own ---


async def test_notifications_are_taken_by_itself(site):
    body = {"version": "4", "receiver": "r", "groupKey": "{}", "status": "firing", "alerts": []}
    alert = {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-11-21T09:00:00Z"}
    answer = await ask(
        site,
        "POST",
        "/webhook",
        json=body | {"alerts": [alert]},
        headers={"Authorization": "Bearer hook"},
    )
    assert answer.status == 200
    assert [each.labels["alertname"] for each in site.intake.alerts] == ["A"]
    assert not site.led.asked


async def test_its_metrics_and_its_health_are_its_own(site):
    assert (await ask(site, "GET", "/metrics")).body == b"stopgap_leader 0\n"
    assert (await ask(site, "GET", "/-/healthy")).body == b"ok"
    assert not site.led.asked


async def test_it_is_ready_while_it_can_take_notifications_whoever_leads(site):
    answer = await ask(site, "GET", "/-/ready")
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {"ready": True, "role": "standby", "leader": site.leads_at, "checks": {"store": "ok"}},
    )
    site.standby.leader = Leader("other", "", 1)
    assert json.loads((await ask(site, "GET", "/-/ready")).body)["leader"] == "other"
    site.standby.leader, site.standby.error = None, "the database does not answer"
    answer = await ask(site, "GET", "/-/ready")
    assert (answer.status, json.loads(answer.body)) == (
        503,
        {"ready": False, "role": "standby", "leader": None, "checks": {"store": site.standby.error}},
    )


async def test_a_reload_is_its_own_and_needs_the_token(site):
    assert (await ask(site, "POST", "/-/reload")).status == 401
    answer = await ask(site, "POST", "/-/reload", headers=TOKEN)
    assert (answer.status, json.loads(answer.body)["rules"]) == (200, 3)
    site.reloaded = Reloaded(3, (Mistake("a.yaml", 1, 2, "rules", "bad", "is wrong", ""),))
    answer = await ask(site, "POST", "/-/reload", headers=TOKEN)
    assert (answer.status, "the old 3 rules stay in force" in answer.body.decode()) == (422, True)
    assert not site.led.asked


# --- passed on ---


async def test_what_people_ask_reaches_the_leader_as_it_was_asked(site):
    await ask(
        site,
        "PUT",
        "/api/v1/brake?scope=rule&name=a%2Fb",
        data=b'{"why": "x"}',
        headers=TOKEN | HOP | {"Content-Type": "application/json", "X-Own": "1"},
    )
    ((method, path, body, headers),) = site.led.asked
    assert (method, path, body) == ("PUT", "/api/v1/brake?scope=rule&name=a%2Fb", b'{"why": "x"}')
    assert headers["Authorization"] == TOKEN["Authorization"]
    assert (headers["X-Own"], headers["Content-Type"]) == ("1", "application/json")
    assert headers[forwarding.PASSED_ON] == "1"
    assert headers["Host"] == site.url.removeprefix("http://")
    assert headers.keys().isdisjoint({"TE", "Upgrade"})


async def test_the_leaders_answer_comes_back_as_it_was_said(site):
    def gone():
        return Problem(404, "no incident x").response()

    site.led.answer = gone
    answer = await ask(site, "GET", "/api/v1/incidents/x", headers=TOKEN)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert json.loads(answer.body)["detail"] == "no incident x"


async def test_a_redirect_is_passed_back_and_not_followed(site):
    site.led.answer = lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    answer = await ask(site, "GET", "/approve/x")
    assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:1/")


async def test_an_answer_is_not_unpacked_on_the_way(site):
    def packed():
        response = web.Response(body=b"x" * 5000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    site.led.answer = packed
    answer = await ask(site, "GET", "/api/v1/rules", headers=TOKEN)
    assert answer.body == b"x" * 5000


async def test_nothing_is_passed_on_twice(site):
    """Two that each take the other for the leader would ask one another for ever."""
    answer = await ask(site, "GET", "/api/v1/rules", headers=TOKEN | {forwarding.PASSED_ON: "1"})
    assert (answer.status, site.led.asked) == (503, [])


@pytest.mark.parametrize(
    ("leader", "said"),
    [
        (None, "no daemon leads at this moment"),
        (Leader("other", "", 1), "set --peer-url"),
        (Leader("other", "http://127.0.0.1:1", 1), "does not answer"),
    ],
)
async def test_without_a_leader_that_answers_it_says_so(site, leader, said):
    site.standby.leader = leader
    answer = await ask(site, "GET", "/api/v1/incidents", headers=TOKEN)
    assert answer.status == 503
    assert said in json.loads(answer.body)["detail"]


async def test_a_leader_that_takes_too_long_is_not_waited_for(site, monkeypatch):
    monkeypatch.setattr(forwarding, "WITHIN", ClientTimeout(total=0.1))
    site.led.gate = asyncio.Event()
    answer = await ask(site, "GET", "/api/v1/incidents", headers=TOKEN)
    site.led.gate.set()
    assert (answer.status, "try again" in answer.body.decode()) == (503, True)


async def test_who_takes_over_waits_for_no_answer_of_the_one_before(site):
    """That one may be frozen: its answer would keep the new leader from its work, and the asker from asking that one."""
    site.led.gate = asyncio.Event()
    asking = asyncio.create_task(ask(site, "GET", "/api/v1/incidents", headers=TOKEN))
    while not site.led.asked:
        await asyncio.sleep(0.01)
    site.give_up()
    answer = await asyncio.wait_for(asking, 5)
    assert (answer.status, "try again" in answer.body.decode()) == (503, True)
    assert (await ask(site, "GET", "/api/v1/incidents", headers=TOKEN)).status == 503
    assert len(site.led.asked) == 1
    site.led.gate.set()


async def test_a_request_that_is_too_large_is_not_passed_on(site, monkeypatch):
    monkeypatch.setattr(forwarding, "LARGEST", 100)
    answer = await ask(site, "POST", "/api/v1/explain", data=b"x" * 101, headers=TOKEN)
    assert (answer.status, site.led.asked) == (413, [])


async def test_a_large_request_without_a_length_is_refused_too(site, monkeypatch):
    monkeypatch.setattr(forwarding, "LARGEST", 100)

    async def pieces():
        yield b"x" * 100
        yield b"x"

    answer = await ask(site, "POST", "/api/v1/explain", data=pieces(), headers=TOKEN)
    assert (answer.status, site.led.asked) == (413, [])


async def test_little_is_read_of_what_comes_without_the_token(site, monkeypatch):
    monkeypatch.setattr(forwarding, "LARGEST_OF_STRANGERS", 10)
    answers = [await ask(site, "POST", "/approve/x", data=b"x" * size) for size in (10, 11)]
    assert [answer.status for answer in answers] == [200, 413]
    assert [asked[2] for asked in site.led.asked] == [b"x" * 10]


async def test_a_request_that_does_not_arrive_is_not_waited_for(site, monkeypatch):
    """Who waits in the middle of one cannot be closed to make room, and would keep others out for ever."""
    monkeypatch.setattr(forwarding, "ARRIVES_WITHIN", timedelta(seconds=0.1))
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /approve/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert site.led.asked == []


async def test_what_all_send_at_once_is_bounded(site):
    site.room.limit = 15
    site.led.gate = asyncio.Event()
    first = asyncio.create_task(ask(site, "POST", "/approve/x", data=b"x" * 10))
    while not site.led.asked:
        await asyncio.sleep(0.01)
    assert (await ask(site, "POST", "/approve/y", data=b"x" * 10)).status == 503
    site.led.gate.set()
    assert (await first).status == 200
    assert (await ask(site, "POST", "/approve/y", data=b"x" * 10)).status == 200

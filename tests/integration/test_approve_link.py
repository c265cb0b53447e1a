"""The signed link over a real socket, with the real engine behind it: GET shows, POST answers once, and nobody learns more."""

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from pydantic import SecretStr
from tests.desk import TOKEN, Office
from tests.intake import serving
from tests.world import MOCK, START, World, alert, rule

from stopgap import log
from stopgap.api import mount
from stopgap.approval import pending
from stopgap.errors import StoreError
from stopgap.ledger import Brake, BrakeScope
from stopgap.link import Links

TEN = timedelta(minutes=10)
GLOBAL = Brake(BrakeScope.GLOBAL, "", "ann", "wait", START)


async def until(holds: Any) -> Any:
    for _ in range(500):
        if found := holds():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("it never happened")


@dataclass
class Visit:
    """One daemon that asks a person, and the person's browser."""

    world: World
    office: Office
    session: Any
    base: str

    @property
    def links(self) -> Links:
        return Links(SecretStr(TOKEN), self.base)

    @property
    def link(self) -> str:
        asked = pending(self.world.incident)
        assert asked is not None
        return self.links.url(self.world.incident.id, asked.request, "oncall")

    async def get(self, url: str, method: str = "GET") -> Any:
        async with self.session.request(method, url) as answer:
            return answer.status, await answer.text(), answer.headers

    async def post(self, url: str, **more: Any) -> Any:
        given = {"data": {"answer": "approve", "name": "Ann", "why": "go"}, **more}
        async with self.session.post(url, **given) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def visiting(*alerts: Any, approval: timedelta = TEN, **more: Any):
    given = {"summary": "Serve mock data", "runbook_url": "https://runbook/pms", **more}
    world = World((rule(ladder=(replace(MOCK, approval=approval),), **given),))
    office = Office(links=Links(SecretStr(TOKEN), "http://unused"))
    desk = replace(office.desk, engine=world.engine, orders=world.orders, clock=world.clock)
    await world.start()
    try:
        async with serving(lambda app: mount(app, desk)) as (base, session):
            await world.fire(*alerts)
            if approval == TEN:
                await until(lambda: pending(world.incident))
            yield Visit(world, office, session, base)
    finally:
        await world.engine.stop()


def approved(there: Visit) -> int:
    return there.world.words.count("approved")


# --- showing ---


async def test_a_get_shows_what_would_be_done_and_changes_nothing():
    async with visiting() as there:
        for method in ("GET", "HEAD", "GET"):
            status, text, headers = await there.get(there.link, method)
            assert status == 200
        for said in (
            "test/mock: Serve mock data",
            "app",
            "P1",
            "it is down",
            "https://runbook/pms",
            "mode to mock",
            "ready",
            f"{there.world.incident.approval.until:%Y-%m-%d %H:%M:%S} UTC",
            there.world.incident.id,
        ):
            assert said in text
        assert text.count("<form") == 2
        await asyncio.sleep(0.05)
        assert there.world.words[-1] == "approval_requested"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
        )


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str | None]] = {}

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value)


EVIL = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>{{ 7*7 }}\u202etxt\n<b>"


async def test_hostile_labels_are_text_and_nothing_else():
    hostile = replace(alert(team=EVIL), annotations={"summary": EVIL})
    async with visiting(hostile, summary=EVIL, runbook_url="javascript:alert(3)") as there:
        _, text, _ = await there.get(there.link)
    page = Tags()
    page.feed(text)
    assert {"script", "img", "b", "a"}.isdisjoint(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "href" not in page.attributes
    assert "src" not in page.attributes
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3
    assert "\u202e" not in text
    assert "{{ 7*7 }}" in text
    assert "49" not in text.partition("labels")[2].partition("</dd>")[0]


# --- answering ---


async def test_a_post_approves_in_the_name_of_a_person_and_the_rung_begins():
    async with visiting() as there:
        status, text = await there.post(there.link)
        assert (status, "begins" in text) == (200, True)
        await until(lambda: there.world.incident.phase == "mitigated")
        (said,) = [e for e in there.world.journal.timelines[there.world.incident.id] if e.kind == "approved"]
        assert (said.detail["by"], said.detail["why"]) == ("Ann via link to oncall", "go")


async def test_a_post_denies_and_the_incident_is_handed_over():
    async with visiting() as there:
        status, _ = await there.post(there.link, data={"answer": "deny", "name": " Bo ", "why": "risky"})
        assert status == 200
        await until(lambda: there.world.incident.handed_over)
        assert there.world.incident.reason == "approval_denied"
        assert there.world.incident.approval.by == "Bo via link to oncall"


async def test_a_link_answers_once_whoever_comes_later_learns_who_did():
    async with visiting() as there:
        link = there.link
        other = there.links.url(there.world.incident.id, pending(there.world.incident).request, "chat")
        answers = await asyncio.gather(*(there.post(each) for each in (link, other, link, other)))
        assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
        await until(lambda: there.world.incident.phase == "mitigated")
        assert approved(there) == 1
        for status, text in (await there.post(link), (await there.get(link))[:2]):
            assert status == 409
            assert "Ann via link to" in text
            assert "<form" not in text


async def test_a_link_to_a_request_that_was_asked_anew_is_out_of_date():
    async with visiting() as there:
        old = there.link
        await there.world.engine.brake(GLOBAL)
        await there.post(old)
        there.world.switch.values["mode"] = "odd"
        await there.world.engine.release(BrakeScope.GLOBAL, "", "ann")
        await until(lambda: pending(there.world.incident))
        for status, text in (await there.post(old), (await there.get(old))[:2]):
            assert (status, "asked anew" in text) == (409, True)
        assert approved(there) == 1
        assert (await there.post(there.link))[0] == 200


async def test_a_link_whose_time_is_over_is_gone():
    async with visiting(approval=timedelta(milliseconds=50)) as there:
        await until(lambda: there.world.incident.handed_over)
        (asked,) = [
            e.seq
            for e in there.world.journal.timelines[there.world.incident.id]
            if e.kind == "approval_requested"
        ]
        link = there.links.url(there.world.incident.id, asked, "oncall")
        for status, text in (await there.post(link), (await there.get(link))[:2]):
            assert (status, "counts as no" in text) == (410, True)
        assert approved(there) == 0


async def test_a_link_to_an_incident_that_ended_without_an_answer_is_gone():
    async with visiting() as there:
        link = there.link
        await there.world.resolve()
        await until(lambda: not there.world.engine.incidents)
        for status, text in (await there.post(link), (await there.get(link))[:2]):
            assert (status, "nothing waits" in text.lower()) == (410, True)


async def test_what_happens_between_the_look_and_the_answer_is_said():
    async with visiting() as there:
        orders, link = there.world.orders, there.link
        approve = orders.approve

        async def late(*given: Any) -> None:
            await orders.deny(there.world.incident.id, "bo", "no")
            await approve(*given)

        orders.approve = late
        status, text = await there.post(link)
        assert (status, "bo said no" in text) == (409, True)


async def test_what_is_asked_anew_between_the_look_and_the_answer_is_not_answered():
    async with visiting() as there:
        orders, link, engine = there.world.orders, there.link, there.world.engine
        approve = orders.approve
        await engine.brake(GLOBAL)

        async def late(*given: Any) -> None:
            await approve(there.world.incident.id, "bo")
            there.world.switch.values["mode"] = "odd"
            await engine.release(BrakeScope.GLOBAL, "", "ann")
            await until(lambda: pending(there.world.incident))
            await approve(*given)

        orders.approve = late
        status, text = await there.post(link)
        assert (status, "asked anew" in text) == (409, True)
        assert there.world.switch.values["mode"] == "odd"


async def test_what_cannot_be_approved_any_more_says_why():
    async with visiting() as there:
        there.world.engine._versions.clear()
        status, text = await there.post(there.link)
        assert (status, "not known any more" in text) == (409, True)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"answer": "approve", "name": " "}, 400),
        ({"answer": "approve"}, 400),
        ({"answer": "approve", "name": "x" * 65}, 400),
        ({"answer": "approve", "name": "x", "why": "x" * 501}, 400),
        ({"answer": "deny", "name": "x"}, 400),
        ({"answer": "maybe", "name": "x"}, 400),
        ({}, 400),
        ({str(i): "x" for i in range(20)}, 400),
        (b"name=%ff", 400),
        (b"name=" + b"x" * 20_000, 413),
    ],
)
async def test_a_form_that_says_too_little_or_too_much_is_refused_and_answers_nothing(data, status):
    async with visiting() as there:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await there.post(there.link, data=data, headers=headers))[0] == status
        await asyncio.sleep(0.02)
        assert there.world.words[-1] == "approval_requested"


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}])
async def test_only_a_plain_form_answers(headers):
    async with visiting() as there:
        body = b"answer=approve&name=x"
        given = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        assert (await there.post(there.link, data=body, headers=given))[0] == 415
        assert approved(there) == 0


async def test_other_methods_answer_nothing():
    async with visiting() as there:
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await there.get(there.link, method))[0] == 405
        assert approved(there) == 0


# --- strangers ---


async def test_a_forged_link_is_404_and_looks_the_same_whether_the_incident_exists_or_not():
    async with visiting() as there:
        identifier, (*_, number, contact, signed) = there.world.incident.id, there.link.split("/")
        path = f"{there.base}/approve"
        other = Links(SecretStr("old word"), there.base)
        forged = (
            f"{path}/{identifier}/{number}/{contact}/{signed[:-1]}",
            f"{path}/{identifier}/{number}/{contact}/{signed.swapcase()}",
            f"{path}/{identifier}/{number}/chat/{signed}",
            f"{path}/{identifier}/{int(number) + 1}/{contact}/{signed}",
            f"{path}/INC-0/{number}/{contact}/{signed}",
            f"{path}/{quote(EVIL, safe='')}/{number}/{contact}/{signed}",
            other.url(identifier, int(number), contact),
            there.links.url("INC-0", 2, "oncall"),  # ours, and about nothing
            there.links.url(identifier, 1, "oncall"),
            f"{path}/{identifier}/x/{contact}/{signed}",
            f"{there.link}/more",
            f"{path}/",
        )
        told = set()
        for url in forged:
            for status, text in (await there.post(url), (await there.get(url))[:2]):
                assert status == 404
                told.add(text)
        assert len(told) == 1
        assert approved(there) == 0
        assert there.office.logins == 20  # all but the two that are ours


async def test_a_link_is_no_key_to_anything_else():
    async with visiting() as there:
        *_, signed = there.link.split("/")
        headers = {"Authorization": f"Bearer {signed}"}
        async with there.session.get(f"{there.base}/api/v1/incidents", headers=headers) as answer:
            assert answer.status == 401


async def test_the_signature_is_never_in_a_log_and_never_in_an_answer(capfd):
    logging.getLogger().setLevel(logging.DEBUG)
    log.configure(console=False)
    try:
        async with visiting() as there:
            *_, signed = there.link.split("/")
            shown = [await there.get(there.link), await there.post(there.link, data={})]
            shown += [await there.get(there.link + "/more"), await there.get(there.link, "PUT")]
            timeline, there.world.journal.timeline = there.world.journal.timeline, fails(StoreError("full"))
            shown += [await there.get(there.link), await there.post(there.link)]
            there.world.journal.timeline = fails(RuntimeError("ours"))
            shown += [await there.get(there.link), await there.post(there.link)]
            there.world.journal.timeline = timeline
            shown.append(await there.post(there.link))
            assert [answer[0] for answer in shown] == [200, 400, 404, 405, 503, 503, 500, 500, 200]
            await until(lambda: there.world.incident.phase == "mitigated")
            lines = there.world.journal.timelines
    finally:
        structlog.reset_defaults()
        logging.basicConfig(force=True, handlers=[])
    said = capfd.readouterr()
    assert "api_fault" in said.err
    assert "store_unavailable" in said.err
    for place in (said.err, said.out, repr(lines), repr([answer[1] for answer in shown])):
        assert signed not in place
        assert TOKEN not in place


def fails(error: Exception) -> Any:
    async def fail(*_: Any) -> Any:
        raise error

    return fail


async def test_without_an_external_url_there_are_no_links():
    office = Office()
    async with serving(lambda app: mount(app, office.desk)) as (base, session):
        url = Links(SecretStr(TOKEN), base).url("INC-0", 2, "oncall")
        async with session.get(url) as answer:
            assert answer.status == 404
    assert office.logins == 0

"""The heartbeat to the outside: what a local service hears of it, and that it hears nothing from a daemon with a broken store."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from pydantic import SecretStr
from structlog.testing import capture_logs
from tests.desk import NOW
from tests.integration.test_app import body, daemon, down, post

from stopgap import deadman
from stopgap.context import Http
from stopgap.deadman import Beacon
from stopgap.dependency import Dependency
from stopgap.errors import PermanentError, StoreError, TemporaryError
from stopgap.store import DATABASE, sqlite, writer
from stopgap.survey import Answer, Flaw, Status, Survey
from stopgap.vitals import unheard

SECRET = "5f0e-hunter2"


class Sink:
    """Hears GETs, and answers with what is next in `answers`, at last with 200."""

    def __init__(self):
        self.heard = []
        self.answers = []

    async def get(self, request: web.Request) -> web.StreamResponse:
        self.heard.append(request.path_qs)
        answer = self.answers.pop(0) if self.answers else web.Response(text="OK")
        if answer is None:
            await asyncio.sleep(30)
        return answer


@asynccontextmanager
async def sink():
    heard, app = Sink(), web.Application()
    app.router.add_get("/{path:.*}", heard.get)
    async with TestServer(app, skip_url_asserts=True) as server:
        heard.url = f"http://127.0.0.1:{server.port}/ping/{SECRET}?status=up"
        yield heard


@asynccontextmanager
async def beacon(url: str, within: float = 10):
    http = Http()
    try:
        yield Beacon(SecretStr(url), http.session, timedelta(seconds=within))
    finally:
        await http.close()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(deadman, "PAUSE", timedelta())


async def test_one_get_goes_to_the_address_as_it_was_given():
    async with sink() as there, beacon(there.url) as out:
        await out.send()
        assert there.heard == [f"/ping/{SECRET}?status=up"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_passing_fault_is_tried_once_more(status):
    async with sink() as there, beacon(there.url) as out:
        there.answers = [web.Response(status=status)]
        await out.send()
        assert len(there.heard) == 2
        there.answers = [web.Response(status=status), web.Response(status=status)]
        with pytest.raises(TemporaryError, match=f"it answered {status}"):
            await out.send()
        assert len(there.heard) == 4


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (web.Response(status=404), "it answered 404"),
        (web.Response(text="OK (not found)"), "did not count it"),
        (web.Response(text="OK (rate limited)"), "did not count it"),
        (web.Response(status=302, headers={"Location": "http://elsewhere.invalid/"}), "another place"),
        (web.Response(status=302, headers={"Location": "ftp://127.0.0.1/"}), "another place"),
    ],
)
async def test_what_will_not_get_better_is_not_tried_again(answer, why):
    async with sink() as there, beacon(there.url) as out:
        there.answers = [answer]
        with pytest.raises(PermanentError, match=why) as caught:
            await out.send()
        assert len(there.heard) == 1
        assert SECRET not in str(caught.value)


async def test_a_redirect_on_the_same_host_is_followed_but_not_for_ever():
    async with sink() as there, beacon(there.url) as out:
        there.answers = [web.Response(status=307, headers={"Location": "/new"})]
        await out.send()
        assert there.heard[1:] == ["/new"]
        there.answers = [web.Response(status=307, headers={"Location": "/new"}) for _ in range(9)]
        with pytest.raises(PermanentError, match="redirects without end"):
            await out.send()


async def test_one_that_never_answers_is_given_up_and_nobody_hears_the_address():
    async with sink() as there, beacon(there.url, within=0.05) as out:
        there.answers = [None, None]
        with pytest.raises(TemporaryError, match="no answer in time"):
            await out.send()
        assert len(there.heard) == 2


@pytest.mark.parametrize(
    "url",
    [f"http://127.0.0.1:{{port}}/{SECRET}", f"http://{SECRET}.invalid/", f"http://127.0.0.1:99999/{SECRET}"],
)
async def test_one_that_cannot_be_reached_is_named_by_its_fault_only(url):
    async with beacon(url.format(port=unused_port())) as out:
        with pytest.raises(TemporaryError) as caught:
            await out.send()
        assert str(caught.value)
        assert SECRET not in str(caught.value)


# --- the whole daemon ---

SAMPLE = "stopgap_heartbeat_sent_total"


def beats(app, result: str) -> float:
    return app.metrics.registry.get_sample_value(SAMPLE, {"result": result})


def up(app, dependency: str) -> float | None:
    return app.metrics.registry.get_sample_value("stopgap_dependency_up", {"dependency": dependency})


async def until(condition) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to pass")


async def ready(app, token: str = "Bearer word") -> tuple[int, dict]:
    async with app.session.get("/-/ready", headers={"Authorization": token}) as answer:
        return answer.status, await answer.json()


async def test_a_daemon_beats_and_says_that_it_arrived(tmp_path):
    async with sink() as there, daemon(tmp_path, heartbeat_url=there.url) as app:
        await until(lambda: beats(app, "succeeded") == 1)
        assert len(there.heard) == 1
        assert up(app, "heartbeat") == 1
        _, said = await ready(app)
        assert said["dependencies"] == {"contacts": "ok", "heartbeat": "ok", "store": "ok"}
        async with app.session.get("/metrics") as answer:
            assert SECRET not in await answer.text()


async def test_a_broken_store_withholds_the_beat_and_a_mended_one_lets_it_go(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "AILING", 0.05)
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    with capture_logs() as said:
        async with sink() as there, daemon(tmp_path, heartbeat_url=there.url, heartbeat_every="1s") as app:
            await until(lambda: beats(app, "succeeded") == 1)
            intruder = sqlite3.connect(tmp_path / "data" / DATABASE, isolation_level=None)
            intruder.execute("BEGIN IMMEDIATE")  # now the writer cannot write
            await until(lambda: beats(app, "withheld") >= 1)
            assert len(there.heard) == 1
            assert (up(app, "store"), up(app, "heartbeat")) == (0, 1)
            assert (await ready(app))[0] == 503
            intruder.close()
            await until(lambda: beats(app, "succeeded") == 2)
            assert up(app, "store") == 1
            assert (await ready(app))[0] == 200
    (warning,) = [line for line in said if line["event"] == "heartbeat"]
    assert (warning["result"], warning["why"]) == (
        "withheld",
        "store: the journal cannot be written: database is locked",
    )
    assert SECRET not in repr(said)


async def test_a_store_that_failed_a_notification_is_away_before_it_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    async with daemon(tmp_path) as app:
        await asyncio.wait_for(app.store.meet((), app.clock.now()), 5)
        with closing(sqlite3.connect(tmp_path / "data" / DATABASE, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            assert await post(app, body(down())) == 503
            assert up(app, "store") == 0
            status, told = await ready(app)
            assert (status, told["dependencies"]["store"]) == (
                503,
                "the journal cannot be written: database is locked",
            )


async def test_a_writer_that_hangs_withholds_the_beat_though_nothing_failed(tmp_path, monkeypatch):
    async def hang(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr("stopgap.dependency.WITHIN", timedelta(milliseconds=50))
    async with sink() as there, daemon(tmp_path, heartbeat_url=there.url, heartbeat_every="1s") as app:
        await until(lambda: beats(app, "succeeded") == 1)
        monkeypatch.setattr(app.store, "meet", hang)
        await until(lambda: beats(app, "withheld") == 1)
        assert app.store.healthy
        assert len(there.heard) == 1
        status, said = await ready(app)
        assert (status, said["checks"]["store"]) == (503, "no answer within 50ms")


async def test_a_full_queue_withholds_the_beat(tmp_path, monkeypatch):
    async def full(*_):
        raise StoreError("the journal's queue is full")

    async with sink() as there, daemon(tmp_path, heartbeat_url=there.url, heartbeat_every="1s") as app:
        await until(lambda: beats(app, "succeeded") == 1)
        monkeypatch.setattr(app.store, "meet", full)
        await until(lambda: beats(app, "withheld") == 1)


async def test_a_service_outside_that_is_away_is_seen_and_makes_nothing_unready(tmp_path):
    url = f"http://127.0.0.1:{unused_port()}/{SECRET}"
    with capture_logs() as said:
        async with daemon(tmp_path, heartbeat_url=url) as app:
            await until(lambda: beats(app, "failed") == 1)
            assert up(app, "heartbeat") == 0
            status, told = await ready(app)
            assert (status, told["ready"]) == (200, True)
            assert told["dependencies"]["heartbeat"] not in ("ok", "away")
            _, told = await ready(app, token="")
            assert told["dependencies"]["heartbeat"] == "away"
    assert SECRET not in repr(said)
    assert [line["result"] for line in said if line["event"] == "heartbeat"] == ["failed"]


async def test_prometheus_away_is_seen_and_makes_nothing_unready(tmp_path):
    async with daemon(tmp_path, prometheus=f"http://127.0.0.1:{unused_port()}") as app:
        await until(lambda: up(app, "prometheus") == 0)
        status, told = await ready(app)
        assert (status, told["ready"]) == (200, True)
        assert told["dependencies"]["prometheus"].startswith("Prometheus cannot be asked")
        assert up(app, "heartbeat") is None


async def test_an_alertmanager_that_is_away_is_seen_by_its_address_without_its_password(tmp_path):
    away = f"127.0.0.1:{unused_port()}"
    async with daemon(tmp_path, alertmanager=(f"http://me:{SECRET}@{away}",)) as app:
        await until(lambda: up(app, "alertmanager") == 0)
        status, told = await ready(app)
        assert (status, told["ready"]) == (200, True)
        assert told["dependencies"]["alertmanager"].startswith(f"http://{away}: ")
        assert SECRET not in repr(told)
        app.vitals.dependencies.note(Dependency.ALERTMANAGER, "")
        with capture_logs() as said:
            for _ in range(2):
                await app.vitals._watch.look(Dependency.ALERTMANAGER)
        (line,) = said
        assert (line["event"], line["dependency"]) == ("dependency_away", "alertmanager")


def test_a_survey_hears_all_or_says_whom_not_and_an_old_one_heard_nobody():
    heard = {"http://a": Answer((), Status(timedelta(hours=1), "0.28")), "http://b": Flaw("refused")}
    survey = Survey(at=NOW, heard=heard, complete=False, settled=False, alerts={})
    assert unheard(survey, NOW) == "http://b: refused"
    assert unheard(replace(survey, heard={"http://a": heard["http://a"]}), NOW) == ""
    assert unheard(survey, NOW + timedelta(minutes=6)) == "none was asked for 6m"


TELLING = """
rules:
  - name: tell
    match: alertname="Down"
    ladder: []
    escalate: [{{when: opened, notify: [oncall]}}]
"""


async def test_a_contact_that_takes_no_message_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("STOPGAP_CONTACT_ONCALL", f"json://127.0.0.1:{unused_port()}/{SECRET}")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "site.yaml").write_text("contacts: {oncall: {url_env: STOPGAP_CONTACT_ONCALL}}\n")
    async with daemon(tmp_path, TELLING) as app:
        assert up(app, "contacts") == 1
        assert await post(app, body(down())) == 200
        await until(lambda: up(app, "contacts") == 0)
        status, told = await ready(app)
        assert (status, told["dependencies"]["store"]) == (200, "ok")
        assert told["dependencies"]["contacts"].startswith("oncall took no message")
        assert SECRET not in repr(told)

"""Alertmanager: polls of real ones (alone, clustered, restarted, standing still), and of servers that answer as broken ones do."""

import asyncio
import json
import os
import signal
import threading
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests import prometheus_server

from stopgap.alert import fingerprint
from stopgap.alertmanager import Alertmanager, Alertmanagers
from stopgap.clock import SystemClock
from stopgap.errors import ProbeError
from stopgap.survey import Answer, Flaw, State

pytestmark = pytest.mark.xdist_group("alertmanager")
LONG = timedelta(seconds=20)
US, OTHERS = "team (a|b)+ [1.5]", "team aaa 1"  # as a regex, ours would be theirs too
HOSTILE = 'x"\\\n<b>\u00e9\u2028'


def configuration():
    ours = {"receiver": US, "matchers": ['team="us"']}
    return {
        "route": {"receiver": OTHERS, "group_by": ["..."], "routes": [ours]},
        "receivers": [{"name": US}, {"name": OTHERS}],
        "inhibit_rules": [{"source_matchers": ['role="source"'], "target_matchers": ['role="target"']}],
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def am(tmp_path_factory):
    async with prometheus_server.alertmanager(tmp_path_factory.mktemp("am"), configuration()) as server:
        yield server


@asynccontextmanager
async def client(url):
    async with aiohttp.ClientSession() as session:
        yield Alertmanager(url, lambda: session)


async def alerts(url, receiver=US, timeout=LONG):
    async with client(url) as one:
        return await one.alerts(receiver, timeout)


async def survey(*urls, receiver=US, **options):
    async with aiohttp.ClientSession() as session:
        return await Alertmanagers(urls, lambda: session, SystemClock(), **options).survey(receiver)


async def post(server, path, body):
    async with aiohttp.ClientSession() as session, session.post(server.url + path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json() if "silences" in path else None


async def fire(server, *named, **labels):
    await post(
        server, "/api/v2/alerts", [{"labels": {"alertname": name, "team": "us"} | labels} for name in named]
    )


async def resolve(server, name):
    over = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    await post(server, "/api/v2/alerts", [{"labels": {"alertname": name, "team": "us"}, "endsAt": over}])


async def silence(server, name):
    now = datetime.now(UTC)
    body = {
        "matchers": [{"name": "alertname", "value": name, "isRegex": False}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "a person",
        "comment": "looking at it",
    }
    return (await post(server, "/api/v2/silences", body))["silenceID"]


async def comes(ask, true, within=15):
    """Ask until the answer is as it should be; return it."""
    until = time.monotonic() + within
    while not true(answer := await ask()):
        assert time.monotonic() < until, answer
        await asyncio.sleep(0.05)
    return answer


async def polled(server, name, state, **how):
    """Wait until the alert is there in this state."""

    async def ask():
        return [one for one in await alerts(server.url, **how) if one.alert.labels["alertname"] == name]

    (one,) = await comes(ask, lambda found: [one.state for one in found] == [state])
    return one


# --- real ones ---


async def test_an_active_alert_has_its_labels_times_and_receiver_and_no_end(am):
    await fire(am, "Active", odd=HOSTILE)
    one = await polled(am, "Active", State.ACTIVE)
    labels = {"alertname": "Active", "team": "us", "odd": HOSTILE}
    assert (one.alert.labels, one.alert.fingerprint) == (labels, fingerprint(labels))
    assert (one.alert.firing, one.alert.ends_at, one.alert.fingerprint_matches) == (True, None, True)
    assert (one.silenced_by, one.inhibited_by, one.receivers) == ((), (), (US,))
    now = datetime.now(UTC)
    assert now - timedelta(minutes=1) < one.alert.starts_at <= one.updated_at <= now + timedelta(seconds=1)


async def test_a_silenced_alert_is_suppressed_and_names_the_silence(am):
    await fire(am, "Silenced")
    number = await silence(am, "Silenced")
    assert (await polled(am, "Silenced", State.SUPPRESSED)).silenced_by == (number,)


async def test_an_inhibited_alert_is_suppressed_and_names_its_inhibitor(am):
    await fire(am, "Inhibited", role="target")
    await fire(am, "Inhibitor", role="source")
    one = await polled(am, "Inhibited", State.SUPPRESSED)
    labels = {"alertname": "Inhibitor", "team": "us", "role": "source"}
    assert (one.silenced_by, one.inhibited_by) == ((), (fingerprint(labels),))


async def test_a_resolved_alert_is_not_listed(am):
    await fire(am, "Short")
    await polled(am, "Short", State.ACTIVE)
    await resolve(am, "Short")
    await comes(
        lambda: alerts(am.url), lambda found: "Short" not in {one.alert.labels["alertname"] for one in found}
    )


async def test_only_the_receiver_of_exactly_this_name_is_asked_about(am):
    await fire(am, "Theirs", team="others")
    assert (await polled(am, "Theirs", State.ACTIVE, receiver=OTHERS)).receivers == (OTHERS,)
    await fire(am, "Ours")
    await polled(am, "Ours", State.ACTIVE)
    ours, theirs, every = [await alerts(am.url, receiver) for receiver in (US, OTHERS, None)]
    assert {one.receivers for one in ours} == {(US,)}
    assert {one.receivers for one in theirs} == {(OTHERS,)}
    assert len(every) == len(ours) + len(theirs)


async def test_a_survey_of_one_that_just_started_is_complete_and_settles_later(am):
    await fire(am, "Surveyed")
    await polled(am, "Surveyed", State.ACTIVE)
    began = datetime.now(UTC)
    found = await survey(am.url)
    (answer,) = found.heard.values()
    assert isinstance(answer, Answer)
    assert (found.complete, found.settled, list(found.heard)) == (True, False, [am.url])
    assert (answer.status.version[:2], answer.status.uptime < timedelta(minutes=2)) == ("0.", True)
    assert began <= found.at <= datetime.now(UTC)
    assert {one.alert.fingerprint: one for one in answer.alerts} == found.alerts
    at_once = timedelta(milliseconds=1)
    await comes(lambda: survey(am.url, resend_delay=at_once), lambda found: found.complete and found.settled)


async def test_a_receiver_that_is_not_there_proves_nothing(am):
    found = await survey(am.url, receiver="stopgap")
    assert (found.complete, found.settled) == (False, False)
    assert found.heard == {am.url: Flaw("Alertmanager has no receiver 'stopgap': name ours with --receiver")}


async def test_one_that_was_restarted_knows_of_nothing_and_is_not_settled(tmp_path):
    delay = timedelta(seconds=1)
    async with prometheus_server.alertmanager(tmp_path, configuration()) as server:
        await fire(server, "Lost")
        await polled(server, "Lost", State.ACTIVE)
        await comes(lambda: survey(server.url, resend_delay=delay), lambda found: found.settled)
    async with prometheus_server.alertmanager(tmp_path, configuration()) as server:
        found = await survey(server.url, resend_delay=delay)
    assert (found.complete, found.settled, found.alerts) == (True, False, {})


@asynccontextmanager
async def clustered(directory):
    """Two Alertmanagers that tell each other of silences."""
    ports = [prometheus_server.free_port(), prometheus_server.free_port()]

    def flags(ours, theirs):
        return (
            f"--cluster.listen-address=127.0.0.1:{ours}",
            f"--cluster.peer=127.0.0.1:{theirs}",
            "--cluster.peer-timeout=3s",
            "--cluster.settle-timeout=1s",
        )

    async with (
        prometheus_server.alertmanager(directory / "a", configuration(), *flags(*ports)) as one,
        prometheus_server.alertmanager(directory / "b", configuration(), *flags(*ports[::-1])) as other,
    ):
        yield one, other


async def test_two_that_are_clustered_are_laid_together_and_one_that_stands_still_is_missed(tmp_path):
    async with clustered(tmp_path) as (one, other):
        await fire(one, "Both", "OnlyOne")
        await fire(other, "Both", "OnlyOther")

        async def both():
            return await survey(one.url, other.url)

        found = await comes(both, lambda found: len(found.alerts) == 3)
        assert (found.complete, {each.state for each in found.alerts.values()}) == (True, {State.ACTIVE})
        number = await silence(one, "Both")
        shared = fingerprint({"alertname": "Both", "team": "us"})
        found = await comes(both, lambda found: found.alerts[shared].state is State.SUPPRESSED)
        assert found.alerts[shared].silenced_by == (number,)

        other.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, other.process.pid, os.WSTOPPED)
        try:
            began = time.monotonic()
            found = await survey(one.url, other.url, timeout=timedelta(milliseconds=500))
            assert time.monotonic() - began < 5
        finally:
            other.process.send_signal(signal.SIGCONT)
        assert (found.complete, found.settled) == (False, False)
        assert found.heard[other.url] == Flaw("Alertmanager did not answer within 500ms")
        assert {each.alert.labels["alertname"] for each in found.alerts.values()} == {"Both", "OnlyOne"}
        assert (await comes(both, lambda found: found.complete)).alerts.keys() >= {shared}


async def test_one_that_is_gone_is_a_flaw_without_its_password(am):
    port = prometheus_server.free_port()
    found = await survey(am.url, f"http://stopgap:hunter2@127.0.0.1:{port}/")
    flaw = found.heard[f"http://127.0.0.1:{port}"]
    assert isinstance(flaw, Flaw)
    assert flaw.why.startswith("Alertmanager cannot be asked: ")
    assert (found.complete, "hunter2" in repr(found)) == (False, False)


# --- answers that real ones give seldom ---


def one_alert(i=0, **more):
    return {
        "annotations": {"summary": "s" * 200},
        "startsAt": "2026-01-02T03:04:05.678Z",
        "endsAt": "2026-01-02T03:09:05.678Z",
        "updatedAt": "2026-01-02T04:05:05.678+01:00",
        "fingerprint": "0",
        "generatorURL": "http://prometheus/graph",
        "receivers": [{"name": "us"}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
        "labels": {"alertname": "X", "i": str(i)},
    } | more


GOOD = {
    "/alerts": lambda: json.dumps([one_alert()]),
    "/status": lambda: json.dumps({"uptime": "2026-01-01T00:00:00Z", "versionInfo": {"version": "0.34.0"}}),
    "/receivers": lambda: json.dumps([{"name": "us"}]),
}


@asynccontextmanager
async def answering(**replies):
    """A server behind a path and a password; what is not given is answered well."""
    asked = []

    async def reply(request):
        asked.append(request)
        assert request.headers["Authorization"] == "Basic c3RvcGdhcDpodW50ZXIy"
        path = request.path.removeprefix("/prefix/api/v2")
        given = replies.get(path[1:])
        if given is not None:
            return await given(request) if callable(given) else web.Response(status=given[0], **given[1])
        return web.Response(text=GOOD[path]())

    app = web.Application()
    app.router.add_get("/prefix/api/v2/{word}", reply)
    async with TestServer(app) as server:
        server.asked = asked
        server.at = f"127.0.0.1:{server.port}/prefix"
        server.secret = f"http://stopgap:hunter2@{server.at}/"
        yield server


async def test_user_password_and_path_of_the_url_are_used_and_never_shown():
    async with answering() as server:
        found = await survey(server.secret, receiver="us")
    assert [request.path for request in server.asked] == [
        f"/prefix/api/v2/{word}" for word in ("alerts", "status", "receivers")
    ]
    assert dict(server.asked[0].query) == {
        "active": "true",
        "silenced": "true",
        "inhibited": "true",
        "unprocessed": "true",
        "receiver": "^(?:us)$",
    }
    assert (found.settled, list(found.heard), "hunter2" in repr(found)) == (
        True,
        [f"http://{server.at}"],
        False,
    )
    (one,) = found.alerts.values()
    assert one.updated_at == datetime(2026, 1, 2, 3, 5, 5, 678000, UTC)
    assert one.alert.fingerprint == fingerprint({"alertname": "X", "i": "0"})


async def test_one_that_runs_long_settles_nothing_while_another_is_away():
    async with answering() as server:
        assert (await survey(server.secret, receiver="us")).settled
        away = f"http://127.0.0.1:{prometheus_server.free_port()}"
        found = await survey(server.secret, away, receiver="us")
    assert (found.complete, found.settled, len(found.alerts)) == (False, False, 1)


async def test_without_a_receiver_all_alerts_are_asked_for_and_none_is_looked_up():
    async with answering() as server:
        assert (await survey(server.secret, receiver=None)).settled
    assert "receiver" not in server.asked[0].query
    assert len(server.asked) == 2


def text(body, status=200, **more):
    return (status, {"text": body, **more})


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (text('"failed to parse receiver regex"', 400), "400 with failed to parse receiver regex$"),
        (
            text('{"code":601,"message":"active in query must be\\nof type boolean"}', 422),
            "422 with active in query .* boolean$",
        ),
        (text("404 page not found\n", 404), "404 with 404 page not found$"),
        (text('{"status":"error","error":"gone"}', 404), "404 with gone$"),
        (text('{"code":500}', 500), '500 with {"code":500}$'),
        (text("<html>\x1b[2J bad gateway</html>" + "x" * 5000, 502), "502 with <html> .*bad gateway"),
        (text("Unauthorized", 401), "401 with Unauthorized"),
        (text("", 503), "503 with nothing"),
        (
            text("", 302, headers={"Location": "http://127.0.0.1:1/"}),
            "302 with nothing; a redirect is not followed",
        ),
        (text("[]", 203), "203 with "),
        (text("<html>sign in</html>"), "200 with <html>sign in"),
        (text("null"), "200 with null"),
        (text("[" * 100_000), "200 with "),
        (text("{}"), "not the form of its API v2"),
        (text("[1]"), "not the form"),
        (text(json.dumps([one_alert(status=None)])), "not the form"),
        (text(json.dumps([one_alert(status={"state": []})])), "not the form"),
        (text(json.dumps([one_alert(startsAt="soon")])), "not the form"),
        (text(json.dumps([one_alert(updatedAt="soon")])), "not the form"),
        (text(json.dumps([one_alert(receivers=["us"])])), "not the form"),
    ],
)
async def test_an_answer_that_is_none_is_an_error_in_alertmanagers_own_words(reply, why):
    async with answering(alerts=reply) as server:
        with pytest.raises(ProbeError, match=why) as failed:
            await alerts(server.secret)
        found = await survey(server.secret, receiver="us")
    assert len(str(failed.value)) < 300
    assert str(failed.value).isprintable()
    assert (list(found.heard.values()), found.complete) == ([Flaw(str(failed.value))], False)


@pytest.mark.parametrize(
    ("word", "reply", "why"),
    [
        ("status", text("{}"), "not the form"),
        ("status", text('{"uptime":"never","versionInfo":{"version":"1"}}'), "not the form"),
        ("status", text("[]"), "not the form"),
        ("status", text("starting", 503), "503 with starting"),
        ("status", text(GOOD["/status"](), headers={"Date": "today"}), "no date"),
        ("receivers", text("[1]"), "not the form"),
        ("receivers", text('[{"name": "them"}]'), "no receiver 'us'"),
    ],
)
async def test_alerts_alone_are_no_answer(word, reply, why):
    async with answering(**{word: reply}) as server:
        found = await survey(server.secret, receiver="us")
    (flaw,) = found.heard.values()
    assert isinstance(flaw, Flaw)
    assert why in flaw.why
    assert (found.complete, found.alerts) == (False, {})


async def test_uptime_is_counted_by_alertmanagers_own_clock():
    started = text(
        '{"uptime":"2016-01-02T03:04:05.5+01:00","versionInfo":{"version":"0.25.0"}}',
        headers={"Date": "Sat, 02 Jan 2016 02:05:05 GMT"},
    )
    async with answering(status=started) as server, client(server.secret) as one:
        assert (await one.status(LONG)).uptime == timedelta(seconds=59.5)
        assert not (await survey(server.secret, receiver="us")).settled


@pytest.mark.parametrize(
    ("more", "labels"),
    [
        ({"labels": {}}, None),
        ({"labels": {"a": 1}}, None),
        ({"labels": {"a": "x" * 70_000}}, None),
        ({"annotations": {"a": 1}}, {"alertname": "X", "i": "0"}),
        ({"annotations": {"a": "x" * 70_000}}, {"alertname": "X", "i": "0"}),
        ({"generatorURL": "x" * 70_000}, {"alertname": "X", "i": "0"}),
    ],
)
async def test_one_odd_alert_neither_hides_the_others_nor_is_it_missed_for_its_annotations(more, labels):
    body = json.dumps([one_alert(**more), one_alert(7)])
    async with answering(alerts=text(body)) as server:
        found = [one.alert.labels for one in await alerts(server.secret)]
    assert found == [labels, {"alertname": "X", "i": "7"}][labels is None :]


async def test_a_state_of_which_we_do_not_know_is_not_active():
    body = json.dumps([one_alert(status={"state": "muted", "mutedBy": ["night"]})])
    async with answering(alerts=text(body)) as server:
        assert [one.state for one in await alerts(server.secret)] == [State.UNPROCESSED]


async def test_twenty_thousand_alerts_are_read_whole_and_beside_the_event_loop():
    body = json.dumps([one_alert(i, annotations={"summary": "s" * 400}) for i in range(20_000)])
    assert len(body) > 12_000_000
    threads = set()
    async with answering(alerts=text(body)) as server, client(server.secret) as one:
        ask = one._endpoint.ask

        async def watched(question, read, timeout):
            return await ask(
                question, lambda reply: threads.add(threading.current_thread()) or read(reply), timeout
            )

        one._endpoint.ask = watched
        found = await one.alerts("us", timedelta(seconds=60))
    assert len({each.alert.fingerprint for each in found}) == 20_000
    assert threading.main_thread() not in threads


async def test_an_answer_beyond_the_limit_is_an_error():
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        piece = b" " * (4 << 20)
        for _ in range(17):
            await response.write(piece)
        return response

    async with answering(alerts=endless) as server:
        with pytest.raises(ProbeError, match="larger than 64 MiB"):
            await alerts(server.secret)


async def test_one_that_answers_a_part_in_time_is_cut_off_at_the_limit_of_all():
    async def slow(request):
        await asyncio.sleep(0.2)
        return web.Response(text=GOOD[request.path.removeprefix("/prefix/api/v2")]())

    async with answering(alerts=slow, status=slow, receivers=slow) as server:
        found = await survey(server.secret, receiver="us", timeout=timedelta(milliseconds=300))
    assert list(found.heard.values()) == [Flaw("Alertmanager did not answer within 300ms")]


async def test_a_connection_that_was_reset_is_tried_once_more():
    resets = [1]

    async def reply(request):
        if resets:
            resets.pop()
            request.transport.abort()
        return web.Response(text=GOOD["/alerts"]())

    async with answering(alerts=reply) as server:
        assert len(await alerts(server.secret)) == 1

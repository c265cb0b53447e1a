"""Http sends a request: what is known not done is an error, what is not known is neither done nor failed."""

import asyncio
from datetime import timedelta

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from stopgap.action import Moment, Restored, Settled
from stopgap.actions import HttpCall
from stopgap.actions.http import NoClearAnswer
from stopgap.context import Http
from stopgap.errors import ActionError, PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=5))


class Server:
    """A limit that can be read and put, and an address that answers as told."""

    def __init__(self) -> None:
        self.limit = {"per_minute": 120}
        self.answer = (200, "", {})
        self.seen = []
        self.url = ""

    async def limits(self, request):
        self.seen.append(request)
        if request.method == "PUT":
            self.limit = await request.json()
        return web.json_response({"limits": self.limit, "at": len(self.seen)})

    async def told(self, request):
        self.seen.append(request)
        await request.read()
        status, text, headers = self.answer
        if status == 0:
            request.transport.close()
        if status == -1:
            await asyncio.sleep(3)
        return web.Response(status=max(status, 200), text=text, headers=headers)


class Context:
    prometheus = contacts = None

    def __init__(self, http):
        self.http = http


@pytest_asyncio.fixture
async def server():
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/limits", server.limits)
    app.router.add_route("*", "/told", server.told)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest_asyncio.fixture
async def call():
    http = Http()
    yield HttpCall(Context(http))
    await http.close()


def limits(server, **more):
    given = {
        "method": "PUT",
        "url": f"{server.url}/limits",
        "json": {"per_minute": 300},
        "observe": {"pick": "limits"},
    }
    return HttpCall.params(**{**given, "revert": {"method": "PUT"}, **more})


async def test_what_observe_saw_is_put_back(server, call):
    params = limits(server, headers={"Authorization": SecretStr("hush")})
    before = await call.observe(params, NOW)
    receipt = await call.run(params, before, NOW)
    assert server.limit == {"per_minute": 300}
    assert server.seen[1].headers["Idempotency-Key"] == NOW.key
    assert server.seen[1].headers["Authorization"] == "hush"
    assert server.seen[1].content_type == "application/json"
    assert call.settled(params, before, await call.observe(params, NOW)) is Settled.DONE
    assert (await call.revert(params, before, receipt, NOW)).result is Restored.REVERTED
    assert server.limit == {"per_minute": 120}
    assert call.settled_revert(params, before, await call.observe(params, NOW)) is Settled.DONE
    assert (await call.revert(params, before, receipt, NOW)).result is Restored.NOTHING


async def test_what_somebody_changed_meanwhile_is_left_alone(server, call):
    params = limits(server)
    before = await call.observe(params, NOW)
    receipt = await call.run(params, before, NOW)
    server.limit = {"per_minute": 500}
    assert (await call.revert(params, before, receipt, NOW)).result is Restored.DRIFTED
    assert server.limit == {"per_minute": 500}


async def test_an_unknown_outcome_is_settled_by_the_question(server, call):
    params = limits(server)
    before = await call.observe(params, NOW)
    assert call.settled(params, before, before) is Settled.NOT_DONE
    assert (
        call.settled(params, {"value": {"per_minute": 300}}, {"value": {"per_minute": 300}}) is Settled.DONE
    )
    assert call.settled(limits(server, observe=None, revert=None), None, None) is Settled.UNCLEAR


def told(server, **more):
    return HttpCall.params(url=f"{server.url}/told?token=hush", **more)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, "", {}), PermanentError),
        ((401, "", {}), PermanentError),
        ((404, "", {}), PermanentError),
        ((409, "", {}), PermanentError),
        ((302, "", {"Location": "/limits"}), PermanentError),
        ((408, "", {}), TemporaryError),
        ((429, "", {}), TemporaryError),
        ((503, "", {}), TemporaryError),
        ((500, "", {}), NoClearAnswer),
        ((502, "", {}), NoClearAnswer),
        ((0, "", {}), NoClearAnswer),
    ],
)
async def test_an_answer_is_failure_or_unknown_and_is_sent_once(server, call, answer, error):
    server.answer = answer
    with pytest.raises(error) as raised:
        await call.run(told(server), None, NOW)
    assert isinstance(raised.value, ActionError) is (error is not NoClearAnswer)
    assert "hush" not in str(raised.value)
    assert len(server.seen) == 1
    with pytest.raises(ActionError):
        await call.observe(told(server, observe={}), NOW)


async def test_retry_after_is_passed_on(server, call):
    server.answer = (429, "", {"Retry-After": "7"})
    with pytest.raises(TemporaryError) as raised:
        await call.run(told(server), None, NOW)
    assert raised.value.retry_after == timedelta(seconds=7)


async def test_no_answer_in_time_is_unknown(server, call):
    server.answer = (-1, "", {})
    short = Moment(key="k", timeout=timedelta(seconds=0.2))
    with pytest.raises(TimeoutError) as raised:
        await call.run(told(server), None, short)
    assert not isinstance(raised.value, ActionError)
    with pytest.raises(TemporaryError):
        await call.observe(told(server, observe={}), short)


async def test_a_server_that_is_not_there_was_not_asked(call):
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await call.run(HttpCall.params(url="http://127.0.0.1:1/x"), None, NOW)


async def test_a_status_that_the_rule_wants_is_success(server, call):
    server.answer = (404, "", {})
    assert await call.run(told(server, method="DELETE", status=[204, 404]), None, NOW) == {"after": None}


async def test_an_observation_is_bounded(server, call):
    server.answer = (200, "x" * 65_537, {})
    with pytest.raises(PermanentError, match="larger than"):
        await call.observe(told(server, observe={}), NOW)
    server.answer = (200, "x" * 65_536, {})
    assert len((await call.observe(told(server, observe={}), NOW))["value"]) == 65_536


async def test_what_is_picked_must_be_there(server, call):
    with pytest.raises(PermanentError, match=r"no 'limits\.per_hour'"):
        await call.observe(limits(server, observe={"pick": "limits.per_hour"}), NOW)


async def test_a_body_is_sent_as_it_is(server, call):
    await call.run(told(server, body=SecretStr("a=1")), None, NOW)
    assert server.seen[0].content_type == "text/plain"
    assert call.idempotent(told(server)) is False
    assert call.idempotent(told(server, idempotent=True)) is True
    assert call.idempotent(limits(server)) is True
    assert (await call.revert(told(server), None, None, NOW)).result is Restored.NOTHING


def test_two_secret_addresses_are_two_resources():
    call = HttpCall(Context(None))
    one, two = (HttpCall.params(url=SecretStr(f"https://x/{name}")) for name in ("a", "b"))
    assert call.resource(one) != call.resource(two)

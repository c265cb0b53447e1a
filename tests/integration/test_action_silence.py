"""Silence on a real Alertmanager: the alert is suppressed, and heard again once the silence is taken back."""

import json
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
import pytest_asyncio
from pydantic import ValidationError
from tests import prometheus_server

from stopgap.action import Moment, Restored, Settled
from stopgap.actions import Silence
from stopgap.errors import TemporaryError
from stopgap.stock import bare_context

pytestmark = pytest.mark.xdist_group("alertmanager")

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=10), incident="INC-1")
CONFIGURATION = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    async with prometheus_server.alertmanager(tmp_path_factory.mktemp("am"), CONFIGURATION) as made:
        yield made


@pytest_asyncio.fixture
async def act():
    context = bare_context()
    yield Silence(context)
    await context.http.close()


def params(server, name="CheckoutSlow", **more):
    return Silence.params(
        at=server.url, match=[f'alertname="{name}"', 'job=~"shop.*"'], **{"for": "1h"}, **more
    )


async def silenced(server, name: str) -> bool:
    labels = {"alertname": name, "job": "shop-1"}
    async with aiohttp.ClientSession() as session:
        await session.post(f"{server.url}/api/v2/alerts", json=[{"labels": labels}])
        for _ in range(50):
            answer = await session.get(
                f"{server.url}/api/v2/alerts", params={"filter": f'alertname="{name}"'}
            )
            found = await answer.json()
            if found and found[0]["status"]["state"] != "unprocessed":
                return bool(found[0]["status"]["silencedBy"])
    raise AssertionError("the alert is not there")


async def test_the_alerts_are_silent_until_it_is_taken_back(server, act):
    wanted = params(server)
    before = json.loads(json.dumps(await act.observe(wanted, NOW)))
    assert act.settled(wanted, before, before) is Settled.NOT_DONE
    receipt = json.loads(json.dumps(await act.run(wanted, before, NOW)))
    now = await act.observe(wanted, NOW)
    assert act.settled(wanted, before, now) is Settled.DONE
    assert act.settled_revert(wanted, before, now) is Settled.NOT_DONE
    assert await silenced(server, "CheckoutSlow")
    assert (await act.revert(wanted, before, receipt, NOW)).result is Restored.REVERTED
    assert (await act.revert(wanted, before, receipt, NOW)).result is Restored.NOTHING
    assert act.settled_revert(wanted, before, await act.observe(wanted, NOW)) is Settled.DONE


async def test_what_was_silenced_before_by_another_incident_stays_so(server, act):
    wanted = params(server, "OrdersSlow")
    first = await act.observe(wanted, NOW)
    await act.run(wanted, first, NOW)
    second = await act.observe(wanted, NOW)
    await act.run(wanted, second, replace(NOW, incident="INC-2"))
    await act.revert(wanted, second, None, NOW)
    assert len((await act.observe(wanted, NOW))["ids"]) == 1
    assert await silenced(server, "OrdersSlow")


async def test_nobody_who_answers_is_a_failure_before_anything_is_done(act):
    nobody = Silence.params(at="http://127.0.0.1:1", match='alertname="A"', **{"for": "1h"})
    with pytest.raises(TemporaryError, match="Alertmanager cannot be reached"):
        await act.observe(nobody, NOW)


@pytest.mark.parametrize(
    ("match", "length", "said"),
    [
        ('job=~".*"', "1h", "silence every alert"),
        ('job!="x"', "1h", "silence every alert"),
        ("job=", "1h", "silence every alert"),
        ("no matcher at all", "1h", "match"),
        ('alertname="A"', "2d", "a silence lasts up to 1d"),
        ('alertname="A"', "0s", "a silence lasts up to 1d"),
    ],
)
def test_what_would_silence_too_much_does_not_load(match, length, said):
    with pytest.raises(ValidationError, match=said):
        Silence.params(at="http://127.0.0.1:9093", match=match, **{"for": length})


def test_the_same_alerts_have_one_name():
    def named(*match):
        return Silence.resource(
            None, Silence.params(at="http://127.0.0.1:9093", match=match, **{"for": "1h"})
        )

    assert named('a="1"', "b=~x") == named('b=~"x"', "a = 1") == named('{a="1",b=~"x"}')
    assert named('a="1"') != named('a="2"')

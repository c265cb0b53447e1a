"""Whatever arrives, the webhook answers with one of its own statuses, and briefly."""

import asyncio

import orjson
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings, strategies as st
from tests.intake import FakeIntake, FakeTally, alert, notification

from stopgap.credential import Credential
from stopgap.webhook import CODES, Webhook

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["status", "labels", "annotations", "startsAt", "endsAt", "fingerprint", "generatorURL"]
)
ENVELOPE = st.sampled_from(
    ["version", "groupKey", "truncatedAlerts", "receiver", "externalURL", "status", "alerts"]
)
ALERTS = st.lists(JSONS | st.builds(lambda f, v: {**alert(), f: v}, FIELDS, JSONS), max_size=4)
NEARLY = st.builds(
    lambda alerts, more: orjson.dumps({**orjson.loads(notification(*alerts)), **more}),
    ALERTS,
    st.dictionaries(ENVELOPE, JSONS, max_size=1),
)


async def answer(body: bytes) -> tuple[int, bytes]:
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    request = make_mocked_request("POST", "/webhook", headers=headers, payload=stream)
    response = await Webhook(FakeIntake(), FakeTally(), Credential()).post(request)
    return response.status, response.body


@settings(max_examples=200, deadline=None)
@given(st.binary() | JSONS.map(orjson.dumps) | NEARLY)
def test_any_bytes_get_a_short_answer_that_is_never_our_fault(body):
    status, text = asyncio.run(answer(body))
    assert status in set(CODES) - {503}
    assert len(text) <= 200

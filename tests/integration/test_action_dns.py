"""Dns on the strict double of Cloudflare: a record points to the backup, and back to the primary."""

from datetime import timedelta

import pytest
from pydantic import ValidationError
from tests.doubles.cloudflare import USERS_TOKEN, running_cloudflare
from tests.integration import test_action_contract as contract
from tests.integration.test_action_contract import Case

from stopgap.action import Restored, Settled
from stopgap.actions import Dns
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError

NOW = contract.NOW
ACT = Dns(None)
ZONE = "cloudflare://example.com"
API = "api.example.com"
HOSTILE = [
    "; rm -rf /",
    "$(x)",
    "--flag",
    "../../etc/passwd",
    "\0",
    "5" * 5000,
    "203.0.113.20\n",
    "{{ x }}",
    "",
]


@pytest.fixture
def cloudflare(monkeypatch):
    with running_cloudflare() as double:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", double.url)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", USERS_TOKEN)
        double.add_record("www.example.com", "A", "203.0.113.1", 300)
        double.add_record("example.com", "TXT", "v=spf1 -all", 300)
        yield double


def wanted(to: str = "203.0.113.20", kind: str = "A", record: str = API, **more: object):
    return Dns.params(at=ZONE, record=record, type=kind, set=to, **more)


# --- what every action promises ---


@pytest.fixture(params=["A", "AAAA", "CNAME", "proxied", "wildcard"])
def case(request, cloudflare):
    record, kind, old, params = {
        "A": (API, "A", "203.0.113.10", wanted(ttl="1m")),
        "AAAA": (API, "AAAA", "2001:db8:0:0::10", wanted("2001:DB8::20", "AAAA")),
        "CNAME": (API, "CNAME", "Primary.example.com", wanted("backup.example.net.", "CNAME", ttl="1m")),
        "proxied": ("example.com", "A", "203.0.113.10", wanted(record="example.com")),
        "wildcard": ("*.example.com", "A", "203.0.113.10", wanted(record="*.Example.com.")),
    }[request.param]
    made = cloudflare.add_record(record, kind, old, 300, proxied=request.param == "proxied")

    def meddle():
        made["content"] = {"AAAA": "2001:db8::30", "CNAME": "third.example.net"}.get(kind, "203.0.113.30")

    return Case(ACT, params, lambda: repr(cloudflare.records), meddle)


test_taking_back_restores = contract.test_taking_back_restores_what_was_there
test_taking_back_without_a_receipt = contract.test_taking_back_without_a_receipt_restores_too
test_taking_back_twice = contract.test_taking_back_twice_does_nothing_the_second_time
test_acting_twice = contract.test_acting_twice_with_one_key_is_acting_once
test_an_unknown_outcome = contract.test_an_unknown_outcome_is_settled_by_observing
test_a_cancelled_act = contract.test_a_cancelled_act_is_whole_or_not_there


async def test_what_somebody_changed_meanwhile_is_left_alone(case):
    before, receipt = await contract.acted(case)
    case.meddle()
    theirs = case.world()
    assert (await ACT.revert(case.params, before, receipt, NOW)).result is Restored.DRIFTED
    assert case.world() == theirs
    now = await ACT.observe(case.params, NOW)
    assert ACT.settled(case.params, before, now) is Settled.UNCLEAR
    assert ACT.settled_revert(case.params, before, now) is Settled.UNCLEAR
    with pytest.raises(TemporaryError, match="was changed by somebody else since it was observed"):
        await ACT.run(case.params, before, NOW)


async def test_a_rehearsal_changes_nothing(case, cloudflare):
    await ACT.rehearse(case.params, NOW)
    assert cloudflare.changes() == []


# --- the record ---


async def test_content_and_ttl_change_and_everything_else_stays(cloudflare):
    made = cloudflare.add_record(API, "A", "203.0.113.10", 300)
    others = [dict(one) for one in cloudflare.records[:2]]
    params = wanted(ttl="1m")
    before = await ACT.observe(params, NOW)
    await ACT.run(params, before, NOW)
    assert made == {**made, "content": "203.0.113.20", "ttl": 60, "proxied": False, "comment": "kept"}
    assert cloudflare.records[:2] == others


async def test_a_change_of_the_ttl_alone_is_somebodys_too(cloudflare):
    made = cloudflare.add_record(API, "A", "203.0.113.10", 300)
    before = await ACT.observe(wanted(), NOW)
    receipt = await ACT.run(wanted(), before, NOW)
    made["ttl"] = 120
    assert (await ACT.revert(wanted(), before, receipt, NOW)).result is Restored.DRIFTED


@pytest.mark.parametrize("count", [0, 2])
async def test_only_a_single_record_is_pointed_elsewhere(cloudflare, count):
    for i in range(count):
        cloudflare.add_record(API, "A", f"203.0.113.{i}", 300)
    said = f"has {count or 'no'} A records called api.example.com: dns points exactly one"
    for doing in (ACT.observe(wanted(), NOW), ACT.rehearse(wanted(), NOW)):
        with pytest.raises(PermanentError, match=said):
            await doing
    assert cloudflare.changes() == []


async def test_a_record_that_was_removed_or_doubled_meanwhile_is_left_alone(cloudflare):
    made = cloudflare.add_record(API, "A", "203.0.113.10", 300)
    before = await ACT.observe(wanted(), NOW)
    await ACT.run(wanted(), before, NOW)
    cloudflare.add_record(API, "A", "203.0.113.30", 300)
    answer = await ACT.revert(wanted(), before, None, NOW)
    assert (answer.result, answer.detail) == (Restored.DRIFTED, "there are 2 records now, left alone")
    cloudflare.records = [one for one in cloudflare.records if one["name"] != API]
    assert (await ACT.revert(wanted(), before, None, NOW)).result is Restored.DRIFTED
    assert made["content"] == "203.0.113.20"


async def test_the_ttl_of_a_proxied_record_is_not_ours_to_say(cloudflare):
    cloudflare.add_record(API, "A", "203.0.113.10", proxied=True)
    params = wanted(ttl="1m")
    before = await ACT.observe(params, NOW)
    for doing in (ACT.run(params, before, NOW), ACT.rehearse(params, NOW)):
        with pytest.raises(PermanentError, match="is proxied, so its TTL is not ours to say: remove ttl"):
            await doing
    assert cloudflare.changes() == []


async def test_what_cloudflare_refuses_is_a_failure_with_its_words(cloudflare):
    cloudflare.add_record(API, "A", "203.0.113.10", 300)
    before = await ACT.observe(wanted(), NOW)
    cloudflare.records[-1]["proxied"] = "broken"
    with pytest.raises(PermanentError, match="a record that has no content or TTL"):
        await ACT.run(wanted(), before, NOW)
    cloudflare.records[-1].update(proxied=False, ttl=29)
    params = wanted()
    with pytest.raises(PermanentError, match="9021 Invalid TTL"):
        await ACT.run(params, await ACT.observe(params, NOW), NOW)
    assert cloudflare.records[-1]["content"] == "203.0.113.10"


async def test_a_change_that_is_answered_with_nonsense_is_an_unknown_outcome(cloudflare, monkeypatch):
    made = cloudflare.add_record(API, "A", "203.0.113.10", 300)
    before = await ACT.observe(wanted(), NOW)
    change = cloudflare.change_record
    monkeypatch.setattr(cloudflare, "change_record", lambda *args: (change(*args) and [], None))
    with pytest.raises(Unanswered, match="took a change and then"):
        await ACT.run(wanted(), before, NOW)
    assert made["content"] == "203.0.113.20"
    assert ACT.settled(wanted(), before, await ACT.observe(wanted(), NOW)) is Settled.DONE


async def test_the_undo_by_hand_names_all_that_was(cloudflare):
    cloudflare.add_record(API, "A", "203.0.113.10", 1)
    before = await ACT.observe(wanted(), NOW)
    said = "point api.example.com (A) at cloudflare:example.com to 203.0.113.10, TTL automatic, not proxied"
    assert ACT.undo_by_hand(wanted(), before) == said
    assert ", TTL 300 s, proxied" in ACT.undo_by_hand(wanted(), {**before, "ttl": 300, "proxied": True})
    assert ACT.effect(wanted(), {}) == {"cloudflare:example.com#api.example.com/A": "203.0.113.20"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"record": "api.example.org"}, "api.example.org is not in the zone example.com"),
        ({"record": "badexample.com"}, "is not in the zone"),
        ({"record": "example"}, "is no name of a host"),
        ({"record": "a..example.com"}, "is no name of a host"),
        ({"type": "TXT"}, "'A', 'AAAA' or 'CNAME'"),
        ({"set": "2001:db8::1"}, "is not an IPv4 address, which a record of type A points to"),
        ({"set": "203.0.113.020"}, "is not an IPv4 address"),
        ({"set": "0.0.0.0"}, "is not the address of a server"),
        ({"set": "224.0.0.1"}, "is not the address of a server"),
        ({"type": "AAAA", "set": "203.0.113.20"}, "is not an IPv6 address"),
        ({"type": "AAAA", "set": "fe80::1%eth0"}, "is not the address of a server"),
        ({"type": "CNAME", "set": "API.example.com."}, "cannot point to itself"),
        ({"ttl": "5s"}, "a TTL is between 30s and 1d"),
        ({"ttl": "30500ms"}, "a TTL is between"),
        ({"at": "env:///etc/x"}, "cannot hold DNS records: write one of cloudflare"),
        *(({"set": hostile}, "is not an IPv4 address") for hostile in HOSTILE),
        *(({"record": hostile}, "is no name of a host") for hostile in HOSTILE),
        *(({"type": "CNAME", "set": hostile}, "is no name of a host") for hostile in HOSTILE),
    ],
)
def test_what_makes_no_sense_does_not_load(given, said):
    with pytest.raises(ValidationError, match=said):
        Dns.params(**{"at": ZONE, "record": API, "type": "A", "set": "203.0.113.20", **given})


async def test_silence_ends_with_the_time_limit(cloudflare):
    cloudflare.slow = 30.0
    soon = contract.dataclasses.replace(NOW, timeout=timedelta(seconds=0.1))
    with pytest.raises(TemporaryError, match="did not answer GET /zones clearly"):
        await ACT.observe(wanted(), soon)

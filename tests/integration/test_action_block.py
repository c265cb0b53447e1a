"""Block on the strict double of Cloudflare, and in a file of nginx: what is added, by whom, and never for whom."""

import asyncio
import ipaddress
from datetime import timedelta

import pytest
from pydantic import ValidationError
from tests.doubles.cloudflare import USERS_TOKEN, running_cloudflare
from tests.integration import test_action_contract as contract
from tests.integration.test_action_contract import Case

from stopgap.action import Moment, Restored, Settled
from stopgap.actions import Block
from stopgap.backends import network
from stopgap.backends.network import own_networks
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError

NOW = contract.NOW
SOON = timedelta(seconds=10)
NEVER = ["198.51.100.0/24", "2001:db8:ffff::/48"]
ZONE = "cloudflare://example.com"
FILE = "# Addresses that are kept out.\n\ndeny 203.0.113.99;  # by hand\nallow 203.0.113.200;\ndeny all;\n"
HOSTILE = [
    "; rm -rf /",
    "$(x)",
    "--flag",
    "../../etc/passwd",
    "\0",
    "5" * 5000,
    "1.2.3.4\ndeny all",
    "{{ x }}",
    "1.2.3.4;",
]


@pytest.fixture
def cloudflare(monkeypatch):
    with running_cloudflare() as double:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", double.url)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", USERS_TOKEN)
        yield double


@pytest.fixture
def blocked(tmp_path):
    path = tmp_path / "blocked.conf"
    path.write_text(FILE)
    return path


def wanted(at: object, address: str = "203.0.113.7", **more: object):
    return Block.params(at=str(at), address=address, **{"never": NEVER, **more})


def moment(incident: str) -> Moment:
    return Moment(key=f"{incident}/0/0/do/1", timeout=SOON, incident=incident)


# --- what every action promises ---


@pytest.fixture(params=["address", "network", "ipv6", "ipv6 network", "file", "file ipv6"])
def case(request, cloudflare, blocked):
    address = {
        "network": "203.0.113.0/24",
        "ipv6": "2001:db8::7",
        "ipv6 network": "2001:db8:1::/64",
        "file ipv6": "2001:db8::/48",
    }.get(request.param, "203.0.113.7")
    if "file" in request.param:

        def meddle():
            blocked.write_text(blocked.read_text().replace("# stopgap INC-1", "# by hand, for good"))

        return Case(Block(None), wanted(f"nginx://{blocked}", address), blocked.read_bytes, meddle)
    cloudflare.add_rule("203.0.113.99", "by hand")

    def replace():
        cloudflare.rules[-1]["notes"] = "by hand, for good"

    return Case(Block(None), wanted(ZONE, address), cloudflare.blocked, replace)


test_taking_back_restores = contract.test_taking_back_restores_what_was_there
test_taking_back_without_a_receipt = contract.test_taking_back_without_a_receipt_restores_too
test_taking_back_twice = contract.test_taking_back_twice_does_nothing_the_second_time
test_acting_twice = contract.test_acting_twice_with_one_key_is_acting_once
test_an_unknown_outcome = contract.test_an_unknown_outcome_is_settled_by_observing
test_a_cancelled_act = contract.test_a_cancelled_act_is_whole_or_not_there


async def test_an_entry_that_somebody_made_his_own_is_left_alone(case):
    before, receipt = await contract.acted(case)
    case.meddle()
    theirs = case.world()
    assert (await case.action.revert(case.params, before, receipt, NOW)).result is Restored.DRIFTED
    assert case.world() == theirs


async def test_an_entry_that_somebody_removed_is_not_missed(case):
    old = case.world()
    before, receipt = await contract.acted(case)
    await case.action.revert(case.params, before, receipt, NOW)
    assert (await case.action.revert(case.params, before, receipt, NOW)).result is Restored.NOTHING
    assert case.world() == old


async def test_a_rehearsal_changes_nothing(case):
    old = case.world()
    await case.action.rehearse(case.params, NOW)
    assert case.world() == old


@pytest.fixture(params=["zone", "file"])
def place(request, cloudflare, blocked):
    """A list on which somebody blocks 203.0.113.99, and lets 203.0.113.200 in."""
    if request.param == "zone":
        cloudflare.add_rule("203.0.113.99", "by hand")
        cloudflare.add_rule("203.0.113.200", "a friend", "whitelist")
        return ZONE, cloudflare.blocked
    return f"nginx://{blocked}", blocked.read_text


async def test_what_somebody_blocked_before_stays_blocked(place):
    at, world = place
    act, params, old = Block(None), wanted(at, "203.0.113.99"), world()
    before = await act.observe(params, NOW)
    receipt = await act.run(params, before, NOW)
    assert act.settled(params, before, await act.observe(params, NOW)) is Settled.DONE
    assert "was blocked" in act.undo_by_hand(params, before)
    assert (await act.revert(params, before, receipt, NOW)).result is Restored.NOTHING
    assert world() == old


async def test_what_somebody_lets_in_on_purpose_is_not_blocked(place):
    at, world = place
    act, params, old = Block(None), wanted(at, "203.0.113.200"), world()
    before = await act.observe(params, NOW)
    assert act.settled(params, before, before) is Settled.NOT_DONE
    for doing in (act.run(params, before, NOW), act.rehearse(params, NOW)):
        with pytest.raises(PermanentError, match="which somebody decided: remove that entry first"):
            await doing
    assert world() == old


async def test_more_entries_than_the_cap_are_refused_and_those_of_others_do_not_count(place):
    at, world = place
    act = Block(None)
    for i in (1, 2):
        params = wanted(at, f"203.0.113.{i}", cap=2)
        await act.run(params, await act.observe(params, NOW), moment(f"INC-{i}"))
    full, params = world(), wanted(at, "203.0.113.3", cap=2)
    before = await act.observe(params, NOW)
    for doing in (act.run(params, before, NOW), act.rehearse(params, NOW)):
        with pytest.raises(PermanentError, match="holds 2 entries of ours, and cap is 2"):
            await doing
    assert world() == full


async def test_as_many_at_once_do_not_overdraw_the_cap(place):
    at, world = place
    act = Block(None)

    async def one(i: int) -> None:
        params = wanted(at, f"203.0.113.{i}", cap=3)
        await act.run(params, await act.observe(params, NOW), moment(f"INC-{i}"))

    done = await asyncio.gather(*(one(i) for i in range(1, 9)), return_exceptions=True)
    assert sum(isinstance(each, PermanentError) for each in done) == 5
    assert str(world()).count("stopgap INC-") == 3


async def test_each_incident_takes_back_its_own(place):
    at, world = place
    act, first, second = Block(None), moment("INC-1"), moment("INC-2")
    params = wanted(at)
    before = await act.observe(params, first)
    await act.run(params, before, first)
    later = await act.observe(params, second)
    await act.run(params, later, second)
    assert (await act.revert(params, later, None, second)).result is Restored.NOTHING
    again = await act.observe(params, first)  # a second step of the first incident, on the same address
    assert (await act.revert(params, again, None, first)).result is Restored.NOTHING
    assert "stopgap INC-1" in str(world())
    assert (await act.revert(params, before, None, first)).result is Restored.REVERTED


# --- who is never blocked ---


def own() -> str:
    return str(own_networks()[-1].network_address)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("198.51.100.7", r"is on the never list \(198.51.100.0/24\)"),
        ("::ffff:198.51.100.7", r"is on the never list"),
        ("2001:db8:ffff:1::/64", r"is on the never list"),
        ("127.0.0.1", "is an address of this machine"),
        ("127.8.8.8", r"is no address of a client \(127.0.0.0/8\)"),
        ("::1", "is an address of this machine"),
        ("0.0.0.0", "is no address of a client"),
        ("::", "is no address of a client"),
        ("169.254.169.254", "is no address of a client"),
        ("fe80::5", "is no address of a client"),
        ("224.0.0.1", "is no address of a client"),
        ("ff02::1", "is no address of a client"),
        ("255.255.255.255", "is no address of a client"),
        ("own", "this machine|no address of a client"),
    ],
)
async def test_who_must_stay_in_is_never_blocked(blocked, address, said):
    act, params = Block(None), wanted(f"nginx://{blocked}", own() if address == "own" else address)
    for doing in (act.observe(params, NOW), act.run(params, {"mark": None}, NOW), act.rehearse(params, NOW)):
        with pytest.raises(PermanentError, match=said):
            await doing
    assert blocked.read_text() == FILE


def test_a_test_of_a_rule_says_so_too():
    with pytest.raises(PermanentError, match="never list"):
        Block(None).effect(wanted(ZONE, "198.51.100.7"), {})
    params = wanted(ZONE)
    assert Block(None).effect(params, {}) == {"cloudflare:example.com#203.0.113.7": "blocked"}


def test_our_own_addresses_are_those_of_the_kernel(monkeypatch, tmp_path):
    assert ipaddress.ip_network("127.0.0.1") in own_networks()
    monkeypatch.setattr(network, "_IF_INET6", tmp_path / "none")  # IPv6 is switched off
    assert {one.version for one in own_networks()} == {4}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"address": "203.0.112.0/23"}, "too wide to be blocked: at most a /24"),
        ({"address": "0.0.0.0/0"}, "too wide"),
        ({"address": "2001:db8::/47"}, "at most a /48"),
        ({"address": "203.0.113.7/24"}, "starts within its network: write 203.0.113.0/24"),
        ({"address": "203.0.113.0/25"}, "networks of the size /24: not 203.0.113.0/25"),
        ({"address": "fe80::1%eth0"}, "is no address"),
        ({"never": []}, "at least 1"),
        ({"never": ["office"]}, "'office' is no address"),
        ({"never": [7]}, "valid string"),
        ({"never": ""}, "at least 1"),
        ({"cap": 0}, "greater than or equal to 1"),
        ({"at": "env:///etc/x"}, "cannot block addresses: write one of cloudflare"),
        *(({"address": hostile}, "is no address") for hostile in HOSTILE),
    ],
)
def test_what_makes_no_sense_does_not_load(given, said):
    with pytest.raises(ValidationError, match=said):
        Block.params(**{"at": ZONE, "address": "203.0.113.7", "never": NEVER, **given})


def test_never_is_required():
    with pytest.raises(ValidationError, match="Field required"):
        Block.params(at=ZONE, address="203.0.113.7")


def test_a_var_may_hold_the_whole_never_list_and_an_address_has_one_name():
    params = wanted(ZONE, "2001:DB8:0::7", never=["10.0.0.0/8, 192.168.0.0/16", "::ffff:198.51.100.1"])
    assert params.never == ("10.0.0.0/8", "192.168.0.0/16", "198.51.100.1")
    assert Block(None).resource(params) == ("cloudflare:example.com#2001:db8::7",)


# --- Cloudflare ---


async def test_a_rule_that_the_zone_inherits_is_not_ours_to_remove(cloudflare):
    act, params = Block(None), wanted(ZONE)
    before = await act.observe(params, NOW)
    cloudflare.add_rule("203.0.113.7", "stopgap INC-1", scope="organization")
    old = cloudflare.blocked()
    receipt = await act.run(params, before, NOW)
    assert (await act.revert(params, before, receipt, NOW)).result is Restored.DRIFTED
    assert cloudflare.blocked() == old
    assert cloudflare.changes() == []


async def test_a_rule_without_an_answer_is_found_by_looking_and_taken_back(cloudflare):
    act, params = Block(None), wanted(ZONE, "2001:db8::7")
    before = await act.observe(params, NOW)
    cloudflare.silent = True
    with pytest.raises(Unanswered):
        await act.run(params, before, NOW)
    assert act.settled(params, before, await act.observe(params, NOW)) is Settled.DONE
    await act.revert(params, before, None, NOW)  # what is deleted may be deleted again: it was
    assert act.settled_revert(params, before, await act.observe(params, NOW)) is Settled.DONE
    assert cloudflare.rules == []


async def test_a_rule_that_is_gone_before_it_can_be_deleted_is_gone(cloudflare, monkeypatch):
    act, params = Block(None), wanted(ZONE)
    await act.run(params, await act.observe(params, NOW), NOW)
    removed = cloudflare.remove

    def gone(*args):
        removed(*args)
        return removed(*args)

    monkeypatch.setattr(cloudflare, "remove", gone)
    assert (await act.revert(params, {"mark": None}, None, NOW)).result is Restored.REVERTED

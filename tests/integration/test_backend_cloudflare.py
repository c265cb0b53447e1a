"""Cloudflare's API as a strict double speaks it: what its answers mean, and a zone's settings as flags."""

import asyncio
import json
import logging
from datetime import timedelta

import pytest
from pydantic import ValidationError
from tests.doubles.cloudflare import (
    ACCOUNTS_TOKEN,
    READERS_TOKEN,
    USERS_TOKEN,
    ZONE,
    Cloudflare as Double,
    running_cloudflare,
)
from tests.integration import test_action_contract as contract
from tests.integration.test_action_contract import Case
from tests.prometheus_server import free_port

from stopgap.action import Moment, Settled
from stopgap.actions import Flag
from stopgap.backends.cloudflare_api import Call, listed, send
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=10), incident="INC-1")
SOON = timedelta(seconds=5)
AT = "cloudflare://example.com"
ATTACK = Flag.params(at=AT, set={"security_level": "under_attack"})
ASK = Call("GET", "/zones", "Zone Read", {"name": "example.com"})
TELL = Call("PATCH", f"/zones/{ZONE}/settings/security_level", "Zone Settings Edit", body={"value": "high"})
ACT = Flag(None)


@pytest.fixture
def cloudflare(monkeypatch):
    with running_cloudflare() as double:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", double.url)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", USERS_TOKEN)
        yield double


# --- a zone's settings as flags: what every action promises ---


@pytest.fixture(params=["text", "number"])
def case(request, cloudflare: Double):
    key, new, theirs = {
        "text": ("security_level", "under_attack", "high"),
        "number": ("browser_cache_ttl", "300", 60),
    }[request.param]

    def meddle() -> None:
        cloudflare.settings[key]["value"] = theirs

    params = Flag.params(at=AT, set={key: new})
    return Case(ACT, params, lambda: json.dumps(cloudflare.settings), meddle)


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
    assert (await ACT.revert(case.params, before, receipt, NOW)).result == "drifted"
    assert case.world() == theirs


def test_two_settings_are_not_one_write():
    with pytest.raises(ValidationError, match="cannot set 2 in one write: at most 1 a step"):
        Flag.params(at=AT, set={"security_level": "high", "polish": "off"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"minify": "on"}, "minify is a structure at Cloudflare, and a flag is one value"),
        ({"polish": "lossy"}, "lets nobody change polish of this zone: its plan does not hold it"),
        ({"browser_cache_ttl": "soon"}, "browser_cache_ttl is 14400 now: write a value of that kind"),
        ({"browser_cache_ttl": "true"}, "browser_cache_ttl is 14400 now: write a value of that kind"),
        ({"no_such": "on"}, "1006 Unrecognized zone setting name"),
        ({"../zones": "on"}, "is not the name of a zone setting"),
    ],
)
async def test_what_a_setting_cannot_be_is_told_before_it_is_needed(cloudflare, settings, said):
    params = Flag.params(at=AT, set=settings)
    with pytest.raises(PermanentError, match=said):
        await ACT.rehearse(params, NOW)
    assert cloudflare.changes() == []


async def test_a_level_that_cloudflare_does_not_know_is_refused_with_its_words(cloudflare):
    params = Flag.params(at=AT, set={"security_level": "$(x); rm -rf /"})
    before = await ACT.observe(params, NOW)
    with pytest.raises(PermanentError, match="1007 Invalid value for zone setting security_level"):
        await ACT.run(params, before, NOW)
    assert cloudflare.settings["security_level"]["value"] == "medium"


# --- rehearsals ---


async def test_a_rehearsal_changes_nothing(cloudflare):
    old = json.dumps(cloudflare.settings)
    await ACT.rehearse(ATTACK, NOW)
    assert json.dumps(cloudflare.settings) == old
    assert cloudflare.changes() == []


async def test_a_token_that_an_account_owns_is_verified_there(cloudflare, monkeypatch):
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", ACCOUNTS_TOKEN)
    await ACT.rehearse(ATTACK, NOW)
    cloudflare.tokens[ACCOUNTS_TOKEN] = "disabled"
    with pytest.raises(PermanentError, match="the token for Cloudflare is disabled: renew it"):
        await ACT.rehearse(ATTACK, NOW)


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("paused.example", "is not active at Cloudflare: nothing set there counts"),
        ("elsewhere.example", "the token sees no zones elsewhere.example: give it Zone Read"),
    ],
)
async def test_a_zone_that_does_not_count_is_told(cloudflare, zone, said):
    with pytest.raises(PermanentError, match=said):
        await ACT.rehearse(Flag.params(at=f"cloudflare://{zone}", set={"security_level": "high"}), NOW)


@pytest.mark.parametrize("zone", ["com", "-a.com", "a..com", "u:p@example.com", "example.com/x", "a b.com"])
def test_what_is_no_zone_does_not_load(zone):
    with pytest.raises(ValidationError):
        Flag.params(at=f"cloudflare://{zone}", set={"security_level": "high"})


# --- the token ---


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "there is no token for Cloudflare: set CLOUDFLARE_API_TOKEN"),
        ("two words", "is not one word"),
        ("a\r\nX-Evil: 1", "is not one word"),
        ("nobodys-token", "9109 Invalid access token: the token needs Zone Read"),
    ],
)
async def test_a_token_that_does_not_do_is_told_with_its_cure(cloudflare, monkeypatch, token, said):
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", token)
    with pytest.raises(PermanentError, match=said) as told:
        await ACT.observe(ATTACK, NOW)
    assert "two words" not in str(told.value)
    assert "nobodys-token" not in str(told.value)


async def test_a_token_that_may_only_read_is_told_what_it_needs(cloudflare, monkeypatch):
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", READERS_TOKEN)
    before = await ACT.observe(ATTACK, NOW)
    with pytest.raises(
        PermanentError, match="10000 Authentication error: the token needs Zone Settings Edit"
    ):
        await ACT.run(ATTACK, before, NOW)


async def test_the_token_may_stand_in_a_file(cloudflare, monkeypatch, tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{USERS_TOKEN}\n")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "another")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN_FILE", str(path))
    assert (await ACT.observe(ATTACK, NOW))["security_level"]["value"] == "medium"
    path.write_bytes(b"\xff")
    with pytest.raises(PermanentError, match="CLOUDFLARE_API_TOKEN_FILE cannot be read"):
        await ACT.observe(ATTACK, NOW)


async def test_a_token_goes_nowhere_in_clear(cloudflare, monkeypatch):
    for url in ("http://api.example.com", "ftp://x", "https://u:p@x", "http://[x", "//x", "https://x?y"):
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", url)
        with pytest.raises(PermanentError, match="no address that a token may be sent to"):
            await send(ASK, SOON)


async def test_the_token_is_not_shown_even_if_cloudflare_repeats_it(cloudflare, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PermanentError, match=r"Could not route to /\*\*\*, perhaps") as told:
        await send(Call("GET", f"/{USERS_TOKEN}", "x"), SOON)
    assert str(told.value).count(USERS_TOKEN) == 1  # in the path that this test asked for
    assert USERS_TOKEN not in caplog.text


# --- answers ---


async def test_who_asks_too_often_waits_as_long_as_is_said(cloudflare):
    cloudflare.limited = 90
    for call in (ASK, TELL):
        with pytest.raises(TemporaryError, match="asks to slow down") as told:
            await send(call, SOON)
        assert told.value.retry_after == timedelta(seconds=90)
    assert cloudflare.settings["security_level"]["value"] == "medium"


@pytest.mark.parametrize("status", [500, 502, 524])
async def test_a_server_error_of_a_change_is_an_unknown_outcome_and_of_a_question_a_failure(
    cloudflare, status
):
    cloudflare.broken = status
    with pytest.raises(TemporaryError, match=f"did not answer GET /zones clearly: HTTP {status}"):
        await send(ASK, SOON)
    with pytest.raises(Unanswered, match=f"HTTP {status}"):
        await send(TELL, SOON)


async def test_an_answer_that_is_not_cloudflares_is_told(cloudflare):
    cloudflare.broken = 200
    with pytest.raises(TemporaryError, match="is CLOUDFLARE_BASE_URL right"):
        await send(ASK, SOON)
    with pytest.raises(Unanswered, match="is CLOUDFLARE_BASE_URL right"):
        await send(TELL, SOON)
    cloudflare.broken = 302
    with pytest.raises(PermanentError, match="HTTP 302"):
        await send(TELL, SOON)


async def test_a_change_without_an_answer_is_settled_by_looking(cloudflare):
    before = await ACT.observe(ATTACK, NOW)
    cloudflare.silent = True
    with pytest.raises(Unanswered):
        await ACT.run(ATTACK, before, NOW)
    assert ACT.settled(ATTACK, before, await ACT.observe(ATTACK, NOW)) is Settled.DONE


async def test_nobody_who_listens_is_a_failure_before_anything_is_done(cloudflare, monkeypatch):
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"http://127.0.0.1:{free_port()}")
    for call in (ASK, TELL):
        with pytest.raises(TemporaryError, match="cannot be reached"):
            await send(call, SOON)


async def test_silence_ends_with_the_time_limit(cloudflare):
    cloudflare.slow = 30.0
    with pytest.raises(TemporaryError):
        await send(ASK, timedelta(seconds=0.1))
    with pytest.raises(Unanswered):
        await send(TELL, timedelta(seconds=0.1))


async def test_a_change_that_was_begun_is_finished_when_it_is_cancelled(cloudflare):
    task = asyncio.create_task(send(TELL, SOON))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cloudflare.settings["security_level"]["value"] == "high"


async def test_a_long_list_is_read_page_by_page(cloudflare):
    for i in range(120):
        cloudflare.add_rule(f"198.51.100.{i}", "stopgap INC-1")
    path = f"/zones/{ZONE}/firewall/access_rules/rules"
    assert len(await listed(Call("GET", path, "x", {"notes": "stopgap"}), SOON)) == 120


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call("POST", "/zones", "x", body={}), "405.*7001 Method POST not available"),
        (Call("GET", "/zones/x", "x"), "7003 Could not route"),
        (Call("DELETE", f"/zones/{ZONE}/firewall/access_rules/rules/{'0' * 32}", "x"), "404.*not_found"),
    ],
)
async def test_the_double_is_strict(cloudflare, call, said):
    with pytest.raises(PermanentError, match=said):
        await send(call, SOON)

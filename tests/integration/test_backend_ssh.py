"""A unit on another machine is started and stopped by ssh: nobody is asked, nothing is guessed, and no shell reads a name."""

from datetime import timedelta

import pytest
from tests.doubles.installed import Doubles
from tests.integration import test_action_contract as contract
from tests.integration.test_action_contract import Case

from stopgap import process
from stopgap.action import Moment, Settled
from stopgap.actions import Restart, Service
from stopgap.backends import locate
from stopgap.backends.capability import Place, Restartable, Services
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=20))
LONG = timedelta(seconds=20)
AT = "ssh+systemd://ops@app.example.com/hotel.service"


@pytest.fixture
def doubles(tmp_path, monkeypatch):
    return Doubles(tmp_path / "bin", monkeypatch)


@pytest.fixture
def case(doubles):
    params = Service.params(at=AT, state="stopped")
    return Case(Service(None), params, lambda: unit(doubles)["ActiveState"])


test_taking_back_restores = contract.test_taking_back_restores_what_was_there
test_taking_back_without_a_receipt = contract.test_taking_back_without_a_receipt_restores_too
test_taking_back_twice = contract.test_taking_back_twice_does_nothing_the_second_time
test_acting_twice = contract.test_acting_twice_with_one_key_is_acting_once
test_an_unknown_outcome = contract.test_an_unknown_outcome_is_settled_by_observing
test_a_cancelled_act = contract.test_a_cancelled_act_is_whole_or_not_there


def unit(doubles):
    return doubles.state("systemctl")["units"]["hotel.service"]


def trouble(doubles, what):
    doubles.change("ssh", {**doubles.state("ssh"), "trouble": what})


@pytest.mark.parametrize("locator", [AT, "ssh+systemd://[2001:DB8::7]:2222/hotel"])
async def test_stop_start_and_restart_do_what_they_say(doubles, locator):
    place = locate(locator, Services)
    first = await place.observe(LONG)
    await place.stop(LONG)
    assert not (await place.observe(LONG)).up
    await place.start(LONG)
    second = await place.observe(LONG)
    await place.restart(LONG)
    third = await place.observe(LONG)
    assert len({str(first.starts), str(second.starts), str(third.starts)}) == 3


async def test_ssh_is_never_to_ask_and_to_believe_only_keys_that_it_knows(doubles):
    await locate(AT, Services).stop(LONG)
    argv = [call["argv"] for call in doubles.calls() if call["argv"][0] == "ssh"][-1]
    assert argv == [
        *("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "StrictHostKeyChecking=yes"),
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
        *("-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no"),
        *("-p", "22", "--", "ops@app.example.com"),
        *("systemctl", "--no-ask-password", "--no-pager", "stop", "--", "hotel.service"),
    ]


@pytest.mark.parametrize(
    ("what", "kind", "said"),
    [
        ("refused", TemporaryError, "cannot reach ops@app.example.com: .*Connection refused"),
        ("resolve", TemporaryError, "Could not resolve hostname"),
        ("key", PermanentError, "does not get into ops@app.example.com: .*Host key verification failed"),
        ("denied", PermanentError, r"Permission denied \(publickey\)"),
    ],
)
async def test_who_does_not_get_in_did_nothing_and_is_told_why_before_it_is_needed(doubles, what, kind, said):
    trouble(doubles, what)
    old = unit(doubles)
    with pytest.raises(kind, match=said):
        await Restart(None).rehearse(Restart.params(at=AT), NOW)
    with pytest.raises(kind, match=said):
        await locate(AT, Restartable).restart(LONG)
    assert unit(doubles) == old


async def test_a_connection_that_breaks_leaves_the_outcome_open_and_observing_settles_it(doubles):
    params = Service.params(at=AT, state="stopped")
    before = await Service(None).observe(params, NOW)
    trouble(doubles, "broken")
    with pytest.raises(TemporaryError, match=r"connection to ops@app.* broke"):
        await Service(None).observe(params, NOW)
    with pytest.raises(Unanswered, match="not responding"):
        await Service(None).run(params, before, NOW)
    trouble(doubles, "")
    now = await Service(None).observe(params, NOW)
    assert Service(None).settled(params, before, now) is Settled.DONE


async def test_a_machine_that_hangs_is_left_at_the_time_limit(doubles):
    state = doubles.state("systemctl")
    state["units"]["hotel.service"]["slow"] = 30
    doubles.change("systemctl", state)
    with pytest.raises(process.TimedOut):
        await locate(AT, Services).restart(timedelta(seconds=0.7))


async def test_a_unit_that_is_not_there_is_said(doubles):
    place = locate(AT.replace("hotel", "gone"), Services)
    with pytest.raises(PermanentError, match=r"no unit gone\.service"):
        await place.observe(LONG)
    with pytest.raises(PermanentError, match=r"on ops@app.example.com exited with 5: .*not found"):
        await place.start(LONG)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("ops@app.example.com/$(reboot)", "not the name of a systemd unit"),
        ("ops@app.example.com/a;reboot", "not the name of a systemd unit"),
        ("ops@app.example.com/a b", "not the name of a systemd unit"),
        ("ops@app.example.com/--force", "not the name of a systemd unit"),
        ("ops@app.example.com/a/b", "not the name of a systemd unit"),
        ("ops@app.example.com/dev-x2d\\x2dy.mount", "holds a backslash"),
        ("ops@app.example.com", "has no absolute path"),
        ("ops@app.example.com/a#b", "should not"),
        ("-oProxyCommand=reboot/a", "names no machine"),
        ("a`reboot`/a", "names no machine"),
        ("-lroot@app/a", "not the name of an account"),
        ("ops:hush@app/a", "no credentials"),
        ("ops@app:99999/a", "is no address"),
        ("ops@/a", "names no machine"),
    ],
)
def test_what_a_shell_or_ssh_could_mistake_is_refused_at_load(rest, said):
    with pytest.raises(ValueError, match=said):
        locate(f"ssh+systemd://{rest}", Services)


def test_a_unit_has_one_name_whoever_acts_there():
    names = {
        locate(f"ssh+systemd://{one}/hotel", Place).name
        for one in ("App.example.com", "ops@app.example.com:22")
    }
    assert names == {"ssh+systemd:app.example.com:22/hotel.service"}


@pytest.mark.parametrize(
    "argv",
    [
        ["ssh", "-o", "BatchMode=yes", "--", "ops@app.example.com", "systemctl", "show", "hotel.service"],
        ["ssh", "-o", "ProxyCommand=x", "--", "ops@app.example.com", "systemctl", "show", "hotel.service"],
        [
            "ssh",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "ops@app.example.com",
            "systemctl",
            "show",
            "a;b",
        ],
        [
            "ssh",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "ops@other",
            "systemctl",
            "show",
            "hotel.service",
        ],
    ],
)
async def test_the_double_refuses_what_must_not_be_sent(doubles, argv):
    assert (await process.run(argv, timeout=LONG)).code != 0

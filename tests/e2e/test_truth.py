"""What messages say is a claim: they are silenced, lost, doubled and late, with real Prometheus, Alertmanagers and daemons."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests.e2e.street import Street, Told, call, comes, events, street, told_by

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("truth")]

POLLED = ["alertmanager"]
WEBHOOK = [None]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def streets(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Street, Street]]:
    """One with a single Alertmanager, one with a pair; set up at the same time, because most of that is waiting."""
    single = street(tmp_path_factory.mktemp("single"))
    paired = street(tmp_path_factory.mktemp("paired"), alertmanagers=2, resend_delay="10s")
    async with AsyncExitStack() as stack:
        one, two = await asyncio.gather(*map(stack.enter_async_context, (single, paired)))
        yield one, two


@pytest.fixture
def here(streets: tuple[Street, Street]) -> Street:
    return streets[0]


@pytest.fixture
def pair(streets: tuple[Street, Street]) -> Street:
    return streets[1]


async def is_held(here: Street, thing: str, kind: str = "plain") -> None:
    """Let a thing break and be mitigated."""
    here.breaks(thing, kind)
    await here.reaches(thing, "mitigated")
    assert here.effects(thing) == ["on"]


def was_taken_back(here: Street, told: Told) -> None:
    assert told["outcome"] == "recovered"
    assert here.effects(told["target"]) == ["on", "off"]
    assert events(told).count("rung_started") == events(told).count("revert_started") == 1


# --- silences ---


async def test_a_silence_swallows_the_end_of_what_is_held_and_it_is_taken_back_all_the_same(
    here: Street,
) -> None:
    await is_held(here, "lift")
    await here.silence("lift")
    here.mends("lift")
    told = await here.reaches("lift", "closed")
    was_taken_back(here, told)
    assert told_by(told, "opened") == WEBHOOK
    assert told_by(told, "alert_resolved") == POLLED
    assert here.sent("lift") == ["firing"]


async def test_a_silence_on_what_waits_is_a_hand_raised_and_its_end_lets_it_act(here: Street) -> None:
    brake = "/api/v1/brake"
    on = {"scope": "target", "name": "hall", "by": "ann", "why": "let me look"}
    await here.daemon.ask(brake, "PUT", on)
    here.breaks("hall")
    await here.reaches("hall", "waiting", "brake")
    silence = await here.silence("hall")
    await here.polls()
    await here.daemon.ask(f"{brake}?scope=target&name=hall&by=ann", "DELETE")
    await here.reaches("hall", "waiting", "silenced")
    await here.polls()
    assert here.effects("hall") == []
    await call("DELETE", f"{here.alertmanagers[0].url}/api/v2/silence/{silence}")
    await here.reaches("hall", "mitigated")
    here.mends("hall")
    was_taken_back(here, await here.reaches("hall", "closed"))


# --- the daemon is away ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
async def test_what_ends_and_what_begins_while_it_is_down_and_no_message_tells_is_found_on_return(
    here: Street, number: signal.Signals
) -> None:
    ends, begins = f"ends-{number.name}", f"begins-{number.name}"
    await is_held(here, ends)
    await here.daemon.stop(number)
    here.loses(True)
    here.mends(ends)
    here.breaks(begins)

    async def all_is_lost() -> bool:
        return "resolved" in here.sent(ends, lost=True) and "firing" in here.sent(begins, lost=True)

    await comes("message that is lost", all_is_lost)
    here.loses(False)
    await here.daemon.start()

    begun = await here.reaches(begins, "mitigated")
    assert told_by(begun, "opened") == POLLED
    assert here.effects(begins) == ["on"]
    ended = await here.reaches(ends, "closed")
    was_taken_back(here, ended)
    assert told_by(ended, "alert_resolved") == POLLED
    here.mends(begins)
    was_taken_back(here, await here.reaches(begins, "closed"))


async def test_a_brake_is_still_on_after_a_restart_and_nothing_acts_until_it_is_released(
    here: Street,
) -> None:
    await here.cli("brake", "on", "--why", "migration")
    here.breaks("door")
    await here.reaches("door", "waiting", "brake")
    await here.daemon.stop(signal.SIGKILL)
    await here.daemon.start()
    here.breaks("gate")
    await here.reaches("gate", "waiting", "brake")
    await here.polls(3)
    assert (await here.incident("door"))["reason"] == "brake"
    assert here.effects("door") == here.effects("gate") == []
    ((brake),) = (await here.daemon.ask("/api/v1/brake"))["brakes"]
    assert brake["why"] == "migration"
    await here.cli("brake", "off")
    for thing in ("door", "gate"):
        await here.reaches(thing, "mitigated")
        here.mends(thing)
    for thing in ("door", "gate"):
        was_taken_back(here, await here.reaches(thing, "closed"))


# --- a pair of Alertmanagers ---


async def test_one_of_a_pair_stands_still_and_its_late_and_doubled_messages_start_nothing(
    pair: Street,
) -> None:
    await comes("pair that knows each other", lambda: _settled(pair))
    await is_held(pair, "door")
    first = 0 if pair.sent("door", 0) else 1
    frozen = pair.alertmanagers[first]
    frozen.process.send_signal(signal.SIGSTOP)
    pair.square.relays[f"to{first}"].lossy = True  # what Prometheus sends it does not wait for its return
    await _again(pair)
    assert len(await pair.incidents("door")) == 1
    pair.mends("door")
    was_taken_back(pair, await pair.reaches("door", "closed"))
    assert "resolved" in pair.sent("door", 1 - first)

    before = len(pair.sent("door", first))
    frozen.process.send_signal(signal.SIGCONT)

    async def is_late() -> bool:
        return "firing" in pair.sent("door", first)[before:]

    await comes("late message", is_late)
    (listed,) = await pair.listed("door", frozen)
    assert listed["status"]["state"] == "active", "it would say so to whoever asks"
    await _again(pair)
    await pair.polls(3)
    assert pair.effects("door") == ["on", "off"]
    acted_upon, *others = await pair.incidents("door")
    was_taken_back(pair, acted_upon)
    assert others, "it is seen"
    for told in others:  # and doubted, and never acted upon
        assert "rung_started" not in events(told)
        assert {line["reason"] for line in told["timeline"] if line["event"] == "refused"} <= {"reconciling"}


async def _settled(pair: Street) -> bool:
    asked = (call("GET", f"{one.url}/api/v2/status") for one in pair.alertmanagers)
    return all(told["cluster"]["status"] == "ready" for told in await asyncio.gather(*asked))


async def _again(pair: Street) -> None:
    """Send what was sent of firing alerts once more, twice, as a sender does who has not heard the answer."""
    bodies = [body for i in (0, 1) for body in pair.square.relays[f"from{i}"].passed]
    for body in [body for body in bodies if b'"resolved"' not in body] * 2:
        assert await pair.square.post(f"{pair.daemon.url}/webhook", body) == 200


# --- Prometheus is gone; the last, because it does not come back ---


async def test_a_dead_prometheus_ends_all_alerts_takes_nothing_back_and_a_person_is_told(
    here: Street,
) -> None:
    kinds = ("plain", "asking", "looking")
    for kind in kinds:
        here.breaks(f"cellar-{kind}", kind)
    for kind in kinds:
        await here.reaches(f"cellar-{kind}", "mitigated")
    await here.prometheus.end(signal.SIGKILL)
    for kind in kinds:
        told = await here.reaches(f"cellar-{kind}", "recovering")
        assert "alert_resolved" in events(told)
    for kind in ("plain", "asking"):  # nobody but Prometheus could say that it is well again
        here.mends(f"cellar-{kind}", kind)

    async def people_know() -> bool:
        return all(here.about(f"cellar-{kind}") for kind in ("plain", "asking"))

    await comes("word to a person", people_know)
    await here.polls(3)
    for kind in kinds:
        told = await here.incident(f"cellar-{kind}")
        assert told["phase"] == "recovering"
        assert told["held"]
        assert here.effects(f"cellar-{kind}") == ["on"]
    here.mends("cellar-looking", "looking")  # its cause is asked about elsewhere
    was_taken_back(here, await here.reaches("cellar-looking", "closed"))

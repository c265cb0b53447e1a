"""What is known of the outside: asked, noted, and forgotten with the contact that it was about."""

import asyncio
from datetime import timedelta

from structlog.testing import capture_logs
from tests.virtual import virtually

from stopgap.dependency import Dependencies, Dependency, Watch
from stopgap.errors import ProbeError

ALL = (Dependency.STORE, Dependency.PROMETHEUS, Dependency.CONTACTS)


def test_only_what_is_in_use_is_listed_and_it_is_there_until_something_says_otherwise():
    dependencies = Dependencies(ALL, set)
    assert dependencies.away() == {"contacts": "", "prometheus": "", "store": ""}
    assert dependencies.why(Dependency.HEARTBEAT) == ""
    dependencies.note(Dependency.ALERTMANAGER, "refused")
    assert dependencies.away()["alertmanager"] == "refused"


def test_a_contact_is_away_from_a_message_that_it_did_not_take_to_the_next_that_it_did():
    dependencies = Dependencies(ALL, lambda: {"oncall", "chat"})
    dependencies.told("oncall", "no answer")
    dependencies.told("chat", "refused")
    assert dependencies.away()["contacts"] == (
        "chat took no message (refused); oncall took no message (no answer)"
    )
    dependencies.told("chat", "")
    assert dependencies.away()["contacts"] == "oncall took no message (no answer)"
    dependencies.told("oncall", "")
    assert dependencies.away()["contacts"] == ""


def test_a_contact_that_a_reload_removed_is_forgotten():
    known = {"oncall"}
    dependencies = Dependencies(ALL, lambda: known)
    dependencies.told("oncall", "no answer")
    known.clear()
    assert dependencies.away()["contacts"] == ""


def test_a_contact_that_nobody_tried_for_an_hour_is_forgotten():
    now = 0.0
    dependencies = Dependencies(ALL, lambda: {"oncall"}, lambda: now)
    dependencies.told("oncall", "no answer")
    now = 3599.0
    assert dependencies.away()["contacts"]
    dependencies.told("oncall", "no answer")
    now = 7198.0
    assert dependencies.away()["contacts"]
    now = 7200.0
    assert dependencies.away()["contacts"] == ""


class Far:
    """A dependency that answers, fails or hangs as told."""

    def __init__(self):
        self.error = None
        self.hangs = False
        self.asked_at = []

    async def ask(self):
        self.asked_at.append(asyncio.get_running_loop().time())
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


@virtually
async def test_it_is_asked_at_once_and_then_regularly_sooner_while_it_is_away_and_what_changes_is_logged_once():
    far = Far()
    dependencies = Dependencies(ALL, set)
    watch = Watch(dependencies, {Dependency.PROMETHEUS: far.ask}, timedelta(seconds=30))
    with capture_logs() as said:
        watch.begin()
        await asyncio.sleep(1)
        assert dependencies.why(Dependency.PROMETHEUS) == ""
        far.error = ProbeError("Connection refused")
        await asyncio.sleep(45)
        assert dependencies.why(Dependency.PROMETHEUS) == "Connection refused"
        far.error = None
        await asyncio.sleep(5)
        assert dependencies.why(Dependency.PROMETHEUS) == ""
        await asyncio.sleep(30)
        await watch.stop()
    assert far.asked_at == [0, 30, 35, 40, 45, 50, 80]
    assert [line["event"] for line in said] == ["dependency_away", "dependency_back"]


@virtually
async def test_one_that_hangs_is_away_and_keeps_nobody_from_asking_the_others():
    hung, well = Far(), Far()
    hung.hangs = True
    dependencies = Dependencies(ALL, set)
    asks = {Dependency.STORE: hung.ask, Dependency.PROMETHEUS: well.ask}
    watch = Watch(dependencies, asks, timedelta(seconds=30))
    watch.begin()
    await asyncio.sleep(20)
    assert dependencies.away() == {"contacts": "", "prometheus": "", "store": "no answer within 10s"}
    await watch.stop()


@virtually
async def test_whatever_keeps_us_from_asking_counts_as_away_and_the_watch_goes_on():
    far = Far()
    far.error = KeyError("surprise")
    dependencies = Dependencies(ALL, set)
    watch = Watch(dependencies, {Dependency.STORE: far.ask}, timedelta(seconds=30))
    await watch.stop()
    watch.begin()
    await asyncio.sleep(6)
    await watch.stop()
    assert dependencies.why(Dependency.STORE) == "KeyError"
    assert len(far.asked_at) == 2

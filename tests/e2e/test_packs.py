"""Each pack mitigates for real: its own alerts, its own ladders, on real parts, and back when the cause is repaired."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Collection, Mapping

import pytest
import pytest_asyncio
from tests.e2e.packs import agente_hotel, askproai, bookgen, hotel_assistant, oracle_chat
from tests.e2e.packs.case import Case
from tests.e2e.packs.system import System
from tests.e2e.packs.world import Worlds
from tests.e2e.street import Told, events

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTLES = 5.0  # seconds
PACKS = (
    (agente_hotel.AgenteHotel, agente_hotel.CASES),
    (hotel_assistant.HotelAssistant, hotel_assistant.CASES),
    (askproai.AskProAI, askproai.CASES),
    (bookgen.BookGen, bookgen.CASES),
    (oracle_chat.OracleChat, oracle_chat.CASES),
)
SYSTEMS = {system.pack: system for system, _ in PACKS}
CASES = [case for _, cases in PACKS for case in cases]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    found = Worlds(SYSTEMS, lambda: tmp_path_factory.mktemp("p"))
    try:
        yield found
    finally:
        await found.close()


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=str(case), marks=pytest.mark.xdist_group(case.pack)) for case in CASES]
)
async def test_a_pack_mitigates_for_real(worlds: Worlds, case: Case) -> None:
    there = await worlds.of(case.pack)
    system = there.system
    await there.is_quiet()
    already = len(there.people.heard)
    before, past = await system.state(), len(await there.incidents(case.rule))
    await done(case.begin(system))

    told = await there.reaches(case.rule, _helped, case.answers, past)
    await done(case.held(system))
    assert "revert_started" not in events(told)[events(told).index("mitigated") :], "its cause lasts"
    if case.end is not None:
        await done(case.end(system))
    told = await there.reaches(case.rule, lambda one: _is_over(one, case), case.answers, past)

    assert told["outcome"] == case.outcome
    assert there.held(told["id"]) == []
    assert _succeeded(told) == case.steps
    assert case.told <= {contact for contact, *_ in there.people.heard[already:]}
    assert await _soon(system, before, case.differs) == {
        name: part for name, part in before.items() if name not in case.differs
    }
    await done(case.over(system))


async def _soon(system: System, before: Mapping[str, object], differs: Collection[str]) -> dict[str, object]:
    """Return how the parts are, when they are as before or will not be: what was told to start or to reload takes a moment."""
    end = time.monotonic() + SETTLES
    while True:
        found = {name: part for name, part in (await system.state()).items() if name not in differs}
        if time.monotonic() > end or all(found[name] == before[name] for name in found):
            return found
        await asyncio.sleep(0.2)


async def done(result: object) -> None:
    """Wait for what may be to be waited for."""
    if inspect.isawaitable(result):
        await result


def _helped(told: Told) -> bool:
    return "mitigated" in events(told)


def _is_over(told: Told, case: Case) -> bool:
    """Tell whether it is closed, and whoever is to hear of it has; messages are sent beside what is done."""
    heard = {line["contact"] for line in told["timeline"] if line["event"] == "notified"}
    return told["phase"] == "closed" and case.told <= heard


def _succeeded(told: Told) -> tuple[str, ...]:
    """Return the actions that led to the mitigation, those of people too."""
    lines = told["timeline"][: events(told).index("mitigated")]
    found = {"step_succeeded": lambda line: line["action"], "manual_done": lambda _: "manual"}
    return tuple(found[line["event"]](line) for line in lines if line["event"] in found)

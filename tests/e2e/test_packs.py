"""Each pack mitigates for real: its own alerts, its own ladders, on real parts, and back when the cause is repaired."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.e2e.packs import agente_hotel
from tests.e2e.packs.case import Case
from tests.e2e.packs.world import World, world
from tests.e2e.street import Told, events

pytestmark = pytest.mark.asyncio(loop_scope="module")

SYSTEMS = {one.pack: one for one in (agente_hotel.AgenteHotel,)}
CASES = (*agente_hotel.CASES,)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("p")
    async with world(SYSTEMS[request.param](home)) as running:
        yield running


@pytest.mark.parametrize(
    ("there", "case"),
    [pytest.param(case.pack, case, id=str(case), marks=pytest.mark.xdist_group(case.pack)) for case in CASES],
    indirect=["there"],
)
async def test_a_pack_mitigates_for_real(there: World, case: Case) -> None:
    system, past = there.system, len(await there.incidents(case.rule))
    before = system.state()
    case.begin(system)

    told = await there.reaches(case.rule, _helped, case.answers, past)
    case.held(system)
    assert "revert_started" not in events(told)[events(told).index("mitigated") :], "its cause lasts"
    if case.end is not None:
        case.end(system)
    told = await there.reaches(case.rule, lambda one: one["phase"] == "closed", case.answers, past)

    assert told["outcome"] == case.outcome
    assert (told["held"], there.held()) == ([], [])
    assert _succeeded(told) == case.steps
    assert case.told <= {line["contact"] for line in told["timeline"] if line["event"] == "notified"}
    after = system.state()
    same = before.keys() - case.differs
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    case.over(system)


def _helped(told: Told) -> bool:
    return "mitigated" in events(told)


def _succeeded(told: Told) -> tuple[str, ...]:
    """Return the actions that led to the mitigation."""
    lines = told["timeline"][: events(told).index("mitigated")]
    return tuple(line["action"] for line in lines if line["event"] == "step_succeeded")

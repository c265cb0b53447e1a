"""What a probe could not see is unknown, also when it was Stopgap that stood still."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from tests.virtual import virtually

from stopgap.action import Params
from stopgap.asker import Asker
from stopgap.plan import PlannedProbe
from stopgap.probe import Finding, Verdict
from stopgap.rule import ProbeSpec


@dataclass
class Slow:
    """Takes so long, and then says so."""

    name: ClassVar[str] = "slow"
    after: ClassVar[float] = 0.0
    params: ClassVar[type[Params]] = Params
    takes: float
    verdict: Verdict

    def describe(self, _: Any) -> str:
        return "slow"

    async def ask(self, _: Any, timeout: timedelta) -> Finding:
        await asyncio.sleep(self.takes)
        return Finding(self.verdict, "no answer within 5s")


@pytest.mark.parametrize(
    ("takes", "said", "verdict"),
    [
        (5.1, Verdict.UNHEALTHY, Verdict.UNHEALTHY),  # it waited for as long as it may
        (6, Verdict.UNHEALTHY, Verdict.UNKNOWN),  # the time limit was long over when it was noticed
        (6, Verdict.HEALTHY, Verdict.HEALTHY),  # seen is seen
        (30, Verdict.UNHEALTHY, Verdict.UNKNOWN),
    ],
)
@virtually
async def test_an_answer_that_nobody_looked_for_in_time_is_no_unhealthy_one(takes, said, verdict):
    spec = ProbeSpec("slow", Params(), timeout=timedelta(seconds=5))
    (finding,) = await Asker(None, 1).ask([PlannedProbe(Slow(takes, said), Params(), spec)])
    assert finding.verdict is verdict


class Broken(Slow):
    """Fails in a way that nobody foresaw."""

    async def ask(self, _: Any, timeout: timedelta) -> Finding:
        raise RuntimeError("torn")


@virtually
async def test_prompt_probes_are_asked_one_after_the_other_and_one_that_breaks_is_unknown():
    spec = ProbeSpec("slow", Params(), timeout=timedelta(seconds=5))
    probes = [Slow(0, Verdict.UNHEALTHY), Broken(0, Verdict.HEALTHY), Slow(0, Verdict.HEALTHY)]
    found = await Asker(None, 1, prompt=True).ask([PlannedProbe(probe, Params(), spec) for probe in probes])
    assert [one.verdict for one in found] == [Verdict.UNHEALTHY, Verdict.UNKNOWN, Verdict.HEALTHY]
    assert found[1].why == "RuntimeError: torn"


@virtually
async def test_other_bounds_let_no_more_probes_be_asked_at_once():
    asking = most = 0

    class Counted(Slow):
        async def ask(self, _: Any, timeout: timedelta) -> Finding:
            nonlocal asking, most
            asking += 1
            most = max(most, asking)
            await asyncio.sleep(self.takes)
            asking -= 1
            return Finding(self.verdict, "")

    asker = Asker(None, 4)
    probe = PlannedProbe(Counted(1, Verdict.HEALTHY), Params(), ProbeSpec("slow", Params()))
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(asker.ask([probe] * 8))
            await asyncio.sleep(0.1)
            asker.bound(4)
    assert most == 4

"""A game day of the handbook, as it ships: the PMS is really broken, the real alert is silenced, the drill does the rest."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.e2e.harness import Stand, standing
from tests.e2e.street import call

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("lab")]

ALERT = "PMSCircuitBreakerOpen"
RULE = "agente-hotel/pms-mock-mode"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with standing(tmp_path_factory.mktemp("drill")) as running:
        yield running


async def silence(stand: Stand, alertname: str) -> None:
    def at(seconds: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))

    matcher = {"name": "alertname", "value": alertname, "isRegex": False, "isEqual": True}
    body = {
        "matchers": [matcher],
        "startsAt": at(0),
        "endsAt": at(3600),
        "createdBy": "ann",
        "comment": "drill",
    }
    await call("POST", f"{stand.lab.alertmanager_url}/api/v2/silences", body)


async def test_the_pms_goes_down_as_the_handbook_plays_it(stand: Stand, tmp_path: Path) -> None:
    file, former = stand.lab.env_bytes(), await stand.settings()
    script, report = (
        stand.daemon.rules / "agente-hotel" / "drills" / "pms-down.drill.yaml",
        tmp_path / "day.md",
    )
    await silence(stand, ALERT)
    await stand.lab.break_pms()
    playing = asyncio.create_task(
        asyncio.to_thread(stand.cli, "drill", str(script), "--yes", "--out", str(report))
    )

    async def recovers() -> bool:
        return [told["phase"] for told in await stand.incidents("pms-mock-mode")] == ["recovering"]

    await stand.comes("mitigation that outlasts its alert", recovers, 60)
    assert (await stand.settings())["PMS_TYPE"] == "mock", "the process goes by the new setting"
    await asyncio.sleep(3)
    assert await recovers(), "nothing is taken back while the PMS is away"
    await stand.lab.heal_pms()
    ended = await playing

    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert "Start the PMS again" in ended.stdout
    assert stand.lab.env_bytes() == file
    assert await stand.settings() == former
    text = report.read_text()
    assert text.startswith("# Drill `pms-down`: passed\n")
    (told,) = await stand.incidents("pms-mock-mode")
    assert (told["drill"], told["outcome"], len(told["alerts"])) == ("pms-down", "recovered", 1)
    assert {who for who, _ in stand.pager.told} >= {"oncall", "pms_team"}
    assert all(title.startswith("[DRILL pms-down] ") for _, title in stand.pager.told)
    assert await stand.metric("stopgap_drills_total", result="recovered") == 1
    assert await stand.metric("stopgap_incidents_opened_total", rule=RULE) == 0
    assert await stand.metric("stopgap_reverts_total", rule=RULE, result="reverted") == 1

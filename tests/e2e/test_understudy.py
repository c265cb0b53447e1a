"""Where Prometheus and Alertmanager are not installed, the understudy brings the same story to the same end."""

import pytest
from tests.e2e.harness import standing

pytestmark = pytest.mark.xdist_group("lab")


async def test_the_booking_system_story_ends_the_same_with_the_understudy(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with standing(tmp_path_factory.mktemp("understudy"), monitoring=False) as stand:
        file, former = stand.lab.env_bytes(), await stand.lab.hotel_mode()

        async def phase() -> str:
            return "".join(told["phase"] for told in await stand.incidents("pms-mock-mode"))

        async def recovering() -> bool:
            return await phase() == "recovering"

        async def closed() -> bool:
            return await phase() == "closed"

        await stand.lab.break_pms()
        await stand.comes("silent alert", recovering, 60)
        assert (await stand.lab.hotel_mode())["mode"] == "mock"
        await stand.lab.heal_pms()
        await stand.comes("end", closed, 60)

        (told,) = await stand.incidents("pms-mock-mode")
        assert (told["outcome"], stand.held()) == ("recovered", [])
        assert "mitigated" in [line["event"] for line in told["timeline"]]
        assert stand.lab.env_bytes() == file
        present = await stand.lab.hotel_mode()
        assert (present["mode"], present["settings"]) == (former["mode"], former["settings"])
        assert present["pid"] != former["pid"]

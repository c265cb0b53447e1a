"""`kill -9` between any two lines of an incident, and inside its acts: it ends the same, and each effect happened once."""

import sqlite3
from contextlib import closing

import pytest
from tests.crash.knife import POINTS
from tests.crash.shop import Shop

OUTSIDE = {"moment", "effect.before", "effect.after"}

WHOLE = [
    "opened", "permitted", "rung_started", "observed", "step_started", "step_succeeded",
    "observed", "step_started", "step_succeeded", "probe_healthy", "rung_held", "mitigated",
    "alert_resolved", "resolved", "probe_healthy", "revert_started", "step_started", "step_reverted",
    "observed", "step_started", "step_succeeded", "reverted", "closed",
]  # fmt: skip


async def live(shop: Shop) -> None:
    await shop.deliver("firing")
    await shop.until_phase("mitigated")
    await shop.deliver("resolved")
    await shop.until_phase("closed")


async def test_without_a_kill_the_incident_has_the_lines_that_the_kills_are_counted_by(tmp_path, zygote):
    async with Shop(tmp_path, zygote) as shop:
        await shop.start()
        await live(shop)
        (incident,) = await shop.incidents()
        timeline = await shop.timeline(incident["id"])
        assert [line["event"] for line in timeline] == WHOLE
        shop.check()
        assert len(shop.effects()) == 2


async def test_a_life_without_a_kill_passes_every_point_at_which_it_could_be_killed(tmp_path, zygote):
    async with Shop(tmp_path, zygote) as shop:
        await shop.start()
        await live(shop)
        await shop.reload()
        assert await shop.stop() == {*POINTS} - OUTSIDE


@pytest.mark.parametrize("lines", range(1, len(WHOLE) + 1))
async def test_killed_after_any_line_the_incident_ends_the_same_and_each_effect_happened_once(
    tmp_path, zygote, lines
):
    async with Shop(tmp_path, zygote) as shop:
        await shop.start(lines)
        await live(shop)
        incidents = await shop.incidents()
        assert [i["outcome"] for i in incidents] == ["recovered"], incidents
        assert len(shop.effects()) == 2
        shop.check()
        assert shop.kills == 1
    with closing(sqlite3.connect(tmp_path / "data" / "stopgap.db")) as db, db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM held").fetchone() == (0,)


@pytest.mark.parametrize("act", ["0/0/activate/1", "0/0/reactivate/1"])
async def test_killed_between_an_effect_and_its_answer_the_act_is_not_repeated(tmp_path, zygote, act):
    async with Shop(tmp_path, zygote) as shop:
        await shop.start()
        (tmp_path / "knife").write_text(act)
        await live(shop)
        (incident,) = await shop.incidents()
        assert incident["outcome"] == "recovered"
        assert len(shop.effects()) == 2
        shop.check()
        assert shop.kills == 1
        timeline = await shop.timeline(incident["id"])
        assert any(line.get("by") == "observation" for line in timeline)

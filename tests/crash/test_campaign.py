"""Daemons are killed wherever the seed says, until so many are dead: no promise is broken, on either database."""

from contextlib import closing

import pytest
from tests.crash.campaign import Campaign, Figures
from tests.crash.keeping import OnPostgres, OnSqlite


def spare(figures: Figures, kills: int) -> None:
    print(figures)
    assert not figures.violations, "\n".join(map(str, figures.violations))
    assert figures.kills == kills
    assert figures.effects > kills / 2
    assert figures.acknowledged > kills


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_no_promise_is_broken_by_kills_on_sqlite(tmp_path, zygote, seed):
    spare(await Campaign(seed, zygote, tmp_path, OnSqlite(tmp_path)).run(38), 38)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_promise_is_broken_by_kills_on_postgres(tmp_path, zygote, postgres, seed):
    with closing(OnPostgres(postgres.database())) as keeping:
        spare(await Campaign(seed, zygote, tmp_path, keeping).run(26), 26)

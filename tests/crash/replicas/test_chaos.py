"""Three daemons on one PostgreSQL, under faults that overlap: nothing that was acknowledged is lost, nothing is done twice."""

import pytest
from tests.crash.replicas.__main__ import SERVER
from tests.crash.replicas.campaign import Campaign
from tests.servers import running_postgres


@pytest.mark.timeout(300)
async def test_of_three_daemons_under_faults_nothing_is_lost_and_nothing_done_twice(tmp_path, zygote):
    with running_postgres(*SERVER) as server:
        figures = await Campaign(1, zygote, server, tmp_path).run(25)
    print(figures)
    assert not figures.violations, "\n".join(map(str, figures.violations))
    assert (figures.faults.total(), figures.lost, figures.doubled) == (25, 0, 0)
    assert figures.takeovers
    assert figures.acknowledged > 25
    assert figures.effects > 5

"""Prometheus: what is said when there is none."""

from datetime import timedelta

import pytest

from stopgap.errors import ProbeError
from stopgap.prometheus import Prometheus


@pytest.mark.parametrize("url", [None, ""])
async def test_without_a_url_every_question_is_refused_with_the_flag_that_gives_one(url):
    def session():
        raise AssertionError("nothing is opened")

    with pytest.raises(ProbeError, match="start with --prometheus URL"):
        await Prometheus(url, session).query("up", timeout=timedelta(seconds=1))
    with pytest.raises(ProbeError, match="start with --prometheus URL"):
        await Prometheus(url, session).rules(timedelta(seconds=1))

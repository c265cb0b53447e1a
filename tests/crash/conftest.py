"""Fixtures of the crash tests: the process that forks daemons, one per worker."""

from collections.abc import Iterator

import pytest
from tests.crash.incarnation import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote

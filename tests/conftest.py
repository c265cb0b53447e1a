"""Fixtures that any test may ask for: real servers, one of each per worker, started at first use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import mariadb, postgres, redis_server

__all__ = ["mariadb", "postgres", "redis_server"]

pytest.register_assert_rewrite("tests.e2e.packs")  # its assertions say what differs, as those of tests do

TRACING = "COVERAGE_PROCESS_CONFIG"
UNTRACED = ("crash", "e2e", "faults")
"""Where time matters, or a process is killed before it could tell which lines it ran."""


@pytest.fixture(autouse=True, scope="module")
def untraced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start processes without tracing their lines, in some folders; it makes them twice as slow."""
    folder = Path(request.path).relative_to(Path(__file__).parent).parts[0]
    config = os.environ.pop(TRACING, None) if folder in UNTRACED else None
    yield
    if config is not None:
        os.environ[TRACING] = config

"""Fixtures that any test may ask for: real servers, one of each per worker, started at first use."""

import pytest
from tests.servers import mariadb, postgres, redis_server

__all__ = ["mariadb", "postgres", "redis_server"]

pytest.register_assert_rewrite("tests.e2e.packs")  # its assertions say what differs, as those of tests do

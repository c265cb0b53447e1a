"""Fixtures that any test may ask for: real servers, one of each per worker, started at first use."""

from tests.servers import mariadb, postgres, redis_server

__all__ = ["mariadb", "postgres", "redis_server"]

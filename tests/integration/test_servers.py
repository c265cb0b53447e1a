"""The servers that other tests rely on serve, can be frozen and started again, and leave nothing behind."""

import urllib.request

import pytest
import redis
from tests.servers import PASSWORD, Server, running_nginx, running_redis


def test_a_database_of_its_own_for_each_test(postgres, mariadb):
    for server in (postgres, mariadb):
        one, other = server.database(), server.database()
        one.run("CREATE TABLE guest (id integer)", "INSERT INTO guest VALUES (7)")
        assert one.rows("SELECT id FROM guest") == [(7,)]
        assert one.name != other.name


def test_redis_comes_back_on_its_port_with_nothing(redis_server):
    with running_redis("--requirepass", PASSWORD) as server:
        home = server.home
        client = redis.Redis(port=server.port, password=PASSWORD, retry=None)
        client.set("a", 1)
        server.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.get("a") is None
        client.close()
        assert redis_server.port != server.port
    assert not home.exists()


def test_nginx_serves_what_its_lines_say():
    with (
        running_nginx("server { listen 127.0.0.1:PORT; location / { return 200 hello; } }") as web,
        urllib.request.urlopen(web.url, timeout=5) as answer,
    ):
        assert answer.read() == b"hello"


def test_a_server_that_cannot_start_says_why(tmp_path):
    server = Server("liar", tmp_path, lambda port: ["/bin/sh", "-c", "echo no port; exit 3"], "ready")
    with pytest.raises(RuntimeError, match="no port"):
        server.start()

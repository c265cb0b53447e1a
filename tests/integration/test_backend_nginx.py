"""A file of blocked addresses that a real nginx includes: who is kept out, and what stays as it was."""

import asyncio
import ipaddress
import json
import os
from datetime import timedelta

import aiohttp
import pytest
from pydantic import ValidationError
from tests.integration.test_action_block import FILE, NOW, wanted
from tests.servers import running_nginx

from stopgap.action import Restored, Settled
from stopgap.actions import Block, Restart
from stopgap.backends import locate
from stopgap.backends.capability import Blocklist
from stopgap.errors import ActionError, PermanentError

SOON = timedelta(seconds=10)

SITE = """
    set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
    server { listen PORT; include HOME/blocked[.]conf; location / { return 204; } location /page { root HOME; } }
"""


@pytest.fixture
def blocked(tmp_path):
    path = tmp_path / "blocked.conf"
    path.write_text(FILE)
    return path


@pytest.fixture
def nginx():
    """A site that includes blocked.conf and shows a page, with the main configuration as nginx itself would find it."""
    with running_nginx(SITE) as server:
        (server.home / "page").write_text("hello")
        (server.home / "blocked.conf").write_text("# kept out\n")
        yield server


async def asked(server, client: str, source: str = "127.0.0.1") -> int:
    """Ask for the page as a client behind a proxy, or from another address of loopback."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0), force_close=True)
    headers = {"X-Forwarded-For": client} if client else {}
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"{server.url}/page", headers=headers) as answer,
    ):
        return answer.status


async def answered(server, status: int, client: str, source: str = "127.0.0.1") -> None:
    """Wait until the new workers have taken over: nginx -s reload does not."""
    async with asyncio.timeout(10):
        while await asked(server, client, source) != status:
            await asyncio.sleep(0.02)


def locators(server) -> str:
    return f"nginx://{server.home}/blocked.conf#{server.home}/nginx.conf"


async def reload(server) -> None:
    act, params = Restart(None), Restart.params(at=locators(server))
    before = await act.observe(params, NOW)
    assert before["up"]
    await act.run(params, before, NOW)
    async with asyncio.timeout(10):
        while act.settled(params, before, await act.observe(params, NOW)) is not Settled.DONE:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("address", ["203.0.113.7", "203.0.113.0/24", "2001:db8::7"])
async def test_nginx_keeps_the_client_out_and_lets_it_in_again(nginx, address):
    client = address.replace("0/24", "9")
    act, params = Block(None), wanted(locators(nginx), address)
    assert await asked(nginx, client) == 200
    before = json.loads(json.dumps(await act.observe(params, NOW)))
    receipt = await act.run(params, before, NOW)
    await reload(nginx)
    await answered(nginx, 403, client)
    assert await asked(nginx, "198.51.100.9") == 200
    assert (await act.revert(params, before, receipt, NOW)).result is Restored.REVERTED
    await reload(nginx)
    await answered(nginx, 200, client)


async def test_nginx_keeps_out_who_connects_from_that_address(nginx):
    place = locate(locators(nginx), Blocklist)
    other = ipaddress.ip_network("127.0.0.2")  # the action would never: it is loopback
    assert await asked(nginx, "", "127.0.0.2") == 200
    await place.ban(other, "INC-1", 50, SOON)
    await reload(nginx)
    await answered(nginx, 403, "", "127.0.0.2")
    assert await asked(nginx, "") == 200
    await place.lift(other, "INC-1", SOON)
    await reload(nginx)
    await answered(nginx, 200, "", "127.0.0.2")
    assert (nginx.home / "blocked.conf").read_text() == "# kept out\n"


async def test_a_configuration_that_nginx_does_not_take_is_not_loaded(nginx):
    path = nginx.home / "blocked.conf"
    path.write_text("deny nobody\n")
    with pytest.raises(PermanentError, match="nginx -t -q"):
        await Restart(None).run(Restart.params(at=locators(nginx)), None, NOW)
    assert await asked(nginx, "203.0.113.7") == 200


async def test_an_nginx_that_does_not_run_is_seen(nginx):
    nginx.stop()
    assert (await Restart(None).observe(Restart.params(at=locators(nginx)), NOW))["up"] is False


async def test_the_files_own_lines_mode_and_owner_stay(blocked):
    blocked.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(blocked, 65534, 65534)
    seen = blocked.stat()
    act, params = Block(None), wanted(f"nginx://{blocked}")
    before = await act.observe(params, NOW)
    await act.run(params, before, NOW)
    head, _, rest = FILE.partition("deny")
    assert blocked.read_text() == f"{head}deny 203.0.113.7; # stopgap INC-1\ndeny{rest}"
    now = blocked.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (seen.st_mode, seen.st_uid, seen.st_gid)
    await act.revert(params, before, None, NOW)
    assert blocked.read_text() == FILE


@pytest.mark.parametrize(
    "text", ["", "# only a comment", "\n", "deny 203.0.113.99;", "#\r\ndeny 1.2.3.4;\r\n", "# \x85\udcff x\n"]
)
async def test_taking_back_is_exact_whatever_the_file_ends_with(tmp_path, text):
    path = tmp_path / "blocked.conf"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    act, params = Block(None), wanted(f"nginx://{path}")
    before = await act.observe(params, NOW)
    await act.run(params, before, NOW)
    assert "deny 203.0.113.7; # stopgap INC-1\n" in path.read_text(errors="surrogateescape")
    assert act.settled(params, before, await act.observe(params, NOW)) is Settled.DONE
    await act.revert(params, before, None, NOW)
    assert path.read_bytes() == text.encode("utf-8", "surrogateescape")


async def test_a_file_that_is_not_there_is_told(tmp_path):
    act, params = Block(None), wanted(f"nginx://{tmp_path}/none.conf")
    for doing in (act.observe(params, NOW), act.rehearse(params, NOW)):
        with pytest.raises(ActionError, match="No such file"):
            await doing


@pytest.mark.parametrize(
    "at", ["nginx:///a#b", "nginx:///a#/x y", "nginx://host/a", "nginx:///a#/x;", "nginx:"]
)
def test_what_is_no_file_of_nginx_does_not_load(at):
    with pytest.raises(ValidationError):
        wanted(at)

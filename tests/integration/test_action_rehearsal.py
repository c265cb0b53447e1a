"""A rehearsal says what is missing before it is needed, as whoever will need it, and changes nothing."""

import asyncio
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr
from tests.doubles.installed import Doubles
from tests.intake import serving
from tests.integration.test_action_contract import CASES
from tests.prometheus_server import free_port

from stopgap.action import Moment
from stopgap.actions import Exec, Flag, HttpCall, Notify, Restart, Scale, Service, Wait
from stopgap.backends import successor
from stopgap.contacts import Contact, Contacts
from stopgap.context import Context, Http
from stopgap.errors import ActionError, PermanentError

NOW = Moment(key="rehearsal", timeout=timedelta(seconds=10), rule="hotel/pms")


def snapshot(folder: Path) -> dict[str, object]:
    """Return everything of a tree that a change could show in; the doubles in `bin` keep their own books."""
    found = {}
    for path in sorted((folder, *folder.rglob("*"))):
        if "bin" not in path.relative_to(folder).parts:
            seen = path.lstat()
            body = path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else b""
            owner = (seen.st_ino, seen.st_mode, seen.st_uid, seen.st_gid, seen.st_nlink)
            found[str(path)] = (*owner, seen.st_mtime_ns, seen.st_ctime_ns, body)
    return found


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
async def test_nothing_is_changed_by_a_rehearsal(make, tmp_path, monkeypatch):
    case = make(tmp_path, monkeypatch)
    if make.__name__ == "compose_scale":
        compose_files(tmp_path, monkeypatch)
    old, before = case.world(), snapshot(tmp_path)
    await case.action.rehearse(case.params, NOW)
    assert case.world() == old
    assert snapshot(tmp_path) == before


def compose_files(tmp_path, monkeypatch):
    """Let the double's containers come from a file that is there."""
    (tmp_path / "compose.yml").touch()
    state = tmp_path / "bin" / "docker.json"
    state.write_text(state.read_text().replace("/srv/bookgen", str(tmp_path)))


async def hindered(action, **params) -> str:
    with pytest.raises(ActionError) as told:
        await action.rehearse(action.params(**params), NOW)
    return str(told.value)


# --- files, as somebody who may not ---

STRANGER = """
import asyncio, os, sys
from datetime import timedelta
from pathlib import Path
from stopgap.action import Moment
from stopgap.actions import Flag
from stopgap.backends.successor import check_replaceable
from stopgap.errors import ActionError

moment = Moment("rehearsal", timedelta(seconds=10))

async def rehearse(path):
    await Flag(None).rehearse(Flag.params(at=f"env://{path}", set={"A": "2"}), moment)

async def main():
    await rehearse(sys.argv[1])  # as the tester; also imports all that the stranger needs
    if os.geteuid() == 0:
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
    for path in sys.argv[2:]:
        try:
            if path.startswith("foreign:"):
                path = Path(path.removeprefix("foreign:"))
                seen = list(path.stat())
                seen[4] += 1
                check_replaceable(path, os.stat_result(seen))
            else:
                await rehearse(path)
            print("fine")
        except ActionError as error:
            print(error)

asyncio.run(main())
"""


def as_stranger(fine: Path, *paths: object) -> list[str]:
    """Rehearse a flag in these files, as nobody when the tester is root, else as the tester."""
    said = subprocess.run(
        [sys.executable, "-c", STRANGER, str(fine), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.splitlines()


@pytest.fixture
def open_folder():
    """Return a folder that everybody may reach and write to; pytest's own are for the tester alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def env_file(folder: Path, mode: int = 0o644) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "app.env"
    path.write_text("A=1\n")
    path.chmod(mode)
    return path


def test_a_file_that_may_not_be_read_or_replaced_is_told_with_its_reason(open_folder):
    fine, dark = env_file(open_folder / "fine"), env_file(open_folder / "dark", 0)
    shut = env_file(open_folder / "shut")
    shut.parent.chmod(0o555)
    fine.parent.chmod(0o777)
    before = snapshot(open_folder)
    told = as_stranger(fine, shut, dark, f"foreign:{fine}")
    uid, gid = fine.stat().st_uid + 1, fine.stat().st_gid
    assert told == [
        f"cannot write {shut}: its folder {shut.parent}: Permission denied",
        f"{dark}: Permission denied",
        f"cannot write {fine}: its owner {uid}:{gid} could not be kept: Operation not permitted",
    ]
    assert snapshot(open_folder) == before
    shut.parent.chmod(0o755)


def test_a_file_of_another_user_is_told_when_its_owner_could_not_be_kept(open_folder):
    if os.geteuid() != 0:  # its folder is not ours either: the nearest that an ordinary tester has
        assert as_stranger(env_file(open_folder / "fine"), "/etc/os-release")[0].startswith("cannot write ")
        return
    path = env_file(open_folder / "theirs")
    (open_folder / "theirs").chmod(0o777)
    before = snapshot(open_folder)
    assert as_stranger(path, path) == [
        f"cannot write {path}: its owner 0:0 could not be kept: Operation not permitted"
    ]
    assert snapshot(open_folder) == before


async def test_a_link_is_followed_and_a_hard_link_refused(tmp_path):
    path = env_file(tmp_path)
    link = tmp_path / "link.env"
    link.symlink_to(path)
    flag = Flag(None)
    await flag.rehearse(Flag.params(at=f"env://{link}", set={"A": "2"}), NOW)
    (tmp_path / "second.env").hardlink_to(path)
    assert "has hard links" in await hindered(flag, at=f"env://{link}", set={"A": "2"})


async def test_a_file_that_is_mounted_by_itself_cannot_be_replaced(tmp_path, monkeypatch):
    path = env_file(tmp_path / "a b")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"36 35 98:0 / {str(path).replace(' ', chr(92) + '040')} rw - ext4 /dev/vda rw\n")
    flag, params = Flag(None), {"at": f"env://{path}", "set": {"A": "2"}}
    monkeypatch.setattr(successor, "MOUNTS", mounts)
    assert "mount its folder instead" in await hindered(flag, **params)
    monkeypatch.setattr(successor, "MOUNTS", tmp_path / "none")
    await flag.rehearse(flag.params(**params), NOW)


async def test_where_no_file_can_be_nameless_the_right_to_write_is_asked(tmp_path, monkeypatch):
    path = env_file(tmp_path)
    flag, params = Flag(None), {"at": f"env://{path}", "set": {"A": "2"}}
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # as a kernel that does not know it
    await flag.rehearse(flag.params(**params), NOW)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert f"its folder {tmp_path}: Permission denied" in await hindered(flag, **params)


async def test_a_value_that_a_file_cannot_hold_is_told(tmp_path):
    (tmp_path / "app.json").write_text('{"limit": 60}')
    flag = Flag(None)
    at = f"json://{tmp_path}/app.json"
    assert "limit" in await hindered(flag, at=at, set={"limit": "many"})
    assert "there is no section" in await hindered(flag, at=f"{at}#none", set={"limit": "6"})
    assert "No such file" in await hindered(flag, at=f"env://{tmp_path}/none", set={"A": "b"})


# --- programs ---


@pytest.mark.parametrize("command", ["argv", "revert", "observe"])
async def test_a_missing_program_is_told_and_nothing_is_run(tmp_path, command):
    ran = tmp_path / "ran"
    given = {"argv": ["touch", str(ran)], command: ["/nowhere/limit", "set"]}
    assert "'/nowhere/limit' cannot be run: No such file or directory" in await hindered(Exec(None), **given)
    assert not ran.exists()


async def test_a_program_is_looked_for_where_it_will_be(tmp_path):
    tool = tmp_path / "limit-tool"
    tool.write_text("#!/bin/sh\n")
    exec_, env = Exec(None), {"PATH": str(tmp_path)}
    assert "'limit-tool' cannot be run: No such file" in await hindered(exec_, argv=["limit-tool"])
    assert "cannot be run: Permission denied" in await hindered(exec_, argv=["limit-tool"], env=env)
    tool.chmod(0o755)
    await exec_.rehearse(Exec.params(argv=["limit-tool"], env=env), NOW)


async def test_observing_by_a_command_is_tried(tmp_path):
    told = await hindered(Exec(None), argv=["true"], observe=["sh", "-c", "echo no login >&2; exit 4"])
    assert told == "sh exited with 4: no login"


# --- places behind tools ---


@pytest.mark.parametrize(
    ("action", "params", "why"),
    [
        (Restart, {"at": "systemd://none"}, "systemd has no unit none.service"),
        (Service, {"at": "compose://bookgen/none", "state": "stopped"}, "there is no container of"),
        (Restart, {"at": "fly://none"}, "flyctl machine list"),
        (Scale, {"at": "fly://hotel", "count": "+3", "min": 1, "max": 4}, "would not be within 1 and 4"),
        (Scale, {"at": "compose://bookgen/api", "count": "2", "min": 1, "max": 4}, "cannot read /srv"),
        (Flag, {"at": "fly://hotel", "set": {"A": '"'}, "back_to": {"A": "b"}}, "quotes"),
        (Flag, {"at": "fly://hotel", "set": {"A": "b"}, "back_to": {"A": '"'}}, "quotes"),
        (Flag, {"at": "fly://none", "set": {"A": "b"}, "back_to": {"A": "b"}}, "flyctl secrets list"),
    ],
)
async def test_what_is_not_there_or_would_be_refused_is_told(tmp_path, monkeypatch, action, params, why):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    assert why in await hindered(action(None), **params)
    assert doubles.acts() == []


async def test_a_tool_that_is_not_installed_is_told_with_its_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install flyctl and set FLY_API_TOKEN" in await hindered(Restart(None), at="fly://hotel")


async def test_a_supervisor_that_is_not_there_is_told(tmp_path):
    assert "cannot be reached" in await hindered(Restart(None), at=f"supervisor://{tmp_path}/none.sock#app")


# --- http ---


class Server:
    def __init__(self):
        self.seen = []
        self.status = 200

    def mount(self, app):
        async def answer(request):
            self.seen.append(request.method)
            return web.json_response({"limit": 1}, status=self.status)

        app.router.add_route("*", "/{any:.*}", answer)


@pytest_asyncio.fixture
async def http():
    client = Http()
    yield HttpCall(Context(client, None, Contacts()))
    await client.close()


async def test_an_http_step_connects_and_reads_and_never_sends_what_changes(http):
    server = Server()
    async with serving(server.mount) as (url, _):
        more = {"revert": {"method": "DELETE"}}
        await http.rehearse(HttpCall.params(url=url, **more), NOW)
        await http.rehearse(HttpCall.params(url=url, observe={"method": "POST"}, **more), NOW)
        assert server.seen == []
        await http.rehearse(HttpCall.params(url=url, observe={}, **more), NOW)
        assert server.seen == ["GET"]


async def test_a_login_that_is_refused_is_told_without_the_login(http):
    server = Server()
    server.status = 401
    async with serving(server.mount) as (url, _):
        headers = {"Authorization": SecretStr("Bearer hunter2")}
        told = await hindered(http, url=f"{url}/limits?key=hunter2", headers=headers, observe={})
    assert told == f"{url}/limits answered 401"


async def test_an_address_that_cannot_be_reached_is_told(http):
    closed = f"http://127.0.0.1:{free_port()}/"
    assert "cannot be reached: " in await hindered(http, url=closed)
    assert await hindered(http, url="https://stopgap.invalid/x") == (
        "https://stopgap.invalid/x: the name is not resolvable"
    )
    told = await hindered(http, url=SecretStr("http://stopgap.invalid/hunter2"))
    assert told == "***: the name is not resolvable"
    server = Server()
    async with serving(server.mount) as (url, _):
        assert "cannot be reached" in await hindered(http, url=url, revert={"url": closed})


async def test_silence_is_told(http, monkeypatch):
    async def silent(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio, "open_connection", silent)
    soon = Moment("rehearsal", timedelta(milliseconds=50))
    with pytest.raises(ActionError, match=r"no connection within 0\.05 s"):
        await http.rehearse(HttpCall.params(url="http://127.0.0.1/"), soon)


# --- the rest ---


async def test_a_contact_is_looked_up_in_the_pack_and_not_told():
    book = {"hotel": {"oncall": Contact("oncall", (SecretStr("json://x"),)), "mute": Contact("mute", ())}}
    notify = Notify(Context(Http(), None, Contacts(book)))
    await notify.rehearse(Notify.params(contact="oncall", body="x"), NOW)
    assert "has no address" in await hindered(notify, contact="mute", body="x")
    other = Moment("rehearsal", NOW.timeout, rule="shop/pms")
    with pytest.raises(PermanentError, match="no contact is called"):
        await notify.rehearse(Notify.params(contact="oncall", body="x"), other)


async def test_a_wait_needs_nothing():
    assert await Wait(None).rehearse(Wait.params.model_validate({"for": "1h"}), NOW) is None

"""The tools of Fly, systemd and Docker are called with options that they know, and secrets stay out of argv."""

from datetime import timedelta

import pytest
from tests.doubles.installed import Doubles

from stopgap import process
from stopgap.backends import locate
from stopgap.backends.capability import Entry, Flags, Restartable, Scalable, Services
from stopgap.errors import PermanentError, TemporaryError

LONG = timedelta(seconds=20)


@pytest.fixture
def doubles(tmp_path, monkeypatch):
    return Doubles(tmp_path / "bin", monkeypatch)


async def fly_set(**settings):
    changes = {key: Entry(value) for key, value in settings.items()}
    return await locate("fly://hotel", Flags).change(list(changes), lambda _: changes, LONG)


async def test_fly_secrets_go_in_on_stdin_and_are_staged(doubles):
    await fly_set(PMS_TYPE="mock", DATABASE_URL="postgres://u:hush#@x/y?a=1")
    app = doubles.state("flyctl")["apps"]["hotel"]
    assert app["secrets"] == {"PMS_TYPE": "mock", "DATABASE_URL": "postgres://u:hush#@x/y?a=1"}
    assert app["deployed"] == {"PMS_TYPE": "qloapps"}
    assert "hush" not in str([call["argv"] for call in doubles.calls()])
    assert doubles.acts() == [["flyctl", "secrets", "import", "--app", "hotel", "--stage"]]


async def test_a_fly_restart_deploys_what_is_staged(doubles):
    place = locate("fly://hotel", Restartable)
    before = await place.observe(LONG)
    await fly_set(PMS_TYPE="mock")
    await place.restart(LONG)
    after = await place.observe(LONG)
    assert doubles.state("flyctl")["apps"]["hotel"]["deployed"] == {"PMS_TYPE": "mock"}
    assert after.up
    assert all(after.starts[name] != mark for name, mark in before.starts.items())


async def test_a_fly_secret_is_removed_by_unset(doubles):
    await fly_set(PMS_TYPE=None)
    assert doubles.state("flyctl")["apps"]["hotel"]["secrets"] == {}


@pytest.mark.parametrize("value", ['a"b', "a\nB=1", "a\\b", "\x07"])
async def test_a_value_that_flyctl_may_change_is_refused_unshown(doubles, value):
    with pytest.raises(PermanentError) as refused:
        await fly_set(PMS_TYPE=value)
    assert value not in str(refused.value)
    assert doubles.acts() == []


async def test_a_tool_that_fails_says_why_without_secrets(doubles):
    state = doubles.state("flyctl")
    state["apps"] = {}
    doubles.change("flyctl", state)
    with pytest.raises(PermanentError, match="exited with 1: Error: failed to get app"):
        await locate("fly://hotel", Scalable).size("count", LONG)


async def test_without_a_login_the_tool_says_so(doubles, monkeypatch):
    monkeypatch.delenv("FLY_API_TOKEN")
    with pytest.raises(PermanentError, match="No access token"):
        await locate("fly://hotel", Flags).read(["A"], LONG)


async def test_a_missing_tool_is_named_with_a_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermanentError, match="install flyctl"):
        await locate("fly://hotel", Flags).read(["A"], LONG)


async def test_a_slow_answer_is_temporary_and_a_slow_change_is_unknown(doubles):
    state = doubles.state("systemctl")
    state["units"]["hotel.service"]["slow"] = 30
    doubles.change("systemctl", state)
    with pytest.raises(process.TimedOut):
        await locate("systemd://hotel", Services).restart(timedelta(seconds=0.5))
    with pytest.raises(TemporaryError):
        await locate("fly://hotel", Flags).read(["A"], timedelta(milliseconds=1))


@pytest.mark.parametrize(("measure", "size"), [("count", 3), ("memory", 512)])
async def test_fly_scales_its_process_group(doubles, measure, size):
    place = locate("fly://hotel", Scalable)
    await place.resize(measure, size, LONG)
    assert await place.size(measure, LONG) == size


async def test_a_process_group_that_is_not_there_is_said(doubles):
    with pytest.raises(PermanentError, match="no process group 'worker'"):
        await locate("fly://hotel#worker", Scalable).size("count", LONG)


async def test_a_unit_that_is_not_there_is_said(doubles):
    with pytest.raises(PermanentError, match=r"no unit gone\.service"):
        await locate("systemd://gone", Services).observe(LONG)


async def test_compose_scales_by_the_files_that_its_containers_name(doubles):
    place = locate("compose://bookgen/worker", Scalable)
    await place.resize("count", 3, LONG)
    assert await place.size("count", LONG) == 3
    assert await locate("compose://bookgen/api", Scalable).size("count", LONG) == 1
    assert doubles.acts()[-1][4:8] == [
        "--project-directory",
        "/srv/bookgen",
        "--file",
        "/srv/bookgen/compose.yml",
    ]


async def test_a_compose_service_without_containers_is_said(doubles):
    with pytest.raises(PermanentError, match="no container of compose:bookgen/gone"):
        await locate("compose://bookgen/gone", Services).observe(LONG)


@pytest.mark.parametrize("locator", ["systemd://hotel", "compose://bookgen/worker"])
async def test_stop_start_and_restart_do_what_they_say(doubles, locator):
    place = locate(locator, Services)
    first = await place.observe(LONG)
    await place.stop(LONG)
    assert not (await place.observe(LONG)).up
    await place.start(LONG)
    second = await place.observe(LONG)
    await place.start(LONG)
    assert await place.observe(LONG) == second
    await place.restart(LONG)
    third = await place.observe(LONG)
    assert first.up
    assert third.up
    assert len({str(first.starts), str(second.starts), str(third.starts)}) == 3


@pytest.mark.parametrize(
    "argv",
    [
        ["flyctl", "secrets", "set", "A=1", "--app", "hotel"],
        ["flyctl", "secrets", "list", "--app", "hotel", "--yaml"],
        ["flyctl", "scale", "count", "app=3", "--app", "hotel"],
        ["systemctl", "restart", "--now", "hotel.service"],
        ["docker", "compose", "restart", "api", "--project-name", "bookgen"],
        ["docker", "inspect", "0" * 64],
    ],
)
async def test_the_doubles_refuse_what_the_tools_would_refuse(doubles, argv):
    assert (await process.run(argv, timeout=LONG, env={"FLY_API_TOKEN": "x"}, stdin=b"")).code != 0

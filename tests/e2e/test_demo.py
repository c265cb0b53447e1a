"""`stopgap demo`, as the first thing that anybody sees, and as what is left when it is interrupted."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import stopgap

pytestmark = pytest.mark.xdist_group("lab")

DEMO = [sys.executable, "-m", "stopgap", "demo"]


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a unix socket's."""
    with tempfile.TemporaryDirectory(prefix="sg-", dir="/tmp") as made:
        yield Path(made)


def belonging_to(directory: Path) -> list[int]:
    """Return the processes whose command line names the directory, or that work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text() + str((process / "cwd").readlink())
        except OSError:
            continue
        if str(directory) in words:
            found.append(int(process.name))
    return found


def gone(directory: Path, within: float = 20) -> bool:
    end = time.monotonic() + within
    while set(belonging_to(directory)) - {os.getpid()}:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("installed", [True, False], ids=["real", "understudy"])
def test_once_ends_well_tells_the_story_in_80_columns_and_leaves_nothing(
    short: Path, *, installed: bool
) -> None:
    environment = {"TMPDIR": str(short)} | ({} if installed else {"PATH": ""})
    done = stopgap("demo", "--once", environment=environment, within=110)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert ("not installed" in done.stdout) is not installed
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    story = [
        "PMSCircuitBreakerOpen FIRING" if installed else "posts PMSCircuitBreakerOpen",
        "opened",
        "PMS_TYPE=mock",
        "runs in mode mock",
        "mitigated",
        "alert_resolved",
        "nothing is taken back",
        "still recovering",
        "PMS           healthy",
        "revert_started",
        "PMS_TYPE=qloapps",
        "runs in mode qloapps",
        "closed          recovered",
        "All is as it was",
    ]
    at = 0
    for word in story:
        assert word in done.stdout[at:], f"{word!r} is missing or too early in:\n{done.stdout}"
        at = done.stdout.index(word, at)
    assert "probe_unhealthy recovered: pms/api/health" in done.stdout
    assert list(short.iterdir()) == []
    assert gone(short)


@pytest.fixture
def staying(short: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A demo whose files stay, in the middle of its story."""
    directory = short / "demo"
    with subprocess.Popen([*DEMO, "--keep", str(directory)], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            for line in demo.stdout:
                if "breaks" in line:
                    break
            yield demo, directory
        finally:
            demo.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_takes_everything_down(
    staying: tuple[subprocess.Popen[str], Path], number: signal.Signals
) -> None:
    demo, directory = staying
    demo.send_signal(number)
    demo.send_signal(number)  # an impatient second one changes nothing
    assert demo.wait(40) == 130
    assert gone(directory, within=1)
    last = json.loads((directory / "data" / "daemon.log").read_text().splitlines()[-1])
    assert last["event"] == "stopping", "the daemon was asked to end, not killed"


def test_a_killed_demo_leaves_no_process(staying: tuple[subprocess.Popen[str], Path]) -> None:
    demo, directory = staying
    demo.kill()
    demo.wait(10)
    assert gone(directory)


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = stopgap("demo", "--once", "--keep", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr

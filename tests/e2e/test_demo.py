"""`stopgap demo`, as the first thing that anybody sees, and as what is left when it is interrupted."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import stopgap

from stopgap.demo.daemon import Daemon
from stopgap.demo.lab import Lab
from stopgap.demo.show import run
from stopgap.demo.supervised import LabError

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


def check_story(text: str, *, real: bool) -> None:
    """See that everything was told, in this order."""
    story = [
        "PMSCircuitBreakerOpen FIRING" if real else "not installed: the demo plays their part",
        "to Stopgap's webhook",
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
        assert word in text[at:], f"{word!r} is missing or too early in:\n{text}"
        at = text.index(word, at)
    assert "probe_unhealthy recovered: pms/api/health" in text
    assert "\x1b" not in text
    told = (line for line in text.splitlines() if "STOPGAP_CONTROL_TOKEN_FILE" not in line)
    assert max(map(len, told)) <= 80


def test_once_ends_well_and_leaves_nothing(short: Path) -> None:
    done = stopgap("demo", "--once", environment={"TMPDIR": str(short)}, within=110)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    check_story(done.stdout, real=True)
    assert list(short.iterdir()) == []
    assert gone(short)


def test_it_plays_prometheus_where_there_is_none_and_stays_up_for_those_who_ask(short: Path) -> None:
    environment = os.environ | {"TMPDIR": str(short), "PATH": ""}
    text = ""
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        try:
            for line in demo.stdout:
                text += line
                if "is told here" in line:
                    break
            check_story(text, real=False)
            offered = [line.strip() for line in text.splitlines()]
            exported = dict(
                shlex.split(line)[1].split("=", 1) for line in offered if line.startswith("export ")
            )
            command = next(line for line in offered if line.endswith("stopgap incidents"))
            asked = subprocess.run(
                [*shlex.split(command), "--json"],
                env=os.environ | exported,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert [told["outcome"] for told in json.loads(asked.stdout)] == ["recovered"]
            demo.send_signal(signal.SIGINT)
            assert demo.wait(40) == 0
        finally:
            demo.kill()
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


def test_what_cannot_be_set_up_is_said_and_fails(short: Path) -> None:
    out = io.StringIO()
    assert run(once=True, keep=short / ("long" * 30), out=out) == 1
    assert "too long a path for a unix socket" in out.getvalue()


async def test_a_daemon_that_does_not_come_up_is_shown_with_the_end_of_its_log(short: Path) -> None:
    lab = Lab(short / "lab", monitoring=False)
    lab._lay_out()  # its files and ports; nothing of it runs
    with pytest.raises(LabError, match=r"ended at once:\n(.*\n)*.*rule_error.*nowhere"):
        await Daemon(lab, short / "data", rules=short / "nowhere").start()
    assert gone(short)

"""A child is run to its end or to its limit; its whole group goes, whatever it does to stay."""

import asyncio
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from stopgap import process

SECOND = timedelta(seconds=1)
LONG = timedelta(seconds=20)


def python(code: str, *args: str) -> list[str]:
    return [sys.executable, "-c", code, *args]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_exit_code_and_both_streams_come_back():
    done = await process.run(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), timeout=LONG
    )
    assert (done.code, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


async def test_a_signal_is_a_negative_code():
    assert (await process.run(python("import os; os.kill(os.getpid(), 9)"), timeout=LONG)).code == -9


async def test_stdin_reaches_the_child_and_ends():
    done = await process.run(
        python("import sys; print(len(sys.stdin.read()))"), stdin=b"x" * 300_000, timeout=LONG
    )
    assert done.stdout == b"300000\n"


DYING = """
import asyncio, os, sys
from datetime import timedelta
from stopgap import process

async def main():
    asyncio.get_running_loop().call_later(0.05, os._exit, 0)
    argv = [sys.executable, "-c", sys.argv[1], sys.argv[2], str(os.getpid())]
    await process.run(argv, stdin=b"x" * 300_000, timeout=timedelta(seconds=20))

asyncio.run(main())
"""

READS_LATE = """
import os, pathlib, sys, time
while os.getppid() == int(sys.argv[2]):
    time.sleep(0.01)
pathlib.Path(sys.argv[1] + ".new").write_text(str(len(sys.stdin.read())))
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


async def test_a_child_reads_all_of_its_stdin_though_we_die_right_after_its_start(tmp_path):
    seen = tmp_path / "seen"
    dying = await asyncio.create_subprocess_exec(*python(DYING, READS_LATE, str(seen)))
    assert await dying.wait() == 0
    async with asyncio.timeout(20):
        while not seen.exists():
            await asyncio.sleep(0.02)
    assert seen.read_text() == "300000"


async def test_an_open_file_is_read_by_the_child_itself(tmp_path):
    (tmp_path / "dump").write_bytes(b"x" * 300_000)
    with (tmp_path / "dump").open("rb") as file:
        done = await process.run(["wc", "-c"], stdin=file, timeout=LONG)
    assert done.stdout.strip() == b"300000"


async def test_a_child_that_ignores_its_stdin_is_no_error():
    assert (await process.run(["true"], stdin=b"x" * 300_000, timeout=LONG)).code == 0


async def test_without_stdin_the_child_reads_nothing():
    assert (await process.run(["cat"], timeout=LONG)).stdout == b""


async def test_arguments_never_meet_a_shell():
    assert (await process.run(["echo", "$(id); `id`", "|", "x"], timeout=LONG)).stdout == b"$(id); `id` | x\n"


async def test_our_own_secrets_are_not_in_its_environment(monkeypatch):
    monkeypatch.setenv("STOPGAP_WEBHOOK_TOKEN", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    seen = (await process.run(["env"], env={"MINE": "1"}, timeout=LONG)).stdout.decode()
    assert "hush" not in seen
    assert "MINE=1\n" in seen
    assert {line.split("=")[0] for line in seen.splitlines()} <= {*process.INHERITED, "MINE"}


@pytest.mark.parametrize("argv", [["/no/such/command"], ["/etc/passwd"], ["echo", "a\0b"], ["/"]])
async def test_what_cannot_start_is_not_found(argv):
    with pytest.raises(process.NotFound, match="cannot be run"):
        await process.run(argv, timeout=LONG)


async def test_a_missing_folder_is_not_found():
    with pytest.raises(process.NotFound):
        await process.run(["true"], cwd="/no/such/folder", timeout=LONG)


async def test_a_flood_is_drained_and_kept_as_head_and_tail():
    code = "import sys\nsys.stdout.write('head')\nfor _ in range(512): sys.stdout.write('x' * 65536)\nsys.stdout.write('tail')"
    done = await process.run(python(code), limit=1000, timeout=LONG)
    assert done.code == 0
    assert done.stdout.startswith(b"head")
    assert done.stdout.endswith(b"tail")
    assert b"33553440 bytes left out" in done.stdout  # 32 MiB + 8 bytes, of which 1000 are kept
    assert len(done.stdout) < 1100


async def test_at_the_limit_the_whole_group_dies_even_if_it_ignores_sigterm(tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "time.sleep(60)"
    )
    path = tmp_path / "pids"
    with pytest.raises(process.TimedOut, match="within 1 s"):
        await process.run(python(code, str(path)), timeout=SECOND)
    pids = [int(line) for line in path.read_text().split()]
    await asyncio.sleep(0.1)
    assert len(pids) == 2
    assert not any(map(alive, pids))


async def test_a_child_that_ends_on_sigterm_is_not_waited_for():
    started = time.monotonic()
    with pytest.raises(process.TimedOut):
        await process.run(["sleep", "60"], timeout=timedelta(seconds=0.2))
    assert time.monotonic() - started < process.GRACE_SECONDS


async def test_a_grandchild_that_keeps_the_pipes_does_not_hold_us():
    code = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(8); os._exit(0)\nprint('done')"
    started = time.monotonic()
    done = await process.run(python(code), timeout=LONG)
    assert done.code == 0
    assert done.stdout == b"done\n"
    assert time.monotonic() - started < 5


async def test_cancellation_kills_the_group_and_goes_on(tmp_path):
    path = tmp_path / "pids"
    code = (
        "import os, sys, time\nos.fork()\nopen(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\ntime.sleep(60)"
    )
    task = asyncio.create_task(process.run(python(code, str(path)), timeout=LONG))
    async with asyncio.timeout(10):
        while not path.exists() or len(path.read_text().split()) < 2:
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert not any(alive(int(pid)) for pid in path.read_text().split())


def test_a_complaint_is_one_short_line_without_secrets():
    done = process.Completed(1, b"", b"first\nbad value hunter2\x1b[31m\n" + b"x" * 280)
    assert "hunter2" not in done.complaint(["hunter2", ""])
    assert "\n" not in done.complaint()
    assert "\x1b" not in done.complaint()
    assert len(done.complaint()) <= 300


async def test_a_second_cancellation_kills_at_once_what_does_not_end(tmp_path):
    path = tmp_path / "pid"
    code = (
        "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()}\\n')\ntime.sleep(60)"
    )
    task = asyncio.create_task(process.run(python(code, str(path)), timeout=LONG))
    async with asyncio.timeout(10):
        while not path.exists() or not path.read_text().endswith("\n"):
            await asyncio.sleep(0.02)
    began = time.monotonic()
    task.cancel()
    await asyncio.wait([task], timeout=0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < process.GRACE_SECONDS
    await asyncio.sleep(0.1)
    assert not alive(int(path.read_text()))


def refused(pid: int) -> int:
    raise PermissionError(f"seccomp forbids pidfd_open of {pid}")


async def test_where_the_kernel_tells_nobody_of_an_end_it_is_waited_for_all_the_same(monkeypatch):
    monkeypatch.setattr(os, "pidfd_open", refused)
    done = await process.run(python("import sys; print('out'); sys.exit(3)"), timeout=LONG)
    assert (done.code, done.stdout) == (3, b"out\n")
    with pytest.raises(process.TimedOut):
        await process.run(["sleep", "60"], timeout=timedelta(seconds=0.2))


async def test_nothing_is_left_of_what_has_ended():
    await process.run(["true"], timeout=LONG)
    before = [*Path("/proc/self/fd").iterdir()]
    for _ in range(5):
        await process.run(["true"], timeout=LONG)
    with pytest.raises(process.NotFound):
        await process.run(["/no/such/program"], timeout=LONG)
    with pytest.raises(process.TimedOut):
        await process.run(["sleep", "60"], timeout=timedelta(seconds=0.1))
    await asyncio.sleep(0.1)
    assert len([*Path("/proc/self/fd").iterdir()]) == len(before)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() in {"true", "sleep"}]


async def test_no_descriptor_of_ours_reaches_the_child(tmp_path):
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        done = await process.run(["ls", "-l", "/proc/self/fd"], timeout=LONG)
    assert done.code == 0
    assert b"ours" not in done.stdout


async def test_whose_end_somebody_else_waited_for_has_not_succeeded(monkeypatch):
    def taken(pid: int, options: int) -> tuple[int, int]:
        os.waitid(os.P_PID, pid, os.WEXITED)
        raise ChildProcessError

    monkeypatch.setattr(os, "waitpid", taken)
    assert (await process.run(["true"], timeout=LONG)).code == 255


async def test_what_a_child_says_last_is_kept_whole():
    code = "import os; os.write(1, b'x' * 60000); os.write(2, b'y' * 60000)"
    for _ in range(5):
        done = await process.run(python(code), timeout=LONG, limit=200_000)
        assert (len(done.stdout), len(done.stderr)) == (60_000, 60_000)

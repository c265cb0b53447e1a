"""A process that is stopped in the middle of an act is ended by the kernel before the lease is over."""

import os
import signal
import subprocess
import sys
import time

from stopgap.store.deadline import CLOCK

SCRIPT = """
import os, signal, sys, time
from stopgap.store.deadline import CLOCK, Deadline
deadline = Deadline()
deadline.put_off(time.clock_gettime(CLOCK) + {seconds})
{then}
print("stops", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
print("went on", flush=True)
"""


def begin(seconds: float, then: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT.format(seconds=seconds, then=then)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "stops\n"
    return process


def test_a_stopped_process_is_ended_at_its_deadline_and_never_goes_on():
    process = begin(0.5)
    began = time.clock_gettime(CLOCK)
    assert process.wait(10) == -signal.SIGKILL
    assert time.clock_gettime(CLOCK) - began < 5
    assert process.communicate() == ("", None)


def test_a_deadline_that_is_past_already_counts_at_once():
    command = [sys.executable, "-c", SCRIPT.format(seconds=-1, then="")]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=10, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_a_deadline_that_was_put_off_lifted_or_given_back_ends_nobody():
    for then in ("deadline.put_off(time.clock_gettime(CLOCK) + 60)", "deadline.lift()", "deadline.close()"):
        process = begin(0.2, then)
        os.kill(process.pid, 0)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=10) == ("went on\n", None)
        assert process.returncode == 0


def test_a_system_without_such_timers_says_so_and_serves_all_the_same():
    script = """
import aiohttp.web, socket, sqlalchemy, sys, time
del time.CLOCK_BOOTTIME, socket.TCP_USER_TIMEOUT
sys.platform = "darwin"
from stopgap.front import _listening
from stopgap.store.tenure import Tenure, now
Tenure(5).close()
for each in _listening("127.0.0.1", 0):
    each.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, "no_deadline" in done.stdout) == (0, True), done.stderr

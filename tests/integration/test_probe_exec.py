"""The exec probe with real processes: each cell of its row in the table of verdicts."""

import sys
from datetime import timedelta

import pytest
from pydantic import SecretStr

from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.errors import ProbeError
from stopgap.probe import Verdict
from stopgap.probes.exec import Exec, ExecParams
from stopgap.prometheus import Prometheus

LONG, SHORT = timedelta(seconds=20), timedelta(milliseconds=200)


async def ask(*argv, timeout=LONG, **given):
    http = Http()
    probe = Exec(Context(http=http, prometheus=Prometheus(None, http.session), contacts=Contacts()))
    return await probe.ask(ExecParams(argv=argv, **given), timeout)


def python(code):
    return sys.executable, "-S", "-c", code


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (0, Verdict.HEALTHY),
        (1, Verdict.UNHEALTHY),
        (2, Verdict.UNHEALTHY),
        (3, Verdict.UNKNOWN),
        (127, Verdict.UNKNOWN),
        (255, Verdict.UNKNOWN),
    ],
)
async def test_the_exit_code_is_the_verdict(code, verdict):
    finding = await ask(*python(f"print('disk 97 %'); raise SystemExit({code})"))
    assert finding.verdict is verdict
    assert finding.why == f"exit {code}: disk 97 %"


async def test_a_command_that_a_signal_ended_is_unknown():
    finding = await ask(*python("import os; os.kill(os.getpid(), 9)"))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.why == "died by signal 9"


async def test_a_command_that_does_not_end_is_unknown():
    with pytest.raises(ProbeError, match=r"did not end within 0\.2 s"):
        await ask(*python("import time; time.sleep(60)"), timeout=SHORT)


async def test_a_command_that_is_not_there_is_unknown():
    with pytest.raises(ProbeError, match="cannot be run"):
        await ask("/nowhere/check")


async def test_a_secret_reaches_the_command_and_not_the_reason():
    code = "import os; print(os.environ['KEY'] == 'hunter2', os.environ['KEY'])"
    finding = await ask(*python(code), env={"KEY": SecretStr("hunter2")})
    assert finding.why == "exit 0: True ***"


async def test_there_is_no_shell():
    finding = await ask(*python("import sys; print(sys.argv[1])"), "$(id); `id` | x")
    assert finding.why == "exit 0: $(id); `id` | x"

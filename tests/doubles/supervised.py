"""A real supervisord of our own, with one program that sleeps, in a folder of its own."""

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CONFIGURATION = """\
[unix_http_server]
file={folder}/s.sock
{login}
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
nodaemon=true
user={user}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[program:hotel]
command={python} -c "import time; time.sleep(3600)"
startsecs=0
stopwaitsecs=2
stdout_logfile=NONE
stderr_logfile=NONE
"""


@asynccontextmanager
async def supervisord(folder: Path, login: str = "") -> AsyncIterator[str]:
    """Run it, and give the locator of its program."""
    text = CONFIGURATION.format(folder=folder, login=login, python=sys.executable, user=getpass.getuser())
    (folder / "s.conf").write_text(text)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(folder / "s.conf"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(15):
            while not (folder / "s.sock").exists():
                assert process.returncode is None, (folder / "supervisord.log").read_text()
                await asyncio.sleep(0.05)
        yield f"supervisor://{folder}/s.sock#hotel"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.wait(), 15)

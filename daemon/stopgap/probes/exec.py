"""Exec: the probe that asks a command of ours."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr, StringConstraints

from stopgap import process
from stopgap.action import Params, Text, reveal
from stopgap.context import Context
from stopgap.errors import ProbeError
from stopgap.probe import Finding
from stopgap.probes.answers import healthy, one_line, unhealthy, unknown

# As Nagios' plugins say warning and critical; their 3 is unknown, and so is everything else.
_UNHEALTHY = (1, 2)
_OUTPUT = 16 * 1024  # bytes kept


class ExecParams(Params):
    """`argv`: the command and its arguments, no shell; `env`: added to the few inherited variables."""

    scalar: ClassVar[str] = ""

    argv: Annotated[
        tuple[str, ...],
        Field(min_length=1, max_length=200, description="The command and its arguments; there is no shell."),
    ]
    env: Annotated[
        Mapping[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Text],
        Field(description="Variables beside PATH, HOME, LANG and TZ; may hold secrets."),
    ] = Field(default_factory=dict)


class Exec:
    """Runs a command. Exit code 0 is healthy, 1 and 2 are unhealthy, everything else is unknown.

    Unknown are other codes, death by a signal, no end in time (the whole process group is killed) and a command that cannot be
    started. There is no shell; secrets go into `env`, never into `argv`.

    ```yaml
    - {exec: {argv: [/usr/lib/nagios/plugins/check_disk, -w, 10%, -p, /var]}}
    - {exec: {argv: [/usr/local/bin/replica-lag, --max, 5s], env: {PGUSER: probe}}, timeout: 10s}
    ```
    """

    name: ClassVar[str] = "exec"
    after: ClassVar[float] = 0.0
    params: type[ExecParams] = ExecParams

    def __init__(self, context: Context) -> None:
        """Take nothing from the context: a process is enough."""

    def describe(self, params: ExecParams) -> str:
        """Show the command and the names of its variables."""
        names = "".join(f" {name}=…" for name in params.env)
        return one_line(f"exec{names} {' '.join(params.argv)}")

    async def ask(self, params: ExecParams, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Run once. Raises ProbeError when the command cannot be started or does not end."""
        env = {name: reveal(value) for name, value in params.env.items()}
        try:
            done = await process.run(params.argv, env=env, timeout=timeout, limit=_OUTPUT)
        except (process.NotFound, process.TimedOut) as error:
            raise ProbeError(str(error)) from None
        secrets = [reveal(value) for value in params.env.values() if isinstance(value, SecretStr)]
        said = done.complaint(secrets, 200)
        why = f"exit {done.code}" if done.code >= 0 else f"died by signal {-done.code}"
        why = f"{why}: {said}" if said else why
        if done.code == 0:
            return healthy(why)
        return unhealthy(why) if done.code in _UNHEALTHY else unknown(why)

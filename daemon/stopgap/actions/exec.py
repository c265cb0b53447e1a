# ruff: noqa: ARG002 - the port's signatures
"""Exec: a command of ours does the step, another one takes it back."""

import asyncio
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from stopgap import process
from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled, Text, reveal
from stopgap.actions import observed
from stopgap.context import Context
from stopgap.errors import PermanentError, TemporaryError

_OUTPUT = 16 * 1024  # bytes kept of each stream

Argv = Annotated[tuple[str, ...], Field(min_length=1, max_length=200)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class ExecParams(Params):
    """The command, what it gets, and the commands that see and take back what it does."""

    argv: Annotated[Argv, Field(description="The command and its arguments; there is no shell.")]
    env: Annotated[
        Mapping[Variable, Text],
        Field(description="Variables beside PATH, HOME, LANG and TZ; may hold secrets."),
    ] = Field(default_factory=dict)
    stdin: Annotated[Text | None, Field(description="What the command reads; may hold secrets.")] = None
    revert: Annotated[
        Argv | None, Field(description="The command that takes it back; reads what `observe` printed.")
    ] = None
    observe: Annotated[Argv | None, Field(description="The command that prints what `argv` changes.")] = None
    idempotent: Annotated[
        bool,
        Field(description="Whether a second time does no harm when it is unknown what came of the first."),
    ] = False


class Exec(Action[ExecParams]):
    """Run a command: an argument list, never a shell. Exit code 0 is success; any other is failure; no end in time is unknown.

    The command sees PATH, HOME, LANG, TZ, `env` and STOPGAP_IDEMPOTENCY_KEY. `observe` prints what `argv` changes: its output is
    kept before the step, tells afterwards whether the step was done or somebody else changed it, and is the stdin of `revert`.
    At the time limit the whole process group is killed. Secrets go into `env` or `stdin`.

    After the daemon was killed in the middle of it, what `observe` prints tells whether the step was done; without `observe` only
    an `idempotent` one is run again, and any other is handed over. A command that a killed daemon left may still run then: a
    systemd unit (`KillMode=mixed`, as in deploy/) or a container ends it with the daemon.

    ```yaml
    exec:
      argv: [/usr/local/bin/queue-limit, set, "50"]
      observe: [/usr/local/bin/queue-limit, get]
      revert: [/usr/local/bin/queue-limit, restore]   # reads on stdin what `observe` printed
      env: {QUEUE: guests}
    ```
    """

    name: ClassVar[str] = "exec"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = ExecParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a process is enough."""

    def describe(self, params: ExecParams) -> str:
        """Show the command and the names of its variables."""
        return f"run {''.join(f'{name}=… ' for name in params.env)}{_line(params.argv)}"

    def idempotent(self, params: ExecParams) -> bool:
        """Tell what the rule says: only its author knows."""
        return params.idempotent

    def reverts(self, params: ExecParams) -> bool:
        """Tell whether the rule has a command that takes back."""
        return params.revert is not None

    def resource(self, params: ExecParams) -> tuple[str, ...]:
        """Name the command; a line that cannot be shown whole by its digest too, for no other command must have its name."""
        line, whole = _line(params.argv), shlex.join(params.argv)
        digest = "" if line == whole else f" #{hashlib.sha256(whole.encode()).hexdigest()[:16]}"
        return (f"exec:{line}{digest}",)

    def undo_by_hand(self, params: ExecParams, before: Json) -> str:
        """Show the command that takes back."""
        if params.revert is None:
            return "nothing"
        return f"run {_line(params.revert)}" + (" with the kept output of observe on stdin" if before else "")

    def observes(self, params: ExecParams) -> bool:
        """Tell whether the rule says how to see what it changes."""
        return params.observe is not None

    async def observe(self, params: ExecParams, moment: Moment) -> Json:
        """Run `observe` and keep what it prints."""
        if params.observe is None:
            return None
        try:
            done = await self._run(params, params.observe, moment, None)
        except process.TimedOut as error:
            raise TemporaryError(str(error)) from None
        return {"stdout": done.stdout.decode(errors="replace")}

    async def rehearse(self, params: ExecParams, moment: Moment) -> None:
        """Find the programs of all three commands, and run `observe`."""
        env = {name: reveal(value) for name, value in params.env.items()}
        for argv in filter(None, (params.argv, params.revert, params.observe)):
            try:
                await asyncio.to_thread(process.find, argv[0], env)
            except process.NotFound as error:
                raise PermanentError(str(error)) from None
        await self.observe(params, moment)

    def settled(self, params: ExecParams, before: Json, now: Json) -> Settled:
        """Compare what `observe` printed."""
        return observed.settled(before, now)

    def settled_revert(self, params: ExecParams, before: Json, now: Json) -> Settled:
        """Compare what `observe` printed."""
        return observed.settled_revert(before, now)

    async def run(self, params: ExecParams, before: Json, moment: Moment) -> Json:
        """Run the command."""
        await self._run(params, params.argv, moment, params.stdin)
        try:
            return {"after": await self.observe(params, moment)}
        except (PermanentError, TemporaryError):  # the step is done all the same
            return {"after": None}

    async def revert(self, params: ExecParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Run the command that takes back, unless the old state is there or somebody made another one."""
        if params.revert is None:
            return Reverted(Restored.NOTHING)
        if settled := observed.drift(before, receipt, await self.observe(params, moment)):
            return settled
        await self._run(params, params.revert, moment, (before or {}).get("stdout"))
        return Reverted(Restored.REVERTED, f"ran {_line(params.revert)}")

    async def _run(
        self, params: ExecParams, argv: Sequence[str], moment: Moment, stdin: Text | None
    ) -> process.Completed:
        env = {name: reveal(value) for name, value in params.env.items()}
        given = None if stdin is None else reveal(stdin)
        try:
            done = await process.run(
                argv,
                timeout=moment.timeout,
                stdin=None if given is None else given.encode(),
                env=env | {"STOPGAP_IDEMPOTENCY_KEY": moment.key},
                limit=_OUTPUT,
            )
        except process.NotFound as error:
            raise PermanentError(str(error)) from None
        if done.code != 0:
            said = done.complaint([*env.values(), given or ""])
            raise PermanentError(f"{argv[0][:200]} exited with {done.code}: {said}")
        return done


def _line(argv: Sequence[str]) -> str:
    line = shlex.join(argv)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= 200 else line[:199] + "…"  # noqa: PLR2004 - one line of a page

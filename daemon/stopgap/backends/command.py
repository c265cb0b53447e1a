"""Command: a tool that speaks for a system (flyctl, systemctl, docker), asked or told by argv."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from stopgap import process
from stopgap.errors import PermanentError, TemporaryError


@dataclass(frozen=True, slots=True)
class Command:
    """One tool: its leading arguments, how to get it, and the variables of our environment that it needs (its own login)."""

    argv: tuple[str, ...]
    cure: str
    inherits: tuple[str, ...] = ()

    async def ask(self, *args: str, within: timedelta, limit: int = 4 * 1024 * 1024) -> str:
        """Run a command that changes nothing, and return its answer.

        Raises TemporaryError when it takes too long and PermanentError when it fails.
        """
        try:
            done = await self._run(args, within, None, limit)
        except process.TimedOut as error:
            raise TemporaryError(str(error)) from None
        self._insist(args, done)
        return done.stdout.decode(errors="replace")

    async def tell(
        self, *args: str, within: timedelta, stdin: str | None = None, secrets: Collection[str] = ()
    ) -> None:
        """Run a command that changes something.

        Raises PermanentError when it says that it failed, and process.TimedOut, an unknown outcome, when it was killed.
        """
        done = await self._run(args, within, None if stdin is None else stdin.encode(), process.LIMIT)
        self._insist(args, done, secrets)

    async def _run(
        self, args: Sequence[str], within: timedelta, stdin: bytes | None, limit: int
    ) -> process.Completed:
        env = {name: os.environ[name] for name in self.inherits if name in os.environ}
        try:
            return await process.run([*self.argv, *args], timeout=within, stdin=stdin, env=env, limit=limit)
        except process.NotFound as error:
            raise PermanentError(f"{error}: {self.cure}") from None

    def _insist(self, args: Sequence[str], done: process.Completed, secrets: Collection[str] = ()) -> None:
        if done.code != 0:
            said = done.complaint(secrets)
            raise PermanentError(f"{' '.join([*self.argv, *args])[:200]} exited with {done.code}: {said}")


def parsed(text: str, what: str) -> Any:
    """Parse a tool's JSON. Raises PermanentError that names the tool's answer, not its content."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise PermanentError(f"{what} did not answer with JSON: its version may be too old") from None

"""Daemon: a real `stopgap serve` as a child process that looks after a lab."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import aiohttp

from stopgap.demo.lab import Lab, until
from stopgap.demo.supervised import LabError, leash

PACK = "agente-hotel"
_UP_WITHIN = 40.0
_DOWN_WITHIN = 40.0  # seconds: it drains first
_PATIENCE = aiohttp.ClientTimeout(total=10)


class Daemon:
    """One daemon with its own directory `data`, which outlives it: the same directory may be served again.

    An asynchronous context manager. It goes by the pack's vars of the lab, and by no STOPGAP_ variable of ours but those given.
    """

    def __init__(
        self, lab: Lab, data: Path, *, rules: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.lab, self.data, self.rules = lab, data, rules or lab.rules
        self.url = lab.url("daemon")
        self.log = data / "daemon.log"
        self._environment = environment or {}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- its life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it, and return when it takes notifications. Raises LabError with the end of its log."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        variables = self.data / "vars.yaml"
        # other packs have vars of the same names
        own = {f"{PACK}/{name}": value for name, value in self.lab.vars.items()}
        variables.write_text(json.dumps(own), encoding="utf-8")  # JSON is YAML
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*leash(), sys.executable, "-m", "stopgap", "serve"),
                *("--rules", str(self.rules), "--data", str(self.data), "--vars", str(variables)),
                *("--listen", self.lab.listen, "--prometheus", self.lab.prometheus_url),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._variables(),
                start_new_session=True,  # Ctrl-C is for us; we stop it in our own order
            )
        self._session = aiohttp.ClientSession(timeout=_PATIENCE)
        try:
            await self._await_ready()
        except BaseException:  # whatever ended the start, a cancellation too
            await self.stop()
            raise

    async def _await_ready(self) -> None:
        if not await until(self._ready, _UP_WITHIN):
            raise LabError(f"the daemon did not come up:\n{self.tail()}")

    def _variables(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("STOPGAP_")}
        return own | {"STOPGAP_WEBHOOK_TOKEN_FILE": str(self.lab.token_file)} | dict(self._environment)

    @property
    def pid(self) -> int | None:
        """Return its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def stop(self) -> int | None:
        """Stop it as systemd would, with SIGTERM, then SIGKILL; returns its exit code. What it holds stays held."""
        process, self._process = self._process, None
        if process is None:
            return None
        await self._session.close()
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _DOWN_WITHIN)
        finally:  # too slow, or we are cancelled ourselves: it must not outlive us
            if process.returncode is None:
                process.kill()
        return await process.wait()

    def tail(self, lines: int = 8) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def token_file(self) -> Path:
        """Return the file of the control token, which the daemon makes."""
        return self.data / "control.token"

    async def ask(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        """Ask its API with the control token. Raises LabError."""
        if self.pid is None:
            raise LabError(f"the daemon ended:\n{self.tail()}")
        headers = {"Authorization": f"Bearer {self.token_file.read_text(encoding='utf-8').strip()}"}
        try:
            async with self._session.request(method, self.url + path, json=body, headers=headers) as answer:
                told = json.loads(await answer.text())
                if not answer.ok:
                    raise LabError(f"{method} {path}: {answer.status} {told.get('detail', '')}")
                return told
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise LabError(f"{method} {path}: {str(error) or type(error).__name__}") from error

    async def incidents(self) -> list[dict[str, Any]]:
        """Return all incidents with their timelines, oldest first."""
        rows = (await self.ask("/api/v1/incidents"))["incidents"]
        return [await self.ask(f"/api/v1/incidents/{row['id']}") for row in reversed(rows)]

    async def metrics(self) -> str:
        """Return what `/metrics` says."""
        async with self._session.get(f"{self.url}/metrics") as answer:
            return await answer.text()

    async def _ready(self) -> bool:
        if self.pid is None:
            raise LabError(f"the daemon ended at once:\n{self.tail()}")
        try:
            async with self._session.get(f"{self.url}/-/ready") as answer:
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

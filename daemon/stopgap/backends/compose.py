"""Compose: a service of a Docker Compose project, by `docker compose`. The project's files are asked of its own containers."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from stopgap.backends.capability import Running, Scalable, Services
from stopgap.backends.command import Command, parsed
from stopgap.backends.locator import Locator
from stopgap.errors import PermanentError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ID = re.compile(r"[0-9a-f]{12,64}")
_LABEL = "com.docker.compose."
_LOGIN = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_DOCKER = Command(("docker",), "install docker with the compose plugin", _LOGIN)


class Compose(Services, Scalable):
    """`compose://project/service`."""

    schemes = ("compose",)
    example = "compose://my-project/api"
    measures = ("count",)

    def __init__(self, locator: Locator) -> None:
        locator.only("authority", "path")
        service = locator.path[1:]
        if not _NAME.fullmatch(locator.authority):
            raise ValueError(f"{locator.authority!r} is not the name of a Compose project")
        if not _SERVICE.fullmatch(service):
            raise ValueError(f"{service!r} is not the name of a Compose service")
        self._project, self._service = locator.authority, service

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"compose:{self._project}/{self._service}"

    async def observe(self, within: timedelta) -> Running:
        """See the service's containers and when each was started."""
        containers = await self._containers(within)
        states = {str(container.get("Id", "")): container.get("State") or {} for container in containers}
        starts = {
            key: f"{state.get('Pid')}@{state.get('StartedAt')}"
            for key, state in states.items()
            if state.get("Running")
        }
        return Running(bool(starts) and len(starts) == len(states), starts)

    async def restart(self, within: timedelta) -> None:
        """Restart the service's containers."""
        await self._compose("restart", "--no-deps", self._service, within=within)

    async def start(self, within: timedelta) -> None:
        """Start the service's containers."""
        await self._compose("start", self._service, within=within)

    async def stop(self, within: timedelta) -> None:
        """Stop the service's containers."""
        await self._compose("stop", self._service, within=within)

    async def size(self, measure: str, within: timedelta) -> int:  # noqa: ARG002 - there is one measure
        """Count the containers that run."""
        return _running(await self._containers(within))

    async def resize(self, measure: str, size: int, within: timedelta) -> None:  # noqa: ARG002 - there is one measure
        """Set the number of containers, leaving those that run, and other services, as they are."""
        folder, files = _sources((await self._containers(within))[0], self.name)
        where = ["--project-directory", folder, *(part for file in files for part in ("--file", file))]
        scale = [
            "--detach",
            "--no-recreate",
            "--no-deps",
            "--scale",
            f"{self._service}={size}",
            self._service,
        ]
        await self._compose("up", *scale, within=within, where=where)

    async def try_resizing(self, measure: str, within: timedelta) -> int:  # noqa: ARG002 - there is one measure
        """Count the containers that run, and see that the files that they come from can be read: `resize` needs them."""
        containers = await self._containers(within)
        for file in _sources(containers[0], self.name)[1]:
            await asyncio.to_thread(_read, file)
        return _running(containers)

    async def _compose(
        self, verb: str, *args: str, within: timedelta, where: list[str] | None = None
    ) -> None:
        await _DOCKER.tell(
            "compose", "--project-name", self._project, *(where or []), verb, *args, within=within
        )

    async def _containers(self, within: timedelta) -> list[dict[str, Any]]:
        """Inspect the service's containers. Raises PermanentError when there are none."""
        wanted = (
            f"label={_LABEL}project={self._project}",
            f"label={_LABEL}service={self._service}",
            f"label={_LABEL}oneoff=False",
        )
        filters = [part for one in wanted for part in ("--filter", one)]
        text = await _DOCKER.ask("ps", "--all", "--quiet", "--no-trunc", *filters, within=within)
        ids = text.split()
        if not ids or not all(map(_ID.fullmatch, ids)):
            raise PermanentError(f"there is no container of {self.name}")
        seen = parsed(
            await _DOCKER.ask("inspect", "--type", "container", *ids, within=within), "docker inspect"
        )
        return [one for one in seen if isinstance(one, dict)]


def _running(containers: list[dict[str, Any]]) -> int:
    return sum(bool((one.get("State") or {}).get("Running")) for one in containers)


def _sources(container: dict[str, Any], name: str) -> tuple[str, list[str]]:
    """Return the project's folder and its files, as a container of it remembers them. Raises PermanentError."""
    labels = container.get("Config", {}).get("Labels") or {}
    files = [part for part in str(labels.get(_LABEL + "project.config_files", "")).split(",") if part]
    folder = str(labels.get(_LABEL + "project.working_dir", ""))
    if not files or not folder:
        raise PermanentError(f"the containers of {name} do not say which Compose files they come from")
    return folder, files


def _read(file: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise PermanentError(
            f"cannot read {file}, of which the containers were made: {error.strerror}"
        ) from None

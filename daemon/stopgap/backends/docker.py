"""Docker: one container, by its name, over the Docker Engine API.

Where the engine is, DOCKER_HOST says, as for `docker` itself: `unix:///var/run/docker.sock` (default), or `tcp://host:2376`; with
DOCKER_TLS_VERIFY by TLS, with the ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH. A container is stopped within its own time to
stop (`--stop-timeout`). One of a Compose project is better named by `compose://project/service`.

To try it by hand: `docker run -d --name stopgap-try nginx:alpine`; `stopgap check --live` on a rule with `restart: {at:
docker://stopgap-try}`; a drill of it; then `docker inspect -f '{{.State.StartedAt}}' stopgap-try` has changed.
"""

# No client library: it takes five requests of an API that has long been stable, over aiohttp, which is here anyway. aiodocker is
# well kept, but what it adds (images, streams, registries) is not asked for, and here an unknown outcome is no refusal.

import re
from datetime import timedelta
from typing import Any

from stopgap.backends.capability import Running, Services
from stopgap.backends.docker_api import ask, tell
from stopgap.backends.locator import Locator
from stopgap.errors import PermanentError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,127}")
_ID = re.compile(r"[0-9a-f]{64}")


class Docker(Services):
    """`docker://container`: its name, not its id, which another container may have tomorrow."""

    schemes = ("docker",)
    example = "docker://my-app"

    def __init__(self, locator: Locator) -> None:
        locator.only("authority")
        self._container = locator.authority
        if not _NAME.fullmatch(self._container):
            raise ValueError(f"{self._container!r} is not the name of a container")

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"docker:{self._container}"

    async def observe(self, within: timedelta) -> Running:
        """See which container has the name, and when it was started; one that is paused or restarts all the time is not up."""
        seen = await self._inspect(within)
        state = seen.get("State") or {}
        if not state.get("Running"):
            return Running(up=False, starts={})
        up = not (state.get("Paused") or state.get("Restarting"))
        mark = f"{_identified(seen)[:12]}:{state.get('Pid')}@{state.get('StartedAt')}"
        return Running(up, {self._container: mark})

    async def restart(self, within: timedelta) -> None:
        """Restart the container; the engine answers when it has been started."""
        await self._tell("restart", within)

    async def start(self, within: timedelta) -> None:
        """Start the container."""
        await self._tell("start", within)

    async def stop(self, within: timedelta) -> None:
        """Stop the container. A restart policy leaves it stopped until the engine itself is started anew."""
        await self._tell("stop", within)

    async def _tell(self, verb: str, within: timedelta) -> None:
        container = _identified(await self._inspect(within))  # the one that has the name now, and no other
        await tell(f"/containers/{container}/{verb}", f"{verb} {self.name}", within)

    async def _inspect(self, within: timedelta) -> dict[str, Any]:
        """Read the container. Raises PermanentError also where the name is only the beginning of somebody's id."""
        seen = await ask(f"/containers/{self._container}/json", f"inspect {self.name}", within)
        if seen.get("Name") != f"/{self._container}":
            raise PermanentError(f"there is no container with the name {self._container}")
        return seen


def _identified(container: dict[str, Any]) -> str:
    """Return the id, which is put into paths. Raises PermanentError."""
    found = str(container.get("Id", ""))
    if not _ID.fullmatch(found):
        raise PermanentError("the Docker engine answered with a container that has no id")
    return found

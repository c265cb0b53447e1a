"""systemd: a unit of this machine, by `systemctl`. A polkit rule for the named units lets a daemon that is not root act."""

import re
from datetime import timedelta

from stopgap.backends.capability import Running, Services
from stopgap.backends.command import Command
from stopgap.backends.locator import Locator
from stopgap.errors import PermanentError

_UNIT = re.compile(r"[A-Za-z0-9:_][A-Za-z0-9:_.@\\-]{0,250}")
_TYPES = (".service", ".socket", ".timer", ".target", ".path", ".mount", ".scope", ".slice")
_SYSTEMCTL = Command(
    ("systemctl", "--no-ask-password", "--no-pager"), "systemd:// needs a machine that runs systemd"
)


def unit_of(text: str) -> str:
    """Return the whole name of a unit, with its type. Raises ValueError for what is none."""
    if not _UNIT.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a systemd unit")
    return text if text.endswith(_TYPES) else f"{text}.service"


class Systemd(Services):
    """`systemd://unit`; without a type it is a service."""

    schemes = ("systemd",)
    example = "systemd://my-app.service"

    def __init__(self, locator: Locator) -> None:
        locator.only("authority")
        self._systemctl, self._unit = _SYSTEMCTL, unit_of(locator.authority)

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"systemd:{self._unit}"

    async def observe(self, within: timedelta) -> Running:
        """Ask for the state and for the invocation, which is another one after each start (systemd.exec(5), INVOCATION_ID)."""
        wanted = "LoadState,ActiveState,InvocationID,ActiveEnterTimestampMonotonic"
        text = await self._systemctl.ask("show", f"--property={wanted}", "--", self._unit, within=within)
        shown = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if shown.get("LoadState") != "loaded":
            raise PermanentError(
                f"systemd has no unit {self._unit} that is loaded: it is {shown.get('LoadState', 'unknown')}"
            )
        up = shown.get("ActiveState") in {"active", "reloading"}
        mark = f"{shown.get('InvocationID', '')}@{shown.get('ActiveEnterTimestampMonotonic', '')}"
        return Running(up, {self._unit: mark} if up else {})

    async def restart(self, within: timedelta) -> None:
        """Restart the unit; systemctl answers when the job is over."""
        await self._systemctl.tell("restart", "--", self._unit, within=within)

    async def start(self, within: timedelta) -> None:
        """Start the unit."""
        await self._systemctl.tell("start", "--", self._unit, within=within)

    async def stop(self, within: timedelta) -> None:
        """Stop the unit."""
        await self._systemctl.tell("stop", "--", self._unit, within=within)

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


class Systemd(Services):
    """`systemd://unit`; without a type it is a service."""

    schemes = ("systemd",)
    example = "systemd://my-app.service"

    def __init__(self, locator: Locator) -> None:
        locator.only("authority")
        if not _UNIT.fullmatch(locator.authority):
            raise ValueError(f"{locator.authority!r} is not the name of a systemd unit")
        typed = locator.authority.endswith(_TYPES)
        self._unit = locator.authority if typed else f"{locator.authority}.service"

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"systemd:{self._unit}"

    async def observe(self, within: timedelta) -> Running:
        """Ask for the state and for the invocation, which is another one after each start (systemd.exec(5), INVOCATION_ID)."""
        wanted = "LoadState,ActiveState,InvocationID,ActiveEnterTimestampMonotonic"
        text = await _SYSTEMCTL.ask("show", f"--property={wanted}", "--", self._unit, within=within)
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
        await _SYSTEMCTL.tell("restart", "--", self._unit, within=within)

    async def start(self, within: timedelta) -> None:
        """Start the unit."""
        await _SYSTEMCTL.tell("start", "--", self._unit, within=within)

    async def stop(self, within: timedelta) -> None:
        """Stop the unit."""
        await _SYSTEMCTL.tell("stop", "--", self._unit, within=within)

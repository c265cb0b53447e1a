"""Fly: an app on Fly.io, by `flyctl` with the login of its own environment (FLY_API_TOKEN).

Flags are the app's secrets. Fly shows only digests of them, so taking back needs the value to go back to. Values go in on stdin.
They are staged, which changes no machine: `restart` deploys them (`flyctl secrets deploy` restarts each machine in turn with the
newest secrets). So the step `activate: restart` makes a flag effective here as everywhere.
"""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from stopgap.backends.capability import (
    Entry,
    Flags,
    Plan,
    Restartable,
    Running,
    Scalable,
    Version,
    Versioned,
)
from stopgap.backends.command import Command, parsed
from stopgap.backends.locator import Locator
from stopgap.errors import ActionError, PermanentError, StopgapError

_APP = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RELEASE = re.compile(r"v?[0-9]{1,9}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLYCTL = Command(
    ("flyctl",),
    "install flyctl and set FLY_API_TOKEN",
    ("FLY_API_TOKEN", "FLY_ACCESS_TOKEN", "FLY_API_HOSTNAME", "FLY_CONFIG_DIR"),
)


class Halfway(StopgapError):  # noqa: N818 - it is not known to be an error
    """A deployment was begun and failed: which machines have it is not known."""


class Fly(Flags, Restartable, Scalable, Versioned):
    """`fly://app`, or `fly://app#group` for one process group (to scale)."""

    schemes = ("fly",)
    example = "fly://my-app"
    legible = False
    measures = ("count", "memory")
    previous = "previous"

    def __init__(self, locator: Locator) -> None:
        locator.only("authority", "fragment?")
        if not _APP.fullmatch(locator.authority):
            raise ValueError(f"{locator.authority!r} is not the name of a Fly app")
        if not _GROUP.fullmatch(locator.fragment or "app"):
            raise ValueError(f"{locator.fragment!r} is not the name of a Fly process group")
        self._app, self._group = locator.authority, locator.fragment or "app"

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"fly:{self._app}" + (f"#{self._group}" if self._group != "app" else "")

    async def read(self, keys: Collection[str], within: timedelta) -> dict[str, Entry]:
        """Read the digests of secrets."""
        listed = await self._list("secrets", "list", "--app", self._app, "--json", within=within)
        digests = {_field(row, "name"): _field(row, "digest") for row in listed}
        return {key: Entry(digests.get(key)) for key in keys}

    async def change(self, keys: Collection[str], plan: Plan, within: timedelta) -> dict[str, Entry]:
        """Stage secrets in one import, and removals in one more. `plan` sees digests and answers with values."""
        changes = plan(await self.read(keys, within))
        lines = [
            f"{key}={_quoted(key, entry.value)}\n"
            for key, entry in changes.items()
            if entry.value is not None
        ]
        gone = [_checked(key) for key, entry in changes.items() if entry.value is None]
        if lines:
            secrets = [entry.value for entry in changes.values() if entry.value]
            stdin = "".join(lines)
            await _FLYCTL.tell(
                "secrets",
                "import",
                "--app",
                self._app,
                "--stage",
                within=within,
                stdin=stdin,
                secrets=secrets,
            )
        if gone:
            await _FLYCTL.tell("secrets", "unset", "--app", self._app, "--stage", *gone, within=within)
        return await self.read(keys, within)

    async def try_writing(self, writings: Collection[Mapping[str, str]], within: timedelta) -> None:
        """See that flyctl shows the app's secrets and can hold the values. Whether it may change them, it does not tell."""
        for settings in writings:
            for key, value in settings.items():
                _quoted(key, value)
        await self.read((), within)

    async def observe(self, within: timedelta) -> Running:
        """List the machines with the last start of each."""
        machines = await self._list("machine", "list", "--app", self._app, "--json", within=within)
        up = [machine for machine in machines if machine.get("state") == "started"]
        return Running(bool(up), {str(machine.get("id")): _started(machine) for machine in up})

    async def restart(self, within: timedelta) -> None:
        """Restart each machine in turn, with the newest secrets; health is the probes' business."""
        await _FLYCTL.tell("secrets", "deploy", "--app", self._app, "--detach", within=within)

    async def size(self, measure: str, within: timedelta) -> int:
        """Read the number of machines of the group, or their memory in MiB."""
        groups = await self._list("scale", "show", "--app", self._app, "--json", within=within)
        for group in groups:
            if _field(group, "process") == self._group:
                return int(_field(group, measure) or 0)
        raise PermanentError(f"the Fly app {self._app} has no process group {self._group!r} with machines")

    async def resize(self, measure: str, size: int, within: timedelta) -> None:
        """Set the number of machines of the group, or their memory in MiB."""
        args: tuple[str, ...]
        if measure == "count":
            args = ("scale", "count", f"{self._group}={size}", "--app", self._app, "--yes")
        else:
            args = ("scale", "memory", str(size), "--app", self._app, "--process-group", self._group)
        await _FLYCTL.tell(*args, within=within)

    def check(self, to: str) -> None:
        """Take `previous`, a release (`v41`) or an image."""
        if to != self.previous and not _IMAGE.fullmatch(to):
            raise ValueError(f"{to[:100]!r} is neither a release, such as v41, nor an image")

    async def current(self, within: timedelta) -> Version:
        """Read the image of the newest release that is complete."""
        return Version((await self._images(within))[0][1])

    async def find(self, to: str, within: timedelta) -> str:
        """Return the image of a release; the previous one is the newest that differs from what runs."""
        images = await self._images(within)
        if to == self.previous:
            found = next((image for _, image in images if image != images[0][1]), None)
        else:
            found = dict(images).get(to.removeprefix("v"), None if _RELEASE.fullmatch(to) else to)
        if found is None:
            raise PermanentError(f"the Fly app {self._app} has no release {to!r} with an image")
        return found

    async def switch(self, to: Version, within: timedelta) -> None:
        """Deploy an image as a new release. Raises Halfway when it failed after it had begun: some machines may have it."""
        before = await self._newest(within)
        try:
            await _FLYCTL.tell("deploy", "--app", self._app, "--image", to.name, "--yes", within=within)
        except PermanentError as error:
            if await self._begun(before, within):
                raise Halfway(str(error)) from None
            raise

    async def _begun(self, before: int, within: timedelta) -> bool:
        try:
            return await self._newest(within) != before
        except ActionError:
            return True  # nobody can tell

    async def _newest(self, within: timedelta) -> int:
        """Return the number of the newest release, whatever became of it."""
        rows = await self._list("releases", "--app", self._app, "--image", "--json", within=within)
        return max((int(_field(row, "version") or 0) for row in rows), default=0)

    async def _images(self, within: timedelta) -> list[tuple[str, str]]:
        """List number and image of each release that is complete, newest first."""
        rows = await self._list("releases", "--app", self._app, "--image", "--json", within=within)
        done = [row for row in rows if str(_field(row, "status")).lower() in ("complete", "succeeded")]
        done.sort(key=lambda row: -int(_field(row, "version") or 0))
        images = [(str(_field(row, "version")), str(_field(row, "imageref") or "")) for row in done]
        images = [(number, image) for number, image in images if image]
        if not images:
            raise PermanentError(f"the Fly app {self._app} has no release with an image")
        return images

    async def _list(self, *args: str, within: timedelta) -> list[dict[str, Any]]:
        rows = parsed(await _FLYCTL.ask(*args, within=within), "flyctl")
        return [row for row in rows or [] if isinstance(row, dict)] if isinstance(rows, list | None) else []


def _field(row: dict[str, Any], name: str) -> Any:
    """Read a field whatever its capitals: flyctl changed them between versions."""
    return next((value for key, value in row.items() if key.lower() == name), None)


def _started(machine: dict[str, Any]) -> str:
    events = [
        event
        for event in machine.get("events") or []
        if isinstance(event, dict) and event.get("type") == "start"
    ]
    last = max((int(event.get("timestamp") or 0) for event in events), default=0)
    return f"{machine.get('instance_id', '')}@{last or machine.get('updated_at', '')}"


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise PermanentError(f"{key[:100]!r} is not a name that a Fly secret can have")
    return key


def _quoted(key: str, value: str | None) -> str:
    """Write a value as every version of flyctl's import reads it: its parsers differ over inner quotes and escapes."""
    _checked(key)
    text = value or ""
    if not text.isprintable() or '"' in text or "\\" in text:
        raise PermanentError(
            f"the value for {key} holds quotes, backslashes or control characters, which flyctl import may change"
        )
    return f'"{text}"'

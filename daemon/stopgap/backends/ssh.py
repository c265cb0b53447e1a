"""ssh: a unit of systemd on another machine, by `ssh` and the `systemctl` there.

Stopgap's account needs a key that the other machine lets in, without a passphrase or in an agent (SSH_AUTH_SOCK), and the host key
of that machine in `known_hosts`: an unknown one is refused, nothing is ever asked. Who is not root there may act by the polkit rule
of `deploy/50-stopgap.rules`, installed there.

To try it by hand, as Stopgap's account: `ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -- ops@app.example.com systemctl show
my-app.service`.
"""

import re
from collections.abc import Collection, Sequence
from datetime import timedelta

from stopgap.backends.command import Command
from stopgap.backends.dsn import address
from stopgap.backends.locator import Locator
from stopgap.backends.systemd import Systemd, unit_of
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError
from stopgap.process import Completed

_PORT = 22
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|[0-9A-Fa-f:.]{2,45}")
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "StrictHostKeyChecking": "yes",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
}
_FAILED = 255  # ssh(1): what ssh itself says; any other code is the command's
_NEVER_THERE = ("connect to host", "Could not resolve hostname", "kex_exchange_identification")
_SHUT_OUT = ("Host key verification failed", "Permission denied (", "Too many authentication failures")


class _Remote(Command):
    """systemctl on the other side of ssh, which hands the words to a shell there: they hold nothing that a shell minds."""

    async def ask(self, *args: str, within: timedelta, limit: int = 4 * 1024 * 1024) -> str:
        """Run what changes nothing, and return its answer. Raises ActionError."""
        try:
            return await super().ask(*args, within=within, limit=limit)
        except Unanswered as error:
            raise TemporaryError(str(error)) from None

    def _insist(self, args: Sequence[str], done: Completed, secrets: Collection[str] = ()) -> None:
        """Raise ActionError when nothing was done, and Unanswered when the connection broke: nobody knows how far it got."""
        if done.code == 0:
            return
        said, where = done.complaint(secrets), self.argv[self.argv.index("--") + 1]
        if done.code != _FAILED:
            raise PermanentError(f"systemctl {' '.join(args)} on {where} exited with {done.code}: {said}")
        if any(word in said for word in _SHUT_OUT):
            raise PermanentError(f"ssh does not get into {where}: {said}")
        if any(word in said for word in _NEVER_THERE):
            raise TemporaryError(f"ssh cannot reach {where}: {said}")
        raise Unanswered(f"the connection to {where} broke: {said}")


class SshSystemd(Systemd):
    """`ssh+systemd://user@host/unit`, or `…@host:port/unit`; without a user it is that of ssh's own configuration."""

    schemes = ("ssh+systemd",)
    example = "ssh+systemd://ops@app.example.com/my-app.service"

    def __init__(self, locator: Locator) -> None:
        locator.only("authority", "path")
        place = address(locator, _PORT, frozenset())
        if not _HOST.fullmatch(place.host):
            raise ValueError(f"{locator.authority!r} names no machine: write {self.example}")
        if place.user is not None and not _USER.fullmatch(place.user):
            raise ValueError(f"{place.user!r} is not the name of an account: write {self.example}")
        self._unit = unit_of(place.path.removeprefix("/"))
        if "\\" in self._unit:
            raise ValueError(
                f"{self._unit!r} holds a backslash, which the shell of the other machine would read"
            )
        self._machine = place.shown
        options = [word for key, value in _OPTIONS.items() for word in ("-o", f"{key}={value}")]
        where = place.host if place.user is None else f"{place.user}@{place.host}"
        argv = ("ssh", "-T", *options, "-p", str(place.port), "--", where)
        self._systemctl = _Remote(
            (*argv, "systemctl", "--no-ask-password", "--no-pager"),
            "install the OpenSSH client",
            ("SSH_AUTH_SOCK",),
        )

    @property
    def name(self) -> str:
        """Name the place as a resource, whoever acts there."""
        return f"ssh+systemd:{self._machine}/{self._unit}"

"""Server: where a database lives on a server: `scheme://user@host:port/database`. The password is never a part of it."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, count

_ADDRESS = re.compile(
    r"[a-z]+://(?:(?P<user>[A-Za-z0-9_.-]{1,63})@)?"
    r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])?(?::(?P<port>[0-9]{1,5}))?"
    r"/(?P<database>[A-Za-z0-9_][A-Za-z0-9_.-]{0,62})"
    r"(?:\?(?P<option>host|unix_socket)=(?P<socket>/[A-Za-z0-9._/-]{1,200}))?"
)
_LONGEST_NAME = 40  # leaves room for `_before_` and a mark within 63 characters


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of the address. `host` is a name, an address or, with a leading slash, the path of a socket."""

    scheme: str
    user: str
    host: str
    port: int
    database: str

    @classmethod
    def parse(cls, locator: str, scheme: str, port: int, option: str) -> "Server":
        """Take a locator apart; `option` names a socket's path. Raises ValueError that never shows what may be a password."""
        found = _ADDRESS.fullmatch(locator)
        if found is None:
            raise ValueError(
                f"this is not the address of a database: write {scheme}://user@host:{port}/database, and the password as `password`"
            )
        if bool(found["host"]) == bool(found["socket"]) or (found["option"] or option) != option:
            raise ValueError(
                f"write either a host, or the path of a socket: {scheme}:///database?{option}=/run/…"
            )
        host = found["socket"] or found["host"].strip("[]").lower()
        return cls(scheme, found["user"] or "", host, int(found["port"] or port), found["database"])

    @property
    def name(self) -> str:
        """Name it as a resource."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.host.startswith("/") and self.scheme == "mysql" else f":{self.port}"
        return f"{self.scheme}:{host}{port}/{self.database}"

    def beside(self, word: str, mark: str) -> str:
        """Return the name of a database that belongs to a step: the old state `before`, the new one `stage`."""
        return f"{self.database[:_LONGEST_NAME]}_{word}_{mark}"

    def free(self, word: str, mark: str, taken: Collection[str]) -> str:
        """Return such a name that is not taken: one step may be done and taken back several times."""
        first = self.beside(word, mark)
        return next(name for name in chain((first,), (f"{first}_{n}" for n in count(1))) if name not in taken)

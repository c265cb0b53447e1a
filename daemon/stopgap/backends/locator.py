"""Locator: `scheme://authority/path#fragment`, where something outside lives. Parsing one does no I/O."""

import re
from dataclasses import dataclass
from functools import lru_cache

_LOCATOR = re.compile(r"([a-z][a-z0-9+.-]*):(?://([^/#]*))?(/[^#]*)?(?:#(.*))?")
_LONGEST = 1024
_WITH_A_NAME = (  # schemes that take user@
    *("postgres", "postgresql", "mysql", "mariadb", "redis", "rediss"),
    "ssh+systemd",
)


@dataclass(frozen=True, slots=True)
class Locator:
    """The four parts, as they are written: nothing is unquoted, so nothing can hide."""

    scheme: str
    authority: str
    path: str
    fragment: str

    def __str__(self) -> str:
        fragment = f"#{self.fragment}" if self.fragment else ""
        return f"{self.scheme}://{self.authority}{self.path}{fragment}"

    def only(self, *parts: str) -> None:
        """Refuse a locator that has other parts than these, or lacks one (`fragment?` may be absent). Raises ValueError."""
        for part in ("authority", "path", "fragment"):
            wanted, there = part in parts, bool(getattr(self, part))
            if wanted and not there:
                raise ValueError(f"{str(self)!r} has no {_WORDS[part]}")
            if there and not wanted and f"{part}?" not in parts:
                raise ValueError(f"{str(self)!r} has a {_WORDS[part]} and should not")


_WORDS = {"authority": "name after ://", "path": "absolute path", "fragment": "#part"}


@lru_cache(4096)
def parse_locator(text: str) -> Locator:
    """Take a locator apart. Raises ValueError, also for what only an attack holds: `..`, control characters, credentials."""
    match = _LOCATOR.fullmatch(text) if len(text) <= _LONGEST and text.isprintable() else None
    if match is None:
        raise ValueError(
            f"{text[:200]!r} is not a locator: write scheme://…, such as env:///etc/app.env or fly://my-app"
        )
    scheme, authority, path, fragment = (part or "" for part in match.groups())
    if ".." in path.split("/"):
        raise ValueError(f"{text!r} steps out of its folder with '..': write the whole path")
    user, at, _ = authority.rpartition("@")
    if at and not scheme.startswith("systemd") and (":" in user or scheme not in _WITH_A_NAME):
        raise ValueError("a locator holds no credentials: they come from the environment, or from password")
    return Locator(scheme, authority, path, fragment)

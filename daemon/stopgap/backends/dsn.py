"""Dsn: a locator with a user, and the password that goes with it: beside it, or within it where all of it is a secret."""

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, unquote

from pydantic import SecretStr

from stopgap.backends.capability import Place
from stopgap.backends.locator import Locator, parse_locator

_SECRET = re.compile(r"([a-z][a-z0-9]*)(?:\+[a-z0-9]+)?://(?:([^/@:]*)(?::([^/]*))?@)?([^@]*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?:([^@:/]+)@)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?,]+)?(?::([0-9]{1,5}))?")
_HIGHEST_PORT = 65535

C = TypeVar("C", bound=Place)


@dataclass(frozen=True, slots=True)
class Login(Generic[C]):
    """A place, and the password that it asks for."""

    place: C
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of `scheme://user@host:port/path?option=value`."""

    user: str | None
    host: str
    port: int
    path: str
    options: dict[str, str]

    @property
    def shown(self) -> str:
        """Return host and port, as one writes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split_secret(secret: SecretStr) -> tuple[Locator, str | None]:
    """Take the password out of a whole address. Raises ValueError that shows nothing of it."""
    try:
        return _taken_apart(secret.get_secret_value())
    except ValueError:
        raise ValueError(
            "the secret is not an address: write scheme://user:password@host:port/database, with what has a meaning "
            "there as %40"
        ) from None


def _taken_apart(text: str) -> tuple[Locator, str | None]:
    found = _SECRET.fullmatch(text)
    if found is None:
        raise ValueError
    scheme, user, password, rest = found.groups()
    return parse_locator(f"{scheme}://{f'{user}@' if user else ''}{rest}"), unquote(password or "") or None


def address(locator: Locator, port: int, options: frozenset[str]) -> Address:
    """Take a locator apart; `port` is the usual one. Raises ValueError."""
    path, _, query = locator.path.partition("?")
    found = _AUTHORITY.fullmatch(locator.authority)
    if found is None or int(found[3] or port) > _HIGHEST_PORT or locator.fragment:
        raise ValueError(f"{str(locator)!r} is no address: write {locator.scheme}://user@host:port/name")
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(given) - options):
        raise ValueError(
            f"{locator.scheme} has no option {unknown[0]!r}: there are {', '.join(sorted(options))}"
        )
    host = (found[2] or "").strip("[]").lower()
    return Address(unquote(found[1]) if found[1] else None, host, int(found[3] or port), path, given)


@cache
def _installed(module: str) -> bool:
    return find_spec(module) is not None


def need(module: str, extra: str) -> None:
    """Raise ValueError that names the extra if a library is not installed."""
    if not _installed(module):
        raise ValueError(f"the library {module} is not installed: pip install 'stopgap[{extra}]'")

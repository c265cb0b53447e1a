"""Backends: the places that actions change, each a small class behind the scheme of a locator.

The same rule runs anywhere because only the locator says where: `env:///etc/app.env` on a machine, `fly://my-app` on Fly.
"""

from contextlib import suppress
from functools import cache
from typing import TypeVar

from pydantic import SecretStr

from stopgap.action import Text, reveal
from stopgap.backends.capability import Place
from stopgap.backends.cloudflare import Cloudflare
from stopgap.backends.compose import Compose
from stopgap.backends.docker import Docker
from stopgap.backends.dsn import Login, split_secret
from stopgap.backends.env import Env
from stopgap.backends.fly import Fly
from stopgap.backends.git import Git
from stopgap.backends.json import JsonFile
from stopgap.backends.k8s import K8s
from stopgap.backends.k8s_configmap import K8sConfigMap
from stopgap.backends.locator import Locator, parse_locator
from stopgap.backends.mysql import Mysql
from stopgap.backends.nginx import Nginx
from stopgap.backends.postgres import Postgres
from stopgap.backends.redis import Redis
from stopgap.backends.sqlite import Sqlite
from stopgap.backends.ssh import SshSystemd
from stopgap.backends.supervisor import Supervisor
from stopgap.backends.systemd import Systemd
from stopgap.backends.yaml import YamlFile

BACKENDS: tuple[type[Place], ...] = (
    Env,
    JsonFile,
    YamlFile,
    Fly,
    Supervisor,
    Systemd,
    SshSystemd,
    Compose,
    Docker,
    K8s,
    K8sConfigMap,
    Git,
    Sqlite,
    Postgres,
    Mysql,
    Redis,
    Cloudflare,
    Nginx,
)

C = TypeVar("C", bound=Place)


def locate(locator: str, capability: type[C]) -> C:
    """Return the place behind a locator, if it has the capability. No I/O.

    Raises ValueError that says which schemes there are, or which of them can do what is asked.
    """
    return _place(parse_locator(locator), capability)


def log_in(at: Text, password: Text | None, capability: type[C]) -> Login[C]:
    """Return the place behind an address that may be a secret as a whole, with its password. No I/O.

    Raises ValueError, which shows nothing of a secret.
    """
    if not isinstance(at, SecretStr):
        return Login(locate(at, capability), None if password is None else reveal(password))
    parsed, within = split_secret(at)
    try:
        place = _place(parsed, capability)
    except ValueError:
        raise ValueError(f"the secret is not an address here: write one of {_examples(capability)}") from None
    return Login(place, within if password is None else reveal(password))


def _place(parsed: Locator, capability: type[C]) -> C:
    able: tuple[type[C], ...]
    there, able = _able(parsed.scheme, capability)
    if not there:
        raise ValueError(f"there is no backend for {parsed.scheme}: write one of {_examples(capability)}")
    if not able:
        cure = f"write one of {_examples(capability)}"
        raise ValueError(f"{parsed.scheme}: cannot {capability.purpose}: {cure}")
    for backend in able[:-1]:  # a scheme may have several kinds of places, told apart by the path
        with suppress(ValueError):
            return backend(parsed)
    return able[-1](parsed)


@cache
def _able(scheme: str, capability: type[C]) -> tuple[bool, tuple[type[C], ...]]:
    """Tell whether there are places of this scheme, and which of them have the capability."""
    there = [backend for backend in BACKENDS if scheme in backend.schemes]
    return bool(there), tuple(backend for backend in there if issubclass(backend, capability))


def _examples(capability: type[Place]) -> str:
    return ", ".join(backend.example for backend in BACKENDS if issubclass(backend, capability))

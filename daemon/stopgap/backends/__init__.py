"""Backends: the places that actions change, each a small class behind the scheme of a locator.

The same rule runs anywhere because only the locator says where: `env:///etc/app.env` on a machine, `fly://my-app` on Fly.
"""

from typing import TypeVar

from stopgap.backends.capability import Place
from stopgap.backends.compose import Compose
from stopgap.backends.env import Env
from stopgap.backends.fly import Fly
from stopgap.backends.json import JsonFile
from stopgap.backends.locator import parse_locator
from stopgap.backends.supervisor import Supervisor
from stopgap.backends.systemd import Systemd
from stopgap.backends.yaml import YamlFile

BACKENDS: tuple[type[Place], ...] = (Env, JsonFile, YamlFile, Fly, Supervisor, Systemd, Compose)

C = TypeVar("C", bound=Place)


def locate(locator: str, capability: type[C]) -> C:
    """Return the place behind a locator, if it has the capability. No I/O.

    Raises ValueError that says which schemes there are, or which of them can do what is asked.
    """
    parsed = parse_locator(locator)
    for backend in BACKENDS:
        if parsed.scheme in backend.schemes:
            if not issubclass(backend, capability):
                cure = f"write one of {_examples(capability)}"
                raise ValueError(f"{parsed.scheme}: cannot {capability.purpose}: {cure}")
            return backend(parsed)
    raise ValueError(f"there is no backend for {parsed.scheme}: write one of {_examples(capability)}")


def _examples(capability: type[Place]) -> str:
    return ", ".join(backend.example for backend in BACKENDS if issubclass(backend, capability))

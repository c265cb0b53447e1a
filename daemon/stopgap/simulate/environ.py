"""Environ: an environment in which every secret of the rules is set: a play needs none of their values, so nobody need know one."""

from typing import Any

SECRET, FILE = "STOPGAP_SECRET_", "_FILE"
PLACEHOLDER = "https://placeholder.invalid/"
"""What a secret is of which nobody says anything: a text, and an address that nobody has."""


class Environ(dict[str, str]):
    """What is given, and a placeholder for each secret beside it."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a variable."""
        return self[key] if key in self else default  # noqa: SIM401 - dict.get never asks __missing__

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or _is_secret(key)

    def __missing__(self, key: str) -> str:
        if _is_secret(key):
            return PLACEHOLDER
        raise KeyError(key)


def _is_secret(key: object) -> bool:
    return isinstance(key, str) and key.startswith(SECRET) and not key.endswith(FILE)

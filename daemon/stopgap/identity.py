"""Identity: as whom this process acts."""

import os
import pwd


def identity() -> str:
    """Return the name of the effective user; its number where it has no name, as in a container."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"

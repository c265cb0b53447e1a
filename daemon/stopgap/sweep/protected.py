"""Protected: folders that no clean-up may have as its root, and those that it never enters. Pure."""

import os.path

TREES = frozenset(
    [
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/proc",
        "/root",
        "/sbin",
        "/sys",
        "/usr",
        "/var/lib/containerd",
        "/var/lib/docker",
        "/var/lib/dpkg",
        "/var/lib/mysql",
        "/var/lib/postgresql",
        "/var/lib/redis",
        "/var/lib/rpm",
        "/var/lib/stopgap",
        "/var/lib/systemd",
        "/var/spool/cron",
    ]
)
"""These and everything below them."""

THEMSELVES = frozenset(
    [
        "/",
        "/home",
        "/media",
        "/mnt",
        "/opt",
        "/run",
        "/srv",
        "/tmp",  # noqa: S108 - it stands here so that nobody clears it
        "/var",
        "/var/cache",
        "/var/lib",
        "/var/spool",
        "/var/tmp",  # noqa: S108 - the same
    ]
)
"""These, but not what is below them: somebody means one application's folder."""

NEVER_ENTERED = frozenset({".git", ".gnupg", ".ssh", "lost+found"})
LANDMARK = "stopgap.db"
"""A folder that holds this is the daemon's own data directory, wherever it is."""

_LONGEST = 1024


def plain_path(path: str) -> str:
    """Return an absolute path that says what it means. Raises ValueError."""
    if not path.startswith("/") or not path.isprintable() or len(path) > _LONGEST:
        raise ValueError(f"{path[:200]!r} is not an absolute path")
    if {"..", "."} & set(path.split("/")):
        raise ValueError(f"{path!r} holds '.' or '..': write the path itself")
    return os.path.normpath("/" + path.strip("/"))


def open_to_clearing(path: str) -> str:
    """Return the path when a clean-up may have it as its root. Raises ValueError."""
    path = plain_path(path)
    parts = path.split("/")
    above = {"/".join(parts[:i]) for i in range(2, len(parts) + 1)}
    home = parts[1] == "home" and len(parts) <= 3  # noqa: PLR2004 - "", home, somebody
    if path in THEMSELVES or home or above & TREES:
        raise ValueError(
            f"{path} is protected and never cleared: name the folder of one application, such as /var/log/app"
        )
    return path

"""Release: which version of Stopgap this is, as its package says."""

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Return the version of the installed package; a bare source tree has none."""
    try:
        return version("stopgap")
    except PackageNotFoundError:
        return "unknown"

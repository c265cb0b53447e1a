"""Rule files for tests: written below a directory, loaded with the small catalog, and what is said about them."""

from pathlib import Path

import pytest
from tests.catalog_fakes import CATALOG

from stopgap.config import Loaded, load
from stopgap.errors import ConfigError

SMALLEST = """
rules:
  - name: one
    match: alertname="Down"
    do: [{restart: "systemd://api"}]
"""
ENVIRON = {"CHAT": "json://chat json://backup", "STOPGAP_SECRET_KEY": "hunter2"}
SITE = "contacts: {default: {url_env: CHAT}}\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in {"site.yaml": SITE, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def read(root: Path, files: dict[str, str], **more) -> Loaded:
    environ = more.pop("environ", ENVIRON)
    return load(write(root, files), CATALOG, environ=environ, **more)


def problems(root: Path, files: dict[str, str], **more) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(root, files, **more)
    return [str(problem).removeprefix(f"{root}/") for problem in caught.value.problems]


def rule(body: str) -> str:
    """Write one rule of a file, `body` being its further keys."""
    lines = ["rules:", "  - name: one", '    match: alertname="Down"']
    return "\n".join(lines + [f"    {line}" for line in body.strip().splitlines()]) + "\n"


def warnings(loaded: Loaded) -> list[str]:
    return [problem.text for problem in loaded.warnings]

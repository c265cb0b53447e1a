"""What `check` says of rules: `place code: text` of each warning and error, below a temporary directory."""

from pathlib import Path

from tests.catalog_fakes import CATALOG
from tests.rule_files import ENVIRON, write

from stopgap.config import load
from stopgap.errors import ConfigError, Problem

FLAG = "{flag: {at: 'env:///x', set: {A: b}}}"
RESTART = "{restart: 'systemd://x'}"
HTTP = "{http: 'http://x'}"
CAUSE = "{http: 'http://cause'}"


def rule(body: str, *, match: str = "'alertname=\"Down\"'", name: str = "one") -> str:
    """Write one rule of a file, its further keys from line 4 on."""
    lines = [
        "rules:",
        f"  - name: {name}",
        f"    match: {match}",
        *(f"    {each}" for each in body.split("\n")),
    ]
    return "\n".join(lines) + "\n"


def found(root: Path, files: dict[str, str], code: str, **more) -> list[Problem]:
    """Return what is said under a code."""
    environ = more.pop("environ", ENVIRON)
    try:
        problems = load(write(root, files), CATALOG, environ=environ, **more).warnings
    except ConfigError as wrong:
        problems = wrong.problems
    return [problem for problem in problems if problem.code == code]


def said(root: Path, files: dict[str, str], code: str, **more) -> list[str]:
    """Return what is said under a code, each with its place in the file."""
    return [f"{each.line}:{each.column} {each.key}: {each.text}" for each in found(root, files, code, **more)]


def of_rule(root: Path, body: str, code: str, **files: str) -> list[str]:
    """Return what is said of one rule under a code; `alerts` are alerting rules beside it."""
    more = {"p/alerts.yaml": files["alerts"]} if "alerts" in files else {}
    return said(root, {"p/a.yaml": rule(body), **more}, code)


def alerts(*rules: str) -> str:
    """Write a file of alerting rules, the first in line 4."""
    return "groups:\n  - name: g\n    rules:\n" + "".join(f"      - {{{each}}}\n" for each in rules)

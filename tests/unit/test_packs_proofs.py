"""Each README of a pack has a table of procedures without gaps: what it names exists, tests and alerts above all."""

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stopgap.matcher import parse_matcher

ROOT = Path(__file__).parents[2]
PACKS = sorted(path.parent.name for path in (ROOT / "rules").glob("*/pack.yaml"))
SAME = ("the same", "its")
KEYS = "only_if verify recovered activate approval escalate go_on after every do optional once manual backup messages"
WORDS = frozenset([*KEYS.split(), "on_failure", "on_resolve", "severities", "contacts", "match"])
COMMANDS = ("stopgap ", "celery ", "alembic ")
TERM = re.compile(r"`([^`]+)`")
NAMED = re.compile(r"[a-z][a-z0-9-]*(?: [a-z-]+)*")  # a rule, a rung, a message, an event
ALERT = re.compile(r"[A-Z][A-Za-z]+")


def load(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


def _functions(path: Path) -> list[str]:
    return [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    ]


@dataclass(frozen=True)
class Pack:
    """What a pack has, and what its README says of it."""

    name: str

    @property
    def folder(self) -> Path:
        return ROOT / "rules" / self.name

    @cached_property
    def files(self) -> list[Path]:
        aside = {"pack.yaml", "alerts.yaml"}
        return [
            p for p in self.folder.glob("*.yaml") if p.name not in aside and not p.name.endswith(".test.yaml")
        ]

    @cached_property
    def rules(self) -> list[Any]:
        return [rule for path in self.files for rule in load(path)["rules"]]

    @cached_property
    def alerts(self) -> set[str]:
        """Return the alerts that Prometheus fires."""
        groups = load(self.folder / "alerts.yaml")["groups"]
        return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}

    def takes(self, alert: str) -> bool:
        """Tell whether a rule waits for an alert; that a person or a detector sends, if Prometheus does not."""
        found = [parse_matcher(one) for rule in self.rules for one in rule["match"]]
        return any(one.name == "alertname" and one.matches({"alertname": alert}) for one in found)

    @cached_property
    def names(self) -> set[str]:
        """Return all that a cell may name."""
        keys = load(self.folder / "pack.yaml")
        rungs = {rung["name"] for rule in self.rules for rung in rule["ladder"] if "name" in rung}
        events = {entry.get("when", "") for rule in self.rules for entry in rule["escalate"]}
        known = {name for key in ("vars", "contacts", "messages") for name in keys.get(key, {})}
        site = set(load(ROOT / "rules" / "site.yaml")["contacts"])
        return rungs | events | known | site | self.alerts | WORDS | {rule["name"] for rule in self.rules}

    @cached_property
    def tests(self) -> dict[str, list[str]]:
        """Return the names of tests by the word that stands for their file."""
        found = {
            p.name.removesuffix(".test.yaml"): [t["name"] for t in load(p)["tests"]]
            for p in self.folder.glob("*.test.yaml")
        }
        played = (ROOT / "tests" / "promtool").glob(f"{self.name}*.yaml")
        found["promtool"] = [test["name"] for path in played for test in load(path)["tests"]]
        real = ROOT / "tests" / "integration" / f"test_pack_{self.name.replace('-', '_')}.py"
        done = [n.removeprefix("test_").replace("_", " ") for n in _functions(real)] if real.exists() else []
        return {**found, "real": done, "steps": done}

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Return the rows of all tables that have a column `proof`, by the names of their columns."""
        found: list[dict[str, str]] = []
        head: list[str] = []
        for line in (self.folder / "README.md").read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
            if not cells:
                head = []
            elif not head:
                head = cells
            elif "proof" in head and set(line) - set("|-: "):
                assert len(cells) == len(head), f"{self.name}: a row of {len(cells)} cells: {line}"
                found.append(dict(zip(head, cells, strict=True)))
        return found


LOADED = {name: Pack(name) for name in PACKS}
each_pack = pytest.mark.parametrize("pack", LOADED.values(), ids=PACKS)


@each_pack
def test_the_table_has_no_empty_cell(pack):
    assert pack.rows
    empty = [row for row in pack.rows if any(cell in {"", "-", "?", "TODO"} for cell in row.values())]
    assert not empty


def _unmatched(pack: Pack, where: str, said: str) -> list[str]:
    """Return what a piece of a proof names and no test of that file is called."""
    names = pack.tests[where]
    if said in SAME:
        return []
    marked = re.findall(r"[\"*]([^\"*]+)[\"*]", said)
    pieces = [piece.strip("… ") for piece in marked] or _split(names, re.sub(r" \([^)]*\)", "", said))
    return [f"{where}: {piece}" for piece in pieces if not any(plain(piece) in plain(name) for name in names)]


def plain(name: str) -> str:
    """Return a name as a function can have it."""
    return " ".join(re.findall(r"\w+", name))


def _split(names: list[str], said: str) -> list[str]:
    """Part first words of names, which may hold commas themselves."""
    parts, pieces = said.split(", "), []
    while parts:
        fit = [
            n
            for n in range(len(parts), 0, -1)
            if any(name.startswith(", ".join(parts[:n])) for name in names)
        ]
        count = fit[0] if fit else 1
        pieces.append(", ".join(parts[:count]))
        parts = parts[count:]
    return pieces


def wrong_proofs(pack: Pack, proof: str) -> list[str]:
    """Return what a cell names that is not there; a cell that names nothing at all is wrong, too."""
    if proof in SAME:
        return []
    files = re.findall(r"`(tests/[\w/.]+\.py)`", proof)
    wrong = [file for file in files if not (ROOT / file).exists()]
    rest = re.sub(r"(?: · )?`tests/[\w/.]+\.py`(?: · )?", "", proof)
    sources = "|".join(map(re.escape, pack.tests))
    found = list(re.finditer(rf"(?:^|[·;,] )`?({sources})(?:\.test)?`?(?::|,|(?= \"))", rest))
    if not found and not files:
        return [f"names no test: {proof}"]
    ends = [*(one.start() for one in found[1:]), len(rest)]
    for one, end in zip(found, ends, strict=False):
        wrong += _unmatched(pack, one[1], rest[one.end() : end].strip(" ;·,"))
    return wrong


@each_pack
def test_every_proof_is_a_test_that_exists(pack):
    wrong = {row["proof"]: missing for row in pack.rows if (missing := wrong_proofs(pack, row["proof"]))}
    assert not wrong


@each_pack
def test_every_alert_that_is_named_exists_and_every_alert_is_named(pack):
    named = {
        term for row in pack.rows for term in TERM.findall(row.get("alert", "")) if ALERT.fullmatch(term)
    }
    assert not [alert for alert in named if not pack.takes(alert)]
    assert pack.alerts <= named | {
        term for row in pack.rows for cell in row.values() for term in TERM.findall(cell)
    }


@each_pack
def test_every_rule_and_rung_that_is_named_exists_and_every_rule_is_named(pack):
    column = next(key for key in pack.rows[0] if key.startswith("rule"))
    terms = (term for row in pack.rows for term in TERM.findall(row.get(column, "")))
    named = {term for term in terms if NAMED.fullmatch(term) and not term.startswith(COMMANDS)}
    assert named <= pack.names
    assert {rule["name"] for rule in pack.rules} <= {
        term for row in pack.rows for cell in row.values() for term in TERM.findall(cell)
    }


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        ("`outage`: no such test", ["outage: no such test"]),
        ('`outage.test` "no such test"', ["outage: no such test"]),
        ("`tests/unit/test_no_such.py`", ["tests/unit/test_no_such.py"]),
        ("seen once by hand", ["names no test: seen once by hand"]),
        ("`nowhere`: a restart", ["names no test: `nowhere`: a restart"]),
    ],
)
def test_a_proof_that_is_not_there_is_found(proof, says):
    assert wrong_proofs(LOADED["askproai"], proof) == says

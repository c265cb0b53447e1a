"""The shape of the tree: layers, sizes, names, broad excepts, and nothing that only exists on one machine."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daemon" / "stopgap"
MODULES = sorted(PACKAGE.rglob("*.py"))
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
LAYERS = [re.findall(r"\w+", layer) for layer in CONTRACT["layers"]]
HIGHEST = {layer[0]: i for i, layer in enumerate(LAYERS)}
COVERED = [name for layer in LAYERS[HIGHEST["engine"] :] for name in layer]
# `clock` is on the ground with them, and the one place that asks the event loop for the time.
PURE = sorted({name for layer in LAYERS[HIGHEST["decide"] :] for name in layer} - {"clock"})
IMPURE_LIBRARIES = set(
    """
    asyncio aiohttp http requests socket subprocess multiprocessing threading signal os shutil sqlite3 sqlalchemy
    """.strip().split(" ")
)
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
MAX_BROAD_EXCEPTS_PER_1000_LINES = 1.5
EMPTY_NAMES = {"manager", "handler", "helper", "util", "common", "base", "impl", "data", "info"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def place(path: Path, node: ast.AST | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{node.lineno}" if node else "")


def test_imports_point_downward_only():
    linter = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run(
        [linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_the_coverage_gate_is_for_the_engine_and_all_below_it():
    listed = re.search(r"^PURE := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    assert set(listed[1].replace("\\", "").split()) == set(COVERED)


def imported(module: ast.Module) -> set[str]:
    names = [alias.name for node in ast.walk(module) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("name", PURE)
def test_the_domain_does_no_io_and_knows_no_event_loop(name):
    paths = [PACKAGE / f"{name}.py", *(PACKAGE / name).rglob("*.py")]
    impure = {place(path): imported(parse(path)) & IMPURE_LIBRARIES for path in paths if path.is_file()}
    assert not {where: libraries for where, libraries in impure.items() if libraries}


def test_the_domain_has_no_coroutine_of_its_own():
    # Protocols may declare async methods (the actions behind them do I/O); a body that awaits may not exist.
    awaits = [
        place(path, node)
        for path in MODULES
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in PURE
        for node in ast.walk(parse(path))
        if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith))
    ]
    assert not awaits


def test_no_file_is_longer_than_one_concept_needs():
    lengths = {place(path): len(path.read_text().splitlines()) for path in MODULES}
    assert not {where: lines for where, lines in lengths.items() if lines > MAX_FILE_LINES}


def test_no_function_is_longer_than_a_page():
    long = [
        f"{place(path, node)} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert not long


def test_every_module_says_what_its_concept_is():
    assert not [place(path) for path in MODULES if path.stat().st_size and not ast.get_docstring(parse(path))]


def words(path: Path) -> set[str]:
    return {
        word.removesuffix("s")
        for part in path.relative_to(PACKAGE).with_suffix("").parts
        for word in part.split("_")
    }


def test_no_module_has_a_name_that_says_nothing():
    assert not [place(path) for path in MODULES if words(path) & EMPTY_NAMES]


def is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(is_broad(each) for each in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"})


def broad_excepts(path: Path) -> list[ast.ExceptHandler]:
    return [
        node for node in ast.walk(parse(path)) if isinstance(node, ast.ExceptHandler) and is_broad(node.type)
    ]


def has_reason(path: Path, line: int) -> bool:
    """Tell whether a comment on the line or on the one above says more than a rule's code."""
    lines = path.read_text().splitlines()
    comments = [text.partition("#")[2] for text in (lines[line - 1], lines[line - 2])]
    return any(re.search(r"\w+ \w+", re.sub(r"noqa: [A-Z0-9, ]+", "", comment)) for comment in comments)


def test_every_broad_except_stands_at_a_border_and_says_why():
    assert not [
        place(path, node)
        for path in MODULES
        for node in broad_excepts(path)
        if not has_reason(path, node.lineno)
    ]


def test_broad_excepts_are_rare():
    found = [place(path, node) for path in MODULES for node in broad_excepts(path)]
    lines = sum(len(path.read_text().splitlines()) for path in MODULES)
    assert len(found) <= max(4, lines / 1000 * MAX_BROAD_EXCEPTS_PER_1000_LINES), found


# Spelled in parts, so that this file does not find itself.
ONE_MACHINE_ONLY = re.compile(
    "|".join(
        [
            r"(?<![\w./])/(?:work|root|Users|workspace)" + r"/\w",
            r"(?<![\w./])/home" + r"/\w",
            r"(?<![\w./])/opt/(?:pypi|wheels)",
            r"\.pyenv" + r"/",
            r"files\.python" + r"hosted\.org",
            r"pypi\.org" + r"/simple",
            r"(?:extra-)?index-url\s*[= ]\s*" + r"\S*://",
            r"--find" + r"-links",
            r"--trusted" + r"-host",
            r"(?:artifactory|nexus|jfrog)\.[\w-]+\." + r"\w",
        ]
    )
)


def test_no_committed_file_names_a_registry_or_a_path_of_one_machine():
    # The tree may belong to somebody else than the one who tests it, as in a container.
    list_files = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(list_files, cwd=ROOT, capture_output=True, check=True, timeout=30).stdout
    found = []
    for name in filter(None, listed.decode().split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" in content:
            continue  # binary, or removed and not yet committed
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            found += [f"{name}:{number}: {hit.group()}" for hit in ONE_MACHINE_ONLY.finditer(line)]
    assert not found


def test_every_locked_version_is_exact():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)]

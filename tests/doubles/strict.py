"""What the doubles share: options that the real tool does not know are refused, calls are recorded, state is kept.

A double is linked into a folder of its own; beside it lie `NAME.json` (its state) and `calls.jsonl`.
"""

import fcntl
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(sys.argv[0]).absolute().parent
NAME = Path(sys.argv[0]).name


def fail(text: str, code: int = 1) -> NoReturn:
    sys.stderr.write(f"Error: {text}\n")
    sys.exit(code)


def options(argv: list[str], valued: str, bare: str) -> tuple[dict[str, list[str]], list[str]]:
    """Split arguments into options and the rest; an unknown option, or one without its value, is refused."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    queue = list(argv)
    while queue:
        word = queue.pop(0)
        if word == "--":
            return found, rest + queue
        if not word.startswith("-"):
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        if name in bare.split() and not equals:
            found.setdefault(name, []).append("")
        elif name in valued.split() and (equals or queue):
            found.setdefault(name, []).append(value if equals else queue.pop(0))
        else:
            fail(f"unknown flag: {word}")
    return found, rest


@contextmanager
def state() -> Iterator[dict[str, Any]]:
    path = HERE / f"{NAME}.json"
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept = json.load(file)
        yield kept
        file.seek(0)
        file.truncate()
        json.dump(kept, file)


def record(stdin: str | None = None) -> None:
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"argv": [NAME, *sys.argv[1:]], "stdin": stdin}) + "\n")


def dispatch(commands: dict[tuple[str, ...], Callable[[list[str]], None]]) -> None:
    for words, command in commands.items():
        if tuple(sys.argv[1 : 1 + len(words)]) == words:
            command(sys.argv[1 + len(words) :])
            return
    fail(f"unknown command {' '.join(sys.argv[1:3])!r}")

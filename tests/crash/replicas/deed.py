"""Deed: the command that the campaign's rules run. Each effect is one line of a log, on disk before the command ends.

Run with `python -I -S`, which starts in a hundredth of a second: `deed.py LOG VERB RESOURCE [VALUE]`. The log is the outside: what
a resource is now is said by its last line, how often it was kicked by the number of its lines.
"""

import json
import os
import sys
import time

FIRST = "10"
CHANGES = frozenset({"kick", "set", "restore"})
"""Verbs that have an effect."""


def lines(log: str, resource: str) -> list[dict[str, object]]:
    """Return what happened to a resource."""
    try:
        with open(log, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import than all else
            found = [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []
    return [line for line in found if line["resource"] == resource]


def write(log: str, **line: object) -> None:
    """Append a line, whole, and see it on disk."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        line["at"] = time.time_ns() // 1000
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> int:
    """Do what is asked for."""
    began = time.time_ns() // 1000
    log, verb, resource, *value = sys.argv[1:]
    done = lines(log, resource)
    level = str(done[-1]["after"]) if done else FIRST
    if verb == "count":
        sys.stdout.write(str(len(done)))
    elif verb == "get":
        sys.stdout.write(level)
    else:
        key, who = os.environ.get("STOPGAP_IDEMPOTENCY_KEY", ""), os.environ["HOME"].rpartition("/")[2]
        before, after = level, sys.stdin.read() if verb == "restore" else "".join(value)
        if verb == "kick":
            before, after = str(len(done)), str(len(done) + 1)
        write(log, key=key, who=who, resource=resource, before=before, after=after, began=began, phase="done")
    return 0


if __name__ == "__main__":
    sys.exit(main())

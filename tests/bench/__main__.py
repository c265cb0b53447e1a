"""Bench: how fast and how large the daemon is in a storm, against others in the same run (`make bench`).

Prints a table and writes `bench-DATE.json`. It asserts no times: it ends with 1 only when something could not be measured.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench import publish
from tests.bench.ground import Ground
from tests.bench.groups import GROUPS, Group
from tests.bench.machine import Neighbours, machine
from tests.bench.report import Section, table
from tests.bench.rules import limits
from tests.bench.scale import FULL, QUICK, Scale
from tests.bench.servers import NotMeasured

QUIET = 0.05  # share of the machine that others may use before figures are called rough


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(directory: Path, scale: Scale, groups: Sequence[Group]) -> dict[str, Any]:
    """Measure all of these groups in a directory that is ours, print each as it is done, and return everything."""
    began_at = datetime.now(UTC)
    on, neighbours = machine(directory), Neighbours()
    found: dict[str, Any] = {
        "version": version("stopgap"),
        "at": began_at.isoformat(),
        "scale": scale.name,
        "limits": limits(),
        "machine": on,
    }
    say(publish.text(found, ()))
    sections: list[Section] = []
    ground = Ground(directory, scale)
    for group in groups:
        sections.append(group.measure(ground))
        say(table(sections[-1]))
    took = (datetime.now(UTC) - began_at).total_seconds()
    return found | {
        "took_seconds": took,
        "others": neighbours.share,
        "sections": [section.as_json() for section in sections],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit code."""
    options = _options(arguments)
    chosen = [group for group in GROUPS if not options.only or group.name in options.only]
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.work) as name:
        try:
            found = run(Path(name).resolve(), QUICK if options.quick else FULL, chosen)
        except (NotMeasured, OSError, TimeoutError) as error:
            say(f"could not measure: {error}")
            return 1
    path = options.out / f"bench-{found['at'][:10]}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(f"{found['took_seconds']:.0f} s; everything measured stands in {path}")
    rough = found["others"] > QUIET
    say(f"others used {found['others']:.0%} of the machine" + (": these figures are rough" if rough else ""))
    if options.publish and (rough or options.quick or options.only):
        say("not published: only a whole run on a quiet machine is")
        return 1
    if options.publish:
        say(f"published: {publish.publish(found)}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [group.name for group in GROUPS]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about 2 minutes: shorter, and less of it")
    parser.add_argument("--only", action="append", choices=names, help="only this group (more than once)")
    parser.add_argument(
        "--work", type=Path, default=Path(".run"), help="where to put data: a real disk (.run)"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="where to put bench-DATE.json (here)")
    parser.add_argument(
        "--publish", action="store_true", help="write the table and the chart of the docs anew"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Replicas: bring faults about by seed until there were so many, and print what came of it (`make chaos FAULTS=500 SEED=1`)."""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.crash.incarnation import Zygote
from tests.crash.page import page
from tests.crash.replicas.campaign import Campaign, Figures
from tests.servers import Postgres, running_postgres

PER_CAMPAIGN = 50
SERVER = ("track_commit_timestamp=on", "max_connections=120")


def main() -> int:
    """Run campaigns with seeds that follow each other; returns 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.replicas", description=__doc__)
    parser.add_argument("--faults", type=int, default=500, help="how many, in campaigns of 50 (500)")
    parser.add_argument("--seed", type=int, default=1, help="of the first campaign (1)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all campaigns")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all servers and daemons end, too
    total, seed = Figures(), asked.seed
    with Zygote() as zygote, running_postgres(*SERVER) as server:
        while total.faults.total() < asked.faults:
            faults = min(PER_CAMPAIGN, asked.faults - total.faults.total())
            figures = run(zygote, server, seed, faults, keep=asked.keep)
            print(page(f"seed {seed}: {figures}"), flush=True)
            for violation in figures.violations:
                print(f"  {violation}\n  again: make chaos FAULTS={faults} SEED={seed}", flush=True)
            total.add(figures)
            seed += 1
    print(page(f"all: {total}"))
    print(page("faults: " + "  ".join(f"{kind} {count}" for kind, count in sorted(total.faults.items()))))
    print(f"came without their moment: {total.missed}")
    print(f"attempts without an answer: {total.doubts}, of which came late and turned an alert: {total.late}")
    print(
        page(
            "outcomes: "
            + "  ".join(f"{outcome} {count}" for outcome, count in sorted(total.outcomes.items()))
        )
    )
    return 1 if total.violations else 0


def run(zygote: Zygote, server: Postgres, seed: int, faults: int, *, keep: bool) -> Figures:
    """Run one campaign in a folder of its own, which stays when a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix=f"replicas-{seed}-"))
    figures = asyncio.run(Campaign(seed, zygote, server, folder).run(faults))
    if figures.violations or keep:
        print(f"  see {folder}")
    else:
        shutil.rmtree(folder)
    return figures


if __name__ == "__main__":
    sys.exit(main())

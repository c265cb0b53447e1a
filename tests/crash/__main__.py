"""Crash: kill daemons by seed until so many are dead, and print what came of it (`make crash KILLS=2000 SEED=1 STORE=sqlite`)."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.crash.campaign import Campaign, Figures
from tests.crash.incarnation import Zygote
from tests.crash.keeping import Keeping, OnPostgres, OnSqlite
from tests.crash.page import page
from tests.servers import Postgres, running_postgres

PER_CAMPAIGN = 40


def main() -> int:
    """Run campaigns with seeds that follow each other; returns 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many, in campaigns of 40 (200)")
    parser.add_argument("--seed", type=int, default=1, help="of the first campaign (1)")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite", help="sqlite")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all campaigns")
    parser.add_argument(
        "--stop", action="store_true", help="stop after the first campaign that breaks a promise"
    )
    asked = parser.parse_args()
    total, seed = Figures(), asked.seed
    with ExitStack() as stack:
        server = stack.enter_context(running_postgres()) if asked.store == "postgres" else None
        zygote = stack.enter_context(Zygote())
        while total.kills < asked.kills:
            kills = min(PER_CAMPAIGN, asked.kills - total.kills)
            figures = run(zygote, seed, kills, server, keep=asked.keep)
            print(page(f"seed {seed}: {figures}"), flush=True)
            for violation in figures.violations:
                print(
                    f"  {violation}\n  again: make crash KILLS={kills} SEED={seed} STORE={asked.store}",
                    flush=True,
                )
            total.add(figures)
            seed += 1
            if not figures.kills or (asked.stop and total.violations):
                break
    print(page(f"all: {total}"))
    print(page("points: " + "  ".join(f"{point} {count}" for point, count in sorted(total.points.items()))))
    print(
        page(
            "outcomes: "
            + "  ".join(f"{outcome} {count}" for outcome, count in sorted(total.outcomes.items()))
        )
    )
    return 1 if total.violations else 0


def run(zygote: Zygote, seed: int, kills: int, server: Postgres | None, *, keep: bool) -> Figures:
    """Run one campaign in a folder of its own, which stays when a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix=f"crash-{seed}-"))
    keeping: Keeping = OnSqlite(folder) if server is None else OnPostgres(server.database())
    figures = asyncio.run(Campaign(seed, zygote, folder, keeping).run(kills))
    if figures.violations or keep:
        print(f"  see {folder}")
    else:
        shutil.rmtree(folder)
    return figures


if __name__ == "__main__":
    sys.exit(main())

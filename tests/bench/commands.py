"""Commands: Stopgap's `exec` against `webhook` (github.com/adnanh/webhook, version of Debian), the same command, in turns.

Both check the same bearer token, parse the same notification, and start /usr/bin/touch with a name out of it, without a shell. Seen
from outside: from just before the POST until the file is there.
"""

import json
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from typing import Any

from tests.bench.bodies import TOKEN
from tests.bench.ground import Ground, ending
from tests.bench.latency import PAUSE
from tests.bench.report import Goal, Row, Sense, percentile
from tests.bench.rules import COMMAND, RUNNING
from tests.bench.servers import NotMeasured, Server, free_port, load

PROGRAM = "webhook"
AHEAD = Goal(Sense.BELOW, 1)
_PLACES = "/usr/bin:/usr/local/bin:/usr/sbin"


class Webhook(Server):
    """A `webhook` with one hook."""

    ready_path = "/"
    path = "/hooks/bench"


def rows(ground: Ground) -> list[Row]:
    """Measure both, one alert after the other and at a rate."""
    numbers: Iterator[int] = count(0, 10_000)
    with webhook(ground) as other, ground.daemon("commands") as own:
        sides: dict[str, Server] = {"own": own, "other": other}
        for server in sides.values():
            _alone(ground, server, next(numbers), ground.scale.warm // 4 + 1)
        alone = _turns(ground, sides, numbers, at_rate=False)
        rated = _turns(ground, sides, numbers, at_rate=True)
    return [
        *_pair("one by one", alone, AHEAD),
        *_pair(f"at {ground.scale.command_rate}/s", rated, None),
    ]


@contextmanager
def webhook(ground: Ground) -> Iterator[Server]:
    """Start `webhook` with one hook, which runs our command. Raises NotMeasured when it is not installed."""
    program = shutil.which(PROGRAM, path=_PLACES)
    if program is None:
        raise NotMeasured(
            "webhook is not installed, and it is what `exec` is measured against;\n"
            "  cure, as root: apt-get install --no-install-recommends webhook"
        )
    hooks = ground.directory / "hooks.json"
    hooks.write_text(json.dumps([_hook(ground)]), encoding="utf-8")
    port = free_port()
    command = [program, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
    with ending(Webhook(command, port, ground.directory / "webhook.log")) as server:
        yield server


def _hook(ground: Ground) -> dict[str, Any]:
    bearer = {"source": "header", "name": "Authorization"}
    return {
        "id": "bench",
        "execute-command": COMMAND,
        "command-working-directory": str(ground.folder),
        "pass-arguments-to-command": [{"source": "payload", "name": "alerts.0.labels.instance"}],
        "trigger-rule": {"match": {"type": "value", "value": f"Bearer {TOKEN}", "parameter": bearer}},
    }


Measured = dict[str, list[list[float]]]
"""By side, each round's seconds to the effect."""


def _turns(ground: Ground, sides: dict[str, Server], numbers: Iterator[int], *, at_rate: bool) -> Measured:
    """Measure both sides in alternating rounds, each second one in the opposite order."""
    found: Measured = {name: [] for name in sides}
    for turn in range(ground.scale.rounds):
        for name in list(sides) if turn % 2 == 0 else reversed(sides):
            ask = _rated if at_rate else _alone
            found[name].append(ask(ground, sides[name], next(numbers), ground.scale.commands))
    return found


def _alone(ground: Ground, server: Server, first: int, times: int) -> list[float]:
    task = _task(ground, server, first, times)
    found: list[float] = load("one_by_one", server.port, pause=PAUSE, **task)["to_effect"]
    return found


def _rated(ground: Ground, server: Server, first: int, times: int) -> list[float]:
    rate = {"rate": ground.scale.command_rate, "patience": ground.scale.patience}
    result = load("on_schedule", server.port, **rate, **_task(ground, server, first, times))
    if result["missing"]:
        raise NotMeasured(f"{result['missing']} of {times} commands were never run: {result['statuses']}")
    found: list[float] = result["to_effect"]
    return found


def _task(ground: Ground, server: Server, first: int, times: int) -> dict[str, Any]:
    task = {"name": RUNNING, "folder": str(ground.folder), "first": first, "distinct": times}
    return task | ({"path": server.path} if isinstance(server, Webhook) else {})


def _pair(title: str, measured: Measured, goal: Goal | None) -> list[Row]:
    found = []
    for name, share in ((f"{title}: p50", 0.5), ("  p99", 0.99)):
        pairs = zip(measured["own"], measured["other"], strict=True)
        ratio = statistics.median(percentile(one, share) / percentile(other, share) for one, other in pairs)
        own, other = (percentile(list(chain(*measured[side])), share) * 1000 for side in ("own", "other"))
        found.append(
            Row(name, own, "ms", other, ratio, goal if share == 0.5 else None, {"seconds": measured})
        )
    return found

"""Commands that hang, flood, fork, ignore SIGTERM or keep pipes open, all at once: each is ended, and the daemon does its work."""

import sys
from pathlib import Path

from tests.faults.daemon import alert, running, until

HANG = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
FLOOD = "import os\nwhile True: os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)"
FORK = "import os, time\nfor _ in range(20):\n    if os.fork() == 0: time.sleep(600)\ntime.sleep(600)"
KEEP = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(6); os._exit(0)"
CODES = {"hang": HANG, "flood": FLOOD, "fork": FORK, "keep": KEEP, "fail": "import sys; sys.exit(7)"}
RULE = """
  - name: {name}
    match: alertname="{name}"
    do: [{{exec: {{argv: [{python}, "{folder}/{name}.py", "{folder}"]}}, timeout: 2s}}]
"""
FINE = """
  - name: fine
    match: alertname="fine"
    target: "{{ labels.n }}"
    do: [{exec: {argv: [echo, "{{ labels.n }}"]}}]
    guard: {budget: 1000/1h, budget_global: 1000/1h}
"""


def alive(folder: Path) -> list[str]:
    """Return the command lines of all processes that were started by the rules."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            line = (each / "cmdline").read_bytes().decode() if each.name.isdigit() else ""
            stat = (each / "stat").read_text().rpartition(")")[2].split()[0] if line else ""
        except OSError:
            continue
        if line.endswith(f"{folder}\0") and ".py" in line and stat != "Z":
            found.append(line)
    return found


async def test_commands_that_misbehave_are_ended_in_time_and_keep_nobody_from_working(tmp_path: Path):
    rules = "rules:\n" + FINE
    for name, code in CODES.items():
        (tmp_path / f"{name}.py").write_text(code)
        rules += RULE.format(name=name, folder=tmp_path, python=sys.executable)
    async with running(tmp_path, rules) as daemon:
        before = daemon.rss
        assert await daemon.post(*(alert(name) for name in CODES)) == 200
        await until(lambda: len(alive(tmp_path)) >= 3)
        assert await daemon.post(*(alert("fine", n=str(n)) for n in range(5))) == 200
        await until(
            lambda: len([one for one in daemon.logged("mitigated") if one["rule"] == "shop/fine"]) == 5
        )
        await until(lambda: len(daemon.logged("handed_over")) == 4)
        await until(lambda: not [line for line in alive(tmp_path) if "keep" not in line])
        assert daemon.peak - before < 60
        outcome = {one["rule"].partition("/")[2]: one for one in await daemon.incidents()}
        for name in ("hang", "flood", "fork"):
            assert outcome[name]["handed_over"], name
        assert outcome["keep"]["phase"] == "mitigated"
        assert "exited with 7" in daemon.logged("step_failed")[0]["why"]
        assert await daemon.metric("actions_total", action="exec", result="unknown") >= 3
        assert await daemon.metric("actions_total", action="exec", result="failed") == 1
        await until(lambda: daemon.descriptors < 40)

"""Prometheus, Alertmanager, a contact and a web service are away, hang, drip, or answer without sense or end."""

from pathlib import Path

from tests.faults.daemon import Daemon, alert, running, until
from tests.faults.outside import Manner, Outside, outside

RULES = """
rules:
  - name: call
    match: alertname="Call"
    target: "{{{{ labels.n }}}}"
    do: [{{http: {{url: "{url}/act/{{{{ labels.n }}}}"}}, timeout: 1s}}]
    verify:
      - {{promql: up, is: "== 1", after: 0s, every: 200ms, timeout: 1s, within: 2s}}
      - {{http: {{url: "{url}/verify"}}, every: 200ms, timeout: 1s, within: 2s}}
    escalate: [{{when: opened, notify: [default]}}]
    guard: {{budget: 100/1h, budget_global: 100/1h}}
"""
SITE = "contacts: {default: {url_env: STOPGAP_CONTACT_DEFAULT}}\n"
BAD = [manner for manner in Manner if manner is not Manner.WELL]
HEARD = [Manner.HANGS, Manner.DRIPS, Manner.HUGE, Manner.ENDLESS]
"""In these the contact is waited for: each would hold a thread, or take memory, for as long as it likes."""


async def wait_for(daemon: Daemon, there: float, *dependencies: str) -> None:
    async def seen() -> bool:
        return all([await daemon.metric("dependency_up", dependency=one) == there for one in dependencies])

    await until(seen, within=30)


async def fare(daemon: Daemon, world: Outside, manner: Manner) -> None:
    """Let an incident meet the outside as it is now."""
    await world.behave(manner)
    assert await daemon.post(alert("Call", n=manner)) == 200
    await wait_for(daemon, 0, "prometheus", "alertmanager")

    async def over() -> bool:
        found = {one["target"]: one for one in await daemon.incidents()}
        one = found[manner]
        return one["handed_over"] or one["phase"] in ("verifying", "mitigated")

    await until(over)
    if manner in HEARD:
        await until(lambda: world.asked["/contact", manner], within=30)
        await wait_for(daemon, 0, "contacts")


async def test_whatever_the_outside_does_memory_is_bounded_and_all_of_it_is_told_in_the_end(tmp_path: Path):
    (tmp_path / "patience").write_text("1")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "site.yaml").write_text(SITE)
    async with outside() as world:
        given = {"prometheus": world.url, "alertmanager": world.url, "poll_every": "1s"}
        given["contact_default"] = f"json://127.0.0.1:{world.port}/contact"
        async with running(tmp_path, RULES.format(url=world.url), **given) as daemon:
            await wait_for(daemon, 1, "prometheus")
            await daemon.post(alert("Call", n="first"))
            await until(lambda: world.told, within=30)  # what sends messages is in memory now
            before = daemon.rss
            for manner in BAD:
                await fare(daemon, world, manner)
            await world.behave(Manner.WELL)
            await wait_for(daemon, 1, "prometheus", "alertmanager", "contacts")
            await until(lambda: len(daemon.logged("notified")) >= 1 + len(BAD), within=60)
            assert daemon.peak - before < 250
            assert daemon.rss - before < 60
            assert daemon.descriptors < 40
            results = {one["target"]: one["timeline"] for one in await with_timelines(daemon)}
            assert "step_failed" in results[Manner.DOWN]  # nobody took it: known not done
            assert "step_failed" in results[Manner.CIRCLE]  # what redirects is not who was asked
            for manner in (Manner.HANGS, Manner.DRIPS):
                assert "step_unknown" in results[manner]
            for manner in (Manner.GARBAGE, Manner.HUGE, Manner.ENDLESS):
                assert "step_succeeded" in results[manner]  # 200 is 200, whatever follows it


async def with_timelines(daemon: Daemon) -> list[dict]:
    found = await daemon.incidents()
    return [one | {"timeline": {e["event"] for e in await daemon.timeline(one["id"])}} for one in found]

"""AskProAI's own steps and probes, as its rules plan them, on the strict double of Cloudflare, a real git and real files."""

import os
import subprocess
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from tests.doubles.cloudflare import USERS_TOKEN, running_cloudflare

from stopgap.action import Moment, Restored
from stopgap.config import load
from stopgap.plan import Plan, plan, plan_probes
from stopgap.probe import Verdict
from stopgap.stock import bare_context, build_catalog
from stopgap.template import Scope

RULES = Path(__file__).parents[2] / "rules" / "askproai"
CATALOG = build_catalog(bare_context())
FEW = timedelta(seconds=10)


class Pack:
    """The rules under vars of a test, and what of them is asked or done in one incident."""

    def __init__(self, incident: str = "INC-1", **given: object) -> None:
        texts = {name: str(value) for name, value in given.items()}
        self._rules = {rule.name: rule for rule in load(RULES, CATALOG, vars=texts, environ={}).rules}
        self._incident = incident

    def _rung(self, rule: str, name: str) -> int:
        return next(i for i, rung in enumerate(self._rules[rule].ladder) if rung.name == name)

    def step(self, rule: str, rung: str, words: str):
        """Return one step by a piece of its words or its title."""
        planned = plan(self._rules[rule], self._rung(rule, rung), CATALOG, self._scope(rule))
        assert isinstance(planned, Plan)
        return next(step for step in planned.steps if words in step.action.describe(step.params))

    async def act(self, rule: str, rung: str, words: str):
        """Do one step; return what takes it back."""
        step = self.step(rule, rung, words)
        moment = Moment(
            f"{self._incident}/{rung}/{words}", FEW, f"askproai/{rule}", "askproai", self._incident
        )
        before = await step.action.observe(step.params, moment)
        receipt = await step.action.run(step.params, before, moment)
        return lambda: step.action.revert(step.params, before, receipt, moment)

    async def preconditions(self, rule: str, rung: str) -> list[Verdict]:
        """Ask the commands of `only_if`."""
        return await self._ask(rule, self._rules[rule].ladder[self._rung(rule, rung)].only_if)

    async def recovered(self, rule: str) -> list[Verdict]:
        """Ask the commands of `recovered`."""
        return await self._ask(rule, self._rules[rule].recovered)

    async def _ask(self, rule: str, probes) -> list[Verdict]:
        found = plan_probes(probes, CATALOG, self._scope(rule))
        return [(await one.probe.ask(one.params, FEW)).verdict for one in found if one.probe.name == "exec"]

    def _scope(self, rule: str) -> Scope:
        known = self._rules[rule].vars
        return Scope(
            vars=known, labels={}, annotations={}, target="askproai", incident_id=self._incident, secrets={}
        )


@pytest.mark.parametrize("proxied", [True, False])
@pytest.mark.parametrize("rule", ["site-down", "database-down"])
async def test_guests_are_led_to_the_backup_and_back_whether_cloudflare_proxies_or_not(
    rule, proxied, monkeypatch
):
    with running_cloudflare() as cloudflare:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", cloudflare.url)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", USERS_TOKEN)
        made = cloudflare.add_record("api.example.com", "A", "203.0.113.10", 300, proxied=proxied)
        was = dict(made)
        pack = Pack(zone="cloudflare://example.com", record="api.example.com")
        back = await pack.act(rule, "backup server", "point ")
        assert made == {**was, "content": "203.0.113.20"}
        assert (await back()).result is Restored.REVERTED
        assert made == was


def _commit(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(name)
    login = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", tree, "add", "."], check=True)
    subprocess.run(["git", "-C", tree, *login, "commit", "-q", "-m", name], check=True)


async def test_a_release_has_a_migration_to_undo_or_none_and_only_one_of_two_rungs_is_for_it(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    pack = Pack(app=tmp_path)
    for name, has_one in [("a", False), ("b", False), ("database/migrations/c.php", True), ("d", False)]:
        _commit(tmp_path, name)
        if name == "a":
            continue  # there is no release before it
        yes, no = (Verdict.HEALTHY, Verdict.UNHEALTHY)[:: 1 if has_one else -1]
        assert await pack.preconditions("site-down", "release and schema before") == [yes]
        assert await pack.preconditions("site-down", "release before") == [no]


async def test_everybodys_history_is_evidence_and_what_only_looks_like_one_is_left(tmp_path):
    for name in ("anna", "bob", "eve", "eve/deep"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home/anna/.bash_history").write_text("ls")
    (tmp_path / "home/eve/deep/.bash_history").write_text("too deep")
    (tmp_path / "home/bob/.bash_history").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "home/eve/.bash_history")  # who opens it waits for ever
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for incident, typed in (("INC-1", "ls"), ("INC-2", "ls; rm")):
        (tmp_path / "home/anna/.bash_history").write_text(typed)
        pack = Pack(incident, homes=tmp_path / "home", evidence=evidence)
        await pack.act("security-breach", "evidence", ".bash_history -exec")
    kept = {}
    for path in evidence.iterdir():
        with tarfile.open(path) as archive:
            kept[path.name] = archive.getnames()
    anna = str(tmp_path / "home" / "anna" / ".bash_history").removeprefix("/")
    assert kept == {"histories-INC-1.tar.gz": [anna], "histories-INC-2.tar.gz": [anna]}


async def test_an_all_clear_is_that_of_this_incident(tmp_path):
    (tmp_path / "INC-1").touch()
    assert await Pack("INC-1", all_clear=tmp_path).recovered("security-breach") == [Verdict.HEALTHY]
    assert await Pack("INC-2", all_clear=tmp_path).recovered("security-breach") == [Verdict.UNHEALTHY]

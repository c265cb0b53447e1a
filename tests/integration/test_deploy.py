"""The files of deploy/ are accepted by the programs that will read them, and grant no more than they say."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MANAGE = "org.freedesktop.systemd1.manage-units"


def run(*argv: str, cwd: Path = DEPLOY) -> subprocess.CompletedProcess[str]:
    """Run a checker; a missing one is a failure that names it."""
    assert shutil.which(argv[0]), f"{argv[0]} is not installed: `make test` as root installs it"
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def load(name: str):
    return YAML(typ="safe").load((DEPLOY / name).read_text())


def test_alertmanager_accepts_its_configuration():
    result = run("amtool", "check-config", "alertmanager.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_accepts_its_configuration_and_the_paging_rules():
    result = run("promtool", "check", "config", "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_person_is_paged_unless_a_mitigation_of_every_firing_alert_is_held():
    result = run("promtool", "test", "rules", "paging.test.yml")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"alertname": "PMSCircuitBreakerOpen", "severity": "critical"}, "stopgap,people"),
        ({"alertname": "PageAPerson", "severity": "page"}, "pager"),
        ({"alertname": "StopgapMitigationHeld"}, "nobody"),
        ({"alertname": "StopgapDown"}, "people"),
        ({"alertname": "Watchdog", "severity": "none"}, "stopgap,watchdog"),
    ],
)
def test_each_alert_is_routed_to_whom_it_is_for(labels, receivers):
    pairs = [f"{name}={value}" for name, value in labels.items()]
    result = run("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *pairs)
    assert result.stdout.strip() == receivers, result.stderr


def test_stopgap_receives_everything_authenticated_and_untruncated():
    receivers = {receiver["name"]: receiver for receiver in load("alertmanager.yml")["receivers"]}
    (webhook,) = receivers["stopgap"]["webhook_configs"]
    assert webhook["url"] == "http://127.0.0.1:9797/webhook"
    assert webhook["send_resolved"] is True
    assert webhook["max_alerts"] == 0
    assert webhook["http_config"]["authorization"]["credentials_file"]


def test_the_watchdog_is_repeated_more_often_than_its_absence_is_noticed():
    routes = [
        r
        for r in load("alertmanager.yml")["route"]["routes"]
        if 'alertname="Watchdog"' in r.get("matchers", ())
    ]
    assert {route["receiver"]: route["repeat_interval"] for route in routes} == {
        "stopgap": "5m",
        "watchdog": "1m",
    }
    receivers = {receiver["name"]: receiver for receiver in load("alertmanager.yml")["receivers"]}
    assert receivers["watchdog"]["webhook_configs"][0]["send_resolved"] is False


def test_only_the_page_is_ever_inhibited():
    (inhibition,) = load("alertmanager.yml")["inhibit_rules"]
    assert inhibition["target_matchers"] == ['alertname="PageAPerson"']
    assert inhibition["equal"] == ["cause"]


@pytest.fixture
def unit(tmp_path):
    """Return a copy of the unit and its drop-in whose program exists on this machine."""
    shutil.copytree(DEPLOY / "stopgap.service.d", tmp_path / "stopgap.service.d")
    text = (DEPLOY / "stopgap.service").read_text()
    assert "ExecStart=/opt/stopgap/bin/stopgap serve\n" in text
    path = tmp_path / "stopgap.service"
    path.write_text(text.replace("/opt/stopgap/bin/stopgap", shutil.which("true") or "/bin/true"))
    return path


def test_systemd_understands_every_line_of_the_unit_and_its_drop_in(unit):
    result = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert (result.returncode, result.stderr) == (0, "")


def test_systemd_rates_the_unit_as_little_exposed(unit):
    result = run("systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit))
    assert result.returncode == 0, result.stdout[-400:]


def test_the_unit_alone_cannot_act_and_the_drop_in_lets_it():
    assert "Environment=STOPGAP_MODE=shadow\n" in (DEPLOY / "stopgap.service").read_text()
    assert "ReadWritePaths" not in (DEPLOY / "stopgap.service").read_text()
    assert "Environment=STOPGAP_MODE=auto\n" in (DEPLOY / "stopgap.service.d" / "acting.conf").read_text()


HARNESS = """
var rule = null;
var polkit = {Result: {YES: "yes", NOT_HANDLED: "not handled"}, addRule: function (f) { rule = f; }};
%s
var asked = %s;
print(rule({id: asked.id, lookup: function (key) { return asked[key]; }}, {user: asked.user}));
"""


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({}, "yes"),
        ({"unit": "ssh.service"}, "not handled"),
        ({"unit": "agente-hotel.service.evil"}, "not handled"),
        ({"unit": "constructor"}, "not handled"),
        ({"unit": None}, "not handled"),
        ({"verb": "stop"}, "not handled"),
        ({"verb": "set-property"}, "not handled"),
        ({"user": "www-data"}, "not handled"),
        ({"id": "org.freedesktop.systemd1.manage-unit-files"}, "not handled"),
    ],
)
def test_polkit_lets_stopgap_restart_the_named_unit_and_nothing_else(tmp_path, change, answer):
    asked = {"id": MANAGE, "user": "stopgap", "unit": "agente-hotel.service", "verb": "restart"} | change
    script = tmp_path / "ask.js"
    script.write_text(HARNESS % ((DEPLOY / "50-stopgap.rules").read_text(), json.dumps(asked)))
    result = run("duk", str(script))
    assert (result.stdout.strip(), result.stderr) == (answer, "")


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(keyword, rest.strip()) for keyword, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_is_slim_and_downloads_nothing_by_address():
    bases = [rest for keyword, rest in instructions() if keyword == "FROM"]
    assert all(re.match(r"python:3\.1[1-9]-slim-\w+( AS \w+)?$", base) for base in bases), bases
    assert "ADD" not in dict(instructions())
    assert not [
        rest for keyword, rest in instructions() if keyword == "RUN" and re.search(r"curl|wget|https?:", rest)
    ]


def test_the_image_does_not_run_as_root():
    last_stage = instructions()[
        max(i for i, (keyword, _) in enumerate(instructions()) if keyword == "FROM") :
    ]
    users = [rest for keyword, rest in last_stage if keyword == "USER"]
    assert users
    assert all(int(user.split(":")[0]) > 0 for user in users)
    after_user = [keyword for keyword, _ in last_stage[[k for k, _ in last_stage].index("USER") :]]
    assert "RUN" not in after_user
    assert "COPY" not in after_user


def test_the_image_asks_its_own_health_with_the_python_it_has():
    health = dict(instructions())["HEALTHCHECK"]
    argv = json.loads(health[health.index("[") :])
    assert argv[:2] == ["python", "-c"]
    compile(argv[2], "HEALTHCHECK", "exec")
    assert "http://127.0.0.1:9797/-/healthy" in argv[2]


def test_the_composed_container_has_no_power_that_it_does_not_need():
    service = load("compose.yaml")["services"]["stopgap"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert not [name for name in service["environment"] if name.endswith("_TOKEN")]


def test_every_file_of_the_folder_is_explained_in_its_readme():
    readme = (DEPLOY / "README.md").read_text()
    files = [path.relative_to(DEPLOY) for path in DEPLOY.rglob("*") if path.is_file()]
    names = {str(path).removesuffix(".dockerignore") for path in files} - {"README.md"}
    assert not {name for name in names if name not in readme}

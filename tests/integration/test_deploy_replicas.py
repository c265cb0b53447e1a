"""The examples with replicas hold together: what they set exists, what they name is there, what they promise is in the image."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kubernetes_asyncio.client import models
from ruamel.yaml import YAML
from sqlalchemy import make_url
from tests.integration.test_deploy import DEPLOY, instructions, load, run
from typer.testing import CliRunner

from stopgap.cli import app
from stopgap.settings import Settings

COMPOSE = "compose.replicas.yaml"
USER = 10797
OF_THE_SITE = ("STOPGAP_CONTACT_", "STOPGAP_SECRET_")
PRIMITIVES = {"str": str, "int": int, "bool": bool, "float": float, "object": object}
HOST, ENTRY = re.compile(r"http://([\w.-]+):(\d+)"), re.compile(r"(list|dict)[\[(](?:str, )?(.+)[\])]")


def manifests() -> dict[str, Any]:
    documents = YAML(typ="safe").load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {each["kind"]: each for each in documents}


def pod() -> dict[str, Any]:
    return manifests()["Deployment"]["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return only


def replicas() -> dict[str, Any]:
    return {name: each for name, each in load(COMPOSE)["services"].items() if name.startswith("stopgap")}


def known(names: Iterator[str] | list[str]) -> bool:
    fields = {f"STOPGAP_{field.upper()}" for field in Settings.model_fields}
    return all(
        name.removesuffix("_FILE") in fields or name in fields or name.startswith(OF_THE_SITE)
        for name in names
        if name.startswith("STOPGAP_")
    )


# --- Kubernetes ---


def build(kind: str, given: Any, place: str) -> Any:
    """Make the client's own model of a document, generated from the schema of the API: an unknown key fails, a missing one too."""
    if entry := ENTRY.fullmatch(kind):
        if entry[1] == "list":
            assert isinstance(given, list), place
            return [build(entry[2], each, f"{place}[{i}]") for i, each in enumerate(given)]
        assert isinstance(given, dict), place
        return {name: build(entry[2], each, f"{place}.{name}") for name, each in given.items()}
    if kind in PRIMITIVES:
        assert isinstance(given, PRIMITIVES[kind]), f"{place} is {given!r}, {kind} is wanted"
        return given
    model = getattr(models, kind)
    if not hasattr(model, "attribute_map"):  # a type of Go's that is a text or a number
        return given
    names = {theirs: ours for ours, theirs in model.attribute_map.items()}
    assert not given.keys() - names.keys(), f"{place}: {kind} has no {given.keys() - names.keys()}"
    fields = {
        names[name]: build(model.openapi_types[names[name]], value, f"{place}.{name}")
        for name, value in given.items()
    }
    return model(**fields)


@pytest.mark.parametrize("kind", list(manifests()))
def test_each_manifest_is_what_the_schema_of_kubernetes_says(kind):
    document = manifests()[kind]
    *_, version = document["apiVersion"].split("/")
    build(f"{version.capitalize()}{kind}", document, kind)


def test_a_manifest_with_a_word_that_there_is_not_would_be_found():
    assert isinstance(models, ModuleType)
    with pytest.raises(AssertionError, match="V1ServicePort has no"):
        build("V1Service", {"spec": {"ports": [{"port": 1, "targtPort": 1}]}}, "Service")
    with pytest.raises(ValueError, match="`port`"):
        build("V1Service", {"spec": {"ports": [{"name": "x"}]}}, "Service")


def test_the_pods_carry_the_labels_by_which_all_others_find_them():
    found = manifests()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    (term,) = pod()["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert labels == found["Deployment"]["spec"]["selector"]["matchLabels"]
    assert labels == found["Service"]["spec"]["selector"]
    assert labels == found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert labels == term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert {each["metadata"].get("namespace") for each in found.values()} == {None, "ops"}


def test_there_are_two_pods_and_a_rollout_or_a_drain_takes_no_more_than_one_away():
    spec = manifests()["Deployment"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert manifests()["PodDisruptionBudget"]["spec"]["minAvailable"] < spec["replicas"]


def test_ports_and_probes_are_those_of_the_daemon():
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    (service,) = manifests()["Service"]["spec"]["ports"]
    assert ports[service["targetPort"]] == service["port"] == int(dict(instructions())["EXPOSE"])
    probes = {name: container()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: each["path"] for name, each in probes.items()} == {
        "startup": "/-/healthy",
        "liveness": "/-/healthy",
        "readiness": "/-/ready",
    }
    assert all(each["port"] in ports for each in probes.values())


def environment() -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container()["env"]}


def test_each_setting_of_the_pod_exists_and_no_secret_is_one_of_them():
    assert known(list(environment()))
    secret = {
        f"STOPGAP_{name.upper()}" for name, field in Settings.model_fields.items() if "Secret" in str(field)
    }
    assert not environment().keys() & secret
    assert environment()["STOPGAP_PEER_URL"] == "http://$(POD_IP):9797"
    assert "POD_IP" in environment()


def test_each_file_that_the_pod_names_is_mounted():
    mounts = {each["mountPath"]: each["name"] for each in container()["volumeMounts"]}
    volumes = {each["name"]: each for each in pod()["volumes"]}
    files = [Path(value) for name, value in environment().items() if name.endswith("_FILE")]
    assert len(files) == 4
    for file in files:
        secret = volumes[mounts[str(file.parent)]]["secret"]
        assert secret["secretName"] == manifests()["Secret"]["metadata"]["name"]
        assert file.name in manifests()["Secret"]["stringData"]
    assert volumes[mounts["/etc/stopgap/rules"]]["configMap"]["name"] == "stopgap-rules"
    assert {"/etc/stopgap/rules", "/var/lib/stopgap"} <= mounts.keys()
    assert "emptyDir" in volumes[mounts["/tmp"]]
    make_url(manifests()["Secret"]["stringData"]["database.url"])


def test_the_pod_has_no_power_that_it_does_not_need():
    assert manifests()["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod()["automountServiceAccountToken"] is False
    whole, own = pod()["securityContext"], container()["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"], whole["fsGroup"]) == (True, USER, USER)
    assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert not {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"} & manifests().keys()


def test_the_role_in_the_readme_is_for_the_account_of_the_pod():
    readme = (DEPLOY / "README.md").read_text()
    account = manifests()["ServiceAccount"]["metadata"]
    assert f"{{kind: ServiceAccount, name: {account['name']}, namespace: {account['namespace']}}}" in readme


def test_the_rules_in_the_config_map_are_sound_as_a_pod_finds_them(tmp_path):
    """A mounted ConfigMap is a folder of links into a hidden one."""
    hidden = tmp_path / "..2026_11_21_09_00_00.1"
    hidden.mkdir()
    (tmp_path / "..data").symlink_to(hidden.name)
    for name, text in manifests()["ConfigMap"]["data"].items():
        (hidden / name).write_text(text)
        (tmp_path / name).symlink_to(f"..data/{name}")
    said = CliRunner().invoke(
        app,
        ["check", "--strict", str(tmp_path)],
        env={"COLUMNS": "80", "STOPGAP_CONTACT_DEFAULT": "json://x"},
    )
    assert said.exit_code == 0, said.output
    assert "1 rule" in said.output


# --- Compose ---


def test_each_setting_of_the_composed_replicas_exists_and_the_secrets_are_files_that_are_given():
    composed = load(COMPOSE)
    for service in composed["services"].values():
        assert known(list(service["environment"]))
        files = [value for name, value in service["environment"].items() if name.endswith("_FILE")]
        assert files
        assert sorted(files) == sorted(f"/run/secrets/{name}" for name in service["secrets"])
        assert not composed["secrets"].keys() & {
            name for name in service["environment"] if "TOKEN" in name and not name.endswith("_FILE")
        }
    used = {name for service in composed["services"].values() for name in service["secrets"]}
    assert used == composed["secrets"].keys()


def test_each_composed_replica_is_reached_under_its_own_name():
    for name, service in replicas().items():
        host, port = HOST.fullmatch(service["environment"]["STOPGAP_PEER_URL"]).groups()
        assert (host, port) == (name, dict(instructions())["EXPOSE"])
        assert name in service["environment"]["STOPGAP_HOSTS"].split(",")
    assert len(replicas()) == 2
    published = [port for service in replicas().values() for port in service["ports"]]
    assert len(set(published)) == 2
    assert all(port.startswith("127.0.0.1:") and port.endswith(":9797") for port in published)


def test_the_composed_replicas_differ_in_nothing_but_their_names():
    one, two = ({**each} for each in replicas().values())
    for each in (one, two):
        each["environment"] = {k: v for k, v in each["environment"].items() if k != "STOPGAP_PEER_URL"}
        del each["ports"]
    assert one == two


def test_the_composed_replicas_have_no_power_that_they_do_not_need_and_come_back():
    for service in replicas().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert any(f"uid={USER}," in each for each in service["tmpfs"])
        assert service["restart"] == "unless-stopped"
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    postgres = load(COMPOSE)["services"]["postgres"]
    assert postgres["restart"] == "unless-stopped"
    assert postgres["healthcheck"]["test"][0] == "CMD"
    assert not [name for name in postgres["environment"] if name == "POSTGRES_PASSWORD"]
    assert {each.split(":")[0] for each in postgres["volumes"]} == load(COMPOSE)["volumes"].keys()


# --- the image, and what the readme says beside ---


def test_the_image_can_speak_to_postgres_and_to_kubernetes():
    installs = [rest for keyword, rest in instructions() if keyword == "RUN" and ".[" in rest]
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', "".join(installs))
    assert {"postgres", "kubernetes"} <= set(extras.split(","))
    assert json_of("ENTRYPOINT") == '["stopgap"]'
    assert f"USER {USER}:{USER}" in (DEPLOY / "Dockerfile").read_text()
    assert "HEALTHCHECK" in dict(instructions())


def json_of(keyword: str) -> str:
    return dict(instructions())[keyword]


def snippet(after: str) -> str:
    readme = (DEPLOY / "README.md").read_text()
    section = readme[readme.index("## Two or more replicas") :]
    return section[section.index(after) :].split("```yaml\n", 1)[1].split("```", 1)[0]


def test_alertmanager_accepts_a_receiver_that_reaches_both_replicas(tmp_path):
    config = load("alertmanager.yml")
    (receiver,) = YAML(typ="safe").load(snippet("Alertmanager"))
    assert [HOST.match(each["url"])[1] for each in receiver["webhook_configs"]] == list(replicas())
    config["receivers"] = [each for each in config["receivers"] if each["name"] != "stopgap"] + [receiver]
    with (tmp_path / "alertmanager.yml").open("w") as file:
        YAML(typ="safe").dump(config, file)
    result = run("amtool", "check-config", "alertmanager.yml", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_accepts_the_job_that_finds_each_pod(tmp_path):
    (job,) = YAML(typ="safe").load(snippet("Prometheus"))
    assert job.pop("kubernetes_sd_configs") == [{"role": "endpoints", "namespaces": {"names": ["ops"]}}]
    job["static_configs"] = [
        {"targets": ["a:9797"]}
    ]  # Debian builds Prometheus without a client of Kubernetes
    with (tmp_path / "prometheus.yml").open("w") as file:
        YAML(typ="safe").dump({"scrape_configs": [job]}, file)
    result = run("promtool", "check", "config", "--syntax-only", "prometheus.yml", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr

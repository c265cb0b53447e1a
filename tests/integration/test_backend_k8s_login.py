"""The login to Kubernetes: a kubeconfig or a pod's service account; its token goes to nobody else, and into no error and no log."""

import logging
import ssl
import subprocess
from datetime import timedelta

import pytest
from tests.doubles.k8s import TOKEN, Cluster
from tests.doubles.k8s_login import kubeconfig, logged_out, running_cluster
from tests.doubles.threaded import answering
from tests.prometheus_server import free_port

from stopgap.backends import locate
from stopgap.backends.capability import Restartable
from stopgap.errors import ActionError

AT = "k8s://shop/deployment/api"
SOON = timedelta(seconds=10)


@pytest.fixture
def login(tmp_path, monkeypatch):
    file = logged_out(tmp_path, monkeypatch)
    monkeypatch.setenv("KUBECONFIG", str(file))
    return file


async def told(attempt) -> str:
    with pytest.raises(ActionError) as said:
        await attempt
    return str(said.value)


async def test_a_login_that_is_not_taken_is_said_and_its_token_is_in_no_error_and_no_log(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG)
    with running_cluster(tmp_path, monkeypatch):
        file = tmp_path / "config"
        file.write_text(file.read_text().replace(TOKEN, "other-hush"))
        text = await told(locate(AT, Restartable).observe(SOON))
    assert "(401): Unauthorized: the login is not taken: set KUBECONFIG" in text
    assert "hush" not in text + caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "hush",
        "{hush: [",
        '{"current-context": "a"}',
        kubeconfig("https://h:1", "hush").replace('"c"', '"d"', 1),
        kubeconfig("https://h:1").replace(
            '"token": "sa-token-1"', '"exec": {"command": "hush", "apiVersion": "v1"}'
        ),
    ],
)
async def test_a_kubeconfig_that_is_none_is_said_without_what_it_holds(login, text):
    login.write_text(text)
    said = await told(locate(AT, Restartable).observe(SOON))
    assert "the login for Kubernetes cannot be used" in said
    assert "hush" not in said


async def test_without_a_login_the_cure_is_said(tmp_path, monkeypatch):
    logged_out(tmp_path, monkeypatch)
    assert "set KUBECONFIG to the name of a file" in await told(locate(AT, Restartable).observe(SOON))


async def test_a_server_that_is_away_or_without_tls_gets_no_token(login):
    login.write_text(kubeconfig(f"http://127.0.0.1:{free_port()}"))
    assert "cannot be reached" in await told(locate(AT, Restartable).observe(SOON))
    login.write_text(kubeconfig("http://192.0.2.7"))
    assert "without TLS that is checked" in await told(locate(AT, Restartable).observe(SOON))


def certificate(folder, name):
    """Make a certificate that is its own authority; return its file and that of its key."""
    key, file = folder / f"{name}.key", folder / f"{name}.crt"
    made = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    )
    about = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*made, *about, "-keyout", key, "-out", file], check=True, capture_output=True)
    return file, key


async def test_a_pod_uses_its_service_account_and_believes_only_its_authority(tmp_path, monkeypatch):
    from kubernetes_asyncio.config import incluster_config as pod

    logged_out(tmp_path, monkeypatch)
    authority, key = certificate(tmp_path, "kubernetes")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority, key)
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setattr(pod, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(pod, "SERVICE_CERT_FILENAME", str(authority))
    double = Cluster()
    double.deploy("api", "api:1")
    with answering(double.answer, tls=tls) as port:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        assert (await locate(AT, Restartable).observe(SOON)).up
        monkeypatch.setattr(pod, "SERVICE_CERT_FILENAME", str(certificate(tmp_path, "other")[0]))
        assert "certificate of Kubernetes' API is not one" in await told(
            locate(AT, Restartable).observe(SOON)
        )

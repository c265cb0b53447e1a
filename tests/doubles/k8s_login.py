"""How a test gets a login to the double of Kubernetes' API, and no login that is not the test's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.doubles.k8s import TOKEN, Cluster
from tests.doubles.threaded import answering


def kubeconfig(server: str, token: str = TOKEN) -> str:
    """Write a kubeconfig; JSON is YAML."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
    )


def logged_out(folder: Path, monkeypatch: Any) -> Path:
    """Hide every login of this machine; return the file that KUBECONFIG may name."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder / "config"


@contextmanager
def running_cluster(folder: Path, monkeypatch: Any) -> Iterator[Cluster]:
    """Serve until the block ends: the Deployment `api` with two releases, the StatefulSet `db`, the ConfigMap `api`."""
    file = logged_out(folder, monkeypatch)
    monkeypatch.setenv("KUBECONFIG", str(file))
    double = Cluster()
    double.deploy("api", "api:1")
    double.deploy("api", "api:2")
    double.deploy("db", "db:1", kind="statefulsets")
    double.configure("api", {"PMS_TYPE": "qloapps", "CACHE_TTL": "60"}, binaryData={"LOGO": "AAAA"})
    with answering(double.answer) as port:
        file.write_text(kubeconfig(f"http://127.0.0.1:{port}"))
        yield double

"""What the controllers of a cluster do at once here: ReplicaSets with their revisions, and pods that are rolled over."""

import copy
import hashlib
import json
import re
import uuid
from typing import Any

REVISION = "deployment.kubernetes.io/revision"


def made(name: str, kind: str, replicas: int) -> dict[str, Any]:
    """Return a workload as the server keeps it, with what it fills in."""
    container = {"name": "main", "image": "", "resources": {}, "imagePullPolicy": "IfNotPresent"}
    template = {
        "metadata": {"creationTimestamp": None, "labels": {"app": name}},
        "spec": {"containers": [container], "restartPolicy": "Always", "securityContext": {}},
    }
    expressions = [{"key": "tier", "operator": "NotIn", "values": ["test", "old"]}]
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}, "matchExpressions": expressions},
        "template": template,
    }
    about = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "1", "generation": 0}
    return {"apiVersion": "apps/v1", "kind": kind[:-1].title(), "metadata": about, "spec": spec, "status": {}}


def labels_match(labels: dict[str, str], selector: str) -> bool:
    """Judge a label selector, of the forms `a=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`."""
    for said in re.findall(r"(?:[^,(]|\([^)]*\))+", selector):
        if found := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", said):
            if (labels.get(found[1]) in found[3].split(",")) != (found[2] == "in"):
                return False
        elif "=" in said:
            key, _, value = said.partition("=")
            if labels.get(key) != value:
                return False
        elif (said.lstrip("!") in labels) == said.startswith("!"):
            return False
    return True


def roll(objects: dict[str, list[dict[str, Any]]], kind: str, one: dict[str, Any]) -> None:
    """Bring the pods in line with a workload."""
    name, wanted = one["metadata"]["name"], one["spec"]["replicas"]
    if kind == "deployments":
        owner = _replica_set(objects["replicasets"], one)
    else:
        owner = {"kind": "StatefulSet", "name": name, "uid": f"{one['metadata']['uid']}-{_hash(one)}"}
    pods = [pod for pod in objects["pods"] if pod["metadata"]["ownerReferences"] == [owner]]
    others = [pod for pod in objects["pods"] if _root(pod) != name and pod not in pods]
    names = (
        f"{owner['name']}-{_short() if kind == 'deployments' else at}" for at in range(len(pods), wanted)
    )
    new = [_pod(each, owner, one) for each in names]
    objects["pods"] = [*others, *pods[:wanted], *new]
    one["status"] = {
        "observedGeneration": one["metadata"]["generation"],
        "replicas": wanted,
        "updatedReplicas": wanted,
    }


def _replica_set(all_: list[dict[str, Any]], one: dict[str, Any]) -> dict[str, str]:
    """Return the ReplicaSet of a Deployment's template, as an owner; its number is the highest one from now on."""
    ours = [each for each in all_ if each["metadata"]["ownerReferences"][0]["uid"] == one["metadata"]["uid"]]
    numbers = [int(each["metadata"]["annotations"][REVISION]) for each in ours]
    name = f"{one['metadata']['name']}-{_hash(one)}"
    found = [each for each in ours if each["metadata"]["name"] == name]
    if not found:
        template = copy.deepcopy(one["spec"]["template"])
        template["metadata"]["labels"]["pod-template-hash"] = _hash(one)
        about = {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: "0"},
            "ownerReferences": [
                {"kind": "Deployment", "name": one["metadata"]["name"], "uid": one["metadata"]["uid"]}
            ],
        }
        found = [{"metadata": about, "spec": {"template": template}}]
        all_.append(found[0])
    if not numbers or found[0]["metadata"]["annotations"][REVISION] != str(max(numbers)):
        found[0]["metadata"]["annotations"][REVISION] = str(max(numbers, default=0) + 1)
    return {"kind": "ReplicaSet", "name": name, "uid": f"uid-{name}"}


def _pod(name: str, owner: dict[str, str], one: dict[str, Any]) -> dict[str, Any]:
    about = {
        "name": name,
        "namespace": "shop",
        "uid": str(uuid.uuid4()),
        "labels": dict(one["spec"]["template"]["metadata"]["labels"]),
        "ownerReferences": [owner],
    }
    return {"metadata": about, "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}}


def _root(pod: dict[str, Any]) -> str:
    owner = pod["metadata"]["ownerReferences"][0]
    return owner["name"] if owner["kind"] == "StatefulSet" else owner["name"].rpartition("-")[0]


def _hash(one: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(one["spec"]["template"], sort_keys=True).encode()).hexdigest()[:9]


def _short() -> str:
    return uuid.uuid4().hex[:5]

"""Kubernetes: a Deployment or a StatefulSet, by the API that `kubectl` speaks.

The login is that of `kubectl` (KUBECONFIG, else the pod's service account); the rights that it needs are in `deploy/README.md`.
`restart` stamps the pod template, as `kubectl rollout restart` does; `scale` sets the scale subresource, which a
HorizontalPodAutoscaler would set back; `rollback` puts the pod template of an older ReplicaSet in place, as `kubectl rollout undo`
does, and passes over revisions that were mere restarts. The cluster rolls the pods over by itself: let `verify` wait for that.

To try it by hand, on a cluster such as kind: `kubectl create deployment stopgap-try --image=nginx:1.28 --replicas=2`; `kubectl
set image deployment/stopgap-try nginx=nginx:1.29`; `stopgap check --live` on rules with `restart`, `scale: {count: +1}` and
`rollback` at k8s://default/deployment/stopgap-try; a drill of each; `kubectl rollout history deployment/stopgap-try` and
`kubectl get pods` show them; and `check --live` as a service account without the Role says what it lacks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from stopgap.backends.capability import Restartable, Running, Scalable, Version, Versioned
from stopgap.backends.dsn import need
from stopgap.backends.k8s_api import JSON, MERGE, STRATEGIC, get, listed, patch, try_patching
from stopgap.backends.locator import Locator
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError

_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_STAMP = "kubectl.kubernetes.io/restartedAt"
_REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"
_OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


@dataclass(frozen=True, slots=True)
class _Revision:
    """What a ReplicaSet keeps of a Deployment: which change it was, and its pod template."""

    name: str
    number: int
    template: dict[str, Any]


def parts(locator: Locator, example: str, kinds: tuple[str, ...]) -> tuple[str, str, str]:
    """Return namespace, kind and name of an object. Raises ValueError."""
    need("kubernetes_asyncio", "kubernetes")
    locator.only("authority", "path")
    kind, _, name = locator.path[1:].partition("/")
    if kind not in kinds:
        raise ValueError(f"{str(locator)!r} names no {' or '.join(kinds)}: write {example}")
    if not _NAMESPACE.fullmatch(locator.authority):
        raise ValueError(f"{locator.authority!r} is not the name of a namespace: write {example}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a {kind}: write {example}")
    return locator.authority, kind, name


class K8s(Restartable, Scalable, Versioned):
    """`k8s://namespace/deployment/name`, or `k8s://namespace/statefulset/name` (to restart and to scale)."""

    schemes = ("k8s",)
    example = "k8s://shop/deployment/api"
    measures = ("count",)
    previous = "previous"

    def __init__(self, locator: Locator) -> None:
        self._namespace, self._kind, self._name = parts(locator, self.example, ("deployment", "statefulset"))
        self._all = f"/apis/apps/v1/namespaces/{self._namespace}"
        self._path = f"{self._all}/{self._kind}s/{self._name}"

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"k8s:{self._namespace}/{self._kind}/{self._name}"

    # --- restart ---

    async def observe(self, within: timedelta) -> Running:
        """See the last restart and each pod with its start. The cluster keeps it up: it is, unless it is scaled to 0."""
        there = await get(self._path, within)
        pods = await listed(f"/api/v1/namespaces/{self._namespace}/pods", _selector(there), within)
        starts = {
            str(
                pod["metadata"]["name"]
            ): f"{pod['metadata']['uid']}@{(pod.get('status') or {}).get('startTime', '')}"
            for pod in pods
            if self._owns(pod) and "deletionTimestamp" not in pod["metadata"]
        }
        return Running(bool(_wanted(there)), {_STAMP: _stamp(there), **starts})

    async def restart(self, within: timedelta) -> None:
        """Stamp the pod template. A lost answer is looked up at once: the stamp tells."""
        body = await self._restamped(within)
        try:
            await patch(self._path, STRATEGIC, body, within)
        except Unanswered:
            if _stamp(await get(self._path, within)) != _stamp(body):
                raise

    async def try_restarting(self, within: timedelta) -> None:
        """Let the server judge the new stamp, and see the pods."""
        await try_patching(self._path, STRATEGIC, await self._restamped(within), within)
        await self.observe(within)

    async def _restamped(self, within: timedelta) -> dict[str, Any]:
        """Return the patch that restarts. Raises PermanentError where it would restart nothing."""
        there = _whole(await get(self._path, within), self.name)
        if not _wanted(there):
            raise PermanentError(f"{self.name} is scaled to 0: there is nothing to restart")
        update = there["spec"].get("updateStrategy") or {}
        if update.get("type") == "OnDelete" or (update.get("rollingUpdate") or {}).get("partition"):
            raise PermanentError(f"{self.name} does not roll its pods over by itself: see its updateStrategy")
        annotations = {_STAMP: datetime.now(UTC).isoformat()}  # of the cluster's world, not of an incident's
        return {"spec": {"template": {"metadata": {"annotations": annotations}}}}

    def _owns(self, pod: Mapping[str, Any]) -> bool:
        """Tell whether a pod is one of ours: other ones may have the same labels."""
        for owner in pod["metadata"].get("ownerReferences") or []:
            kind, name = owner.get("kind"), str(owner.get("name"))
            if (kind, name) == ("StatefulSet", self._name):
                return self._kind == "statefulset"
            if kind == "ReplicaSet" and name.rpartition("-")[0] == self._name:
                return self._kind == "deployment"
        return False

    # --- scale ---

    async def size(self, measure: str, within: timedelta) -> int:  # noqa: ARG002 - there is one measure
        """Read how many pods are wanted."""
        scale = await get(f"{self._path}/scale", within)
        return int((scale.get("spec") or {}).get("replicas", 0))  # 0 is left out

    async def resize(self, measure: str, size: int, within: timedelta) -> None:  # noqa: ARG002 - there is one measure
        """Set how many pods are wanted."""
        await patch(f"{self._path}/scale", MERGE, {"spec": {"replicas": size}}, within)

    async def try_resizing(self, measure: str, within: timedelta) -> int:
        """Let the server judge the size that is there."""
        size = await self.size(measure, within)
        await try_patching(f"{self._path}/scale", MERGE, {"spec": {"replicas": size}}, within)
        return size

    # --- roll back ---

    def check(self, to: str) -> None:
        """Take `previous` or the number of a revision; only Deployments have them here."""
        if self._kind != "deployment":
            raise ValueError(f"{self.name} has no ReplicaSets to go back to: only a deployment has")
        if to != self.previous and not _NUMBER.fullmatch(to):
            raise ValueError(
                f"{to[:100]!r} is no revision: write its number, as kubectl rollout history shows it"
            )

    async def current(self, within: timedelta) -> Version:
        """Return the ReplicaSet with the pod template that is in place; its name stays when its number changes."""
        there = await get(self._path, within)
        return Version(_placed(there, await self._revisions(there, within), self.name).name)

    async def find(self, to: str, within: timedelta) -> str:
        """Return the ReplicaSet of a revision; the previous one is the newest that is more than a restart away."""
        there = await get(self._path, within)
        revisions = await self._revisions(there, within)
        now = _plain(_placed(there, revisions, self.name).template, restarts=False)
        for one in revisions:
            if str(one.number) == to or (to == self.previous and _plain(one.template, restarts=False) != now):
                return one.name
        raise PermanentError(f"{self.name} has no revision {to!r} left: see its revisionHistoryLimit")

    async def switch(self, to: Version, within: timedelta) -> None:
        """Put the pod template of a ReplicaSet in place, unless somebody changes the Deployment in this moment (409)."""
        await patch(self._path, JSON, await self._switched(to, within), within)

    async def try_switching(self, to: Version, within: timedelta) -> None:
        """Let the server judge that pod template."""
        await try_patching(self._path, JSON, await self._switched(to, within), within)

    async def _switched(self, to: Version, within: timedelta) -> list[dict[str, Any]]:
        there = _whole(await get(self._path, within), self.name)
        for one in await self._revisions(there, within):
            if one.name == to.name:
                now = there["metadata"]["resourceVersion"]
                return [
                    {"op": "replace", "path": "/metadata/resourceVersion", "value": now},
                    {"op": "replace", "path": "/spec/template", "value": _unhashed(one.template)},
                ]
        raise PermanentError(f"{self.name} has no ReplicaSet {to.name} any more")

    async def _revisions(self, there: Mapping[str, Any], within: timedelta) -> list[_Revision]:
        """List what its ReplicaSets keep, newest first."""
        found = []
        for row in await listed(f"{self._all}/replicasets", _selector(there), within):
            about = row["metadata"]
            owners = [owner.get("uid") for owner in about.get("ownerReferences") or []]
            number = str((about.get("annotations") or {}).get(_REVISION, ""))
            if there["metadata"]["uid"] in owners and _NUMBER.fullmatch(number):
                found.append(_Revision(str(about["name"]), int(number), row["spec"]["template"]))
        return sorted(found, key=lambda one: -one.number)


def _selector(there: Mapping[str, Any]) -> str:
    """Write the labels of an object's pods as a query."""
    selector = there["spec"].get("selector") or {}
    said = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or []:
        values = ",".join(one.get("values") or [])
        said += [_OPERATORS[one["operator"]].format(key=one["key"], values=values)]
    return ",".join(said)


def _wanted(there: Mapping[str, Any]) -> int:
    return int(there["spec"].get("replicas", 1))


def _stamp(there: Mapping[str, Any]) -> str:
    about = there["spec"]["template"].get("metadata") or {}
    return str((about.get("annotations") or {}).get(_STAMP, ""))


def _whole(there: dict[str, Any], name: str) -> dict[str, Any]:
    """Refuse a Deployment that is paused: nothing would come of a new pod template. Raises PermanentError."""
    if there["spec"].get("paused"):
        raise PermanentError(f"{name} is paused: kubectl rollout resume makes it roll out again")
    return there


def _placed(there: Mapping[str, Any], revisions: list[_Revision], name: str) -> _Revision:
    """Return the revision that is in place: by its template, for the numbers follow a change only later."""
    template = _plain(there["spec"]["template"])
    for one in revisions:
        if _plain(one.template) == template:
            return one
    raise TemporaryError(f"the rollout of {name} has not begun: no ReplicaSet has its pod template yet")


def _unhashed(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pod template without the label that a ReplicaSet adds to it."""
    about = template.get("metadata") or {}
    labels = {key: value for key, value in (about.get("labels") or {}).items() if key != _HASH}
    return {**template, "metadata": {**about, "labels": labels}}


def _plain(template: Mapping[str, Any], *, restarts: bool = True) -> Any:
    """Return a pod template as it counts: without that label, and if told so without the stamp of restarts."""
    bare = _unhashed(template)
    if not restarts:
        annotations = bare["metadata"].get("annotations") or {}
        kept = {key: value for key, value in annotations.items() if key != _STAMP}
        bare = {**bare, "metadata": {**bare["metadata"], "annotations": kept}}
    return _said(bare)


def _said(value: Any) -> Any:
    """Leave out what says nothing, as the cluster does where it compares: null, {} and []."""
    if isinstance(value, dict):
        return {key: said for key, each in value.items() if (said := _said(each)) not in (None, {}, [])}
    return [_said(each) for each in value] if isinstance(value, list) else value

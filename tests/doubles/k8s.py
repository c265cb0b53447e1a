"""Double of Kubernetes' API server, and of the controllers behind it: strict about logins, rights, verbs, paths and content types.

Written from kubernetes.io/docs/reference/kubernetes-api (apps/v1, core/v1, autoscaling/v1 Scale, meta/v1 Status) and
/docs/reference/using-api/api-concepts (patches, dry run, resourceVersion, pages). `limited` answers 429 with so many seconds,
`broken` that status, `silent` acts and then hangs up, `slow` waits so many seconds first. `idle` controllers have not looked yet,
`unready` webhooks know no dry run. `forbidden` holds what the login may not do, such as "patch deployments/scale".
"""

import asyncio
import copy
import json
import re
from typing import Any

from aiohttp import web
from tests.doubles.k8s_controllers import labels_match, made, roll
from tests.doubles.k8s_patches import PATCHES, Fault, rejected

TOKEN = "sa-token-1"
USER = "system:serviceaccount:ops:stopgap"
_QUERIES = {
    "get": set(),
    "list": {"labelSelector", "limit", "continue"},
    "patch": {"fieldManager", "dryRun"},
}
_APPS, _CORE = "/apis/apps/v1/namespaces/([a-z0-9-]+)", "/api/v1/namespaces/([a-z0-9-]+)"
ROUTES = {  # what a path is of, and whether it names one object
    _APPS + "/(deployments|statefulsets)/([a-z0-9.-]+)": ("GET", "PATCH"),
    _APPS + "/(deployments|statefulsets)/([a-z0-9.-]+)/scale": ("GET", "PATCH"),
    _APPS + "/(replicasets)": ("GET",),
    _CORE + "/(pods)": ("GET",),
    _CORE + "/(configmaps)/([a-z0-9.-]+)": ("GET", "PATCH"),
}


class Cluster:
    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {
            kind: [] for kind in ("deployments", "statefulsets", "replicasets", "pods", "configmaps")
        }
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.forbidden: set[str] = set()
        self.rights: set[str] = set()  # those that were asked for
        self.limited, self.broken, self.silent, self.slow = 0, 0, False, 0.0
        self.idle, self.unready, self.page = False, False, 500
        self.meddle: Any = None  # called once, between a read and the next change

    def deploy(self, name: str, image: str, replicas: int = 2, kind: str = "deployments") -> None:
        """Apply a workload as a release would: made where there is none, else with another image."""
        found = [one for one in self.objects[kind] if one["metadata"]["name"] == name]
        there = found[0] if found else made(name, kind, replicas)
        there["spec"]["template"]["spec"]["containers"][0]["image"] = image
        if not found:
            self.objects[kind].append(there)
        self.touched(kind, there)

    def configure(self, name: str, data: dict[str, str], **more: Any) -> dict[str, Any]:
        about = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "1"}
        one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data, **more}
        self.objects["configmaps"].append(one)
        return one

    def named(self, kind: str, name: str) -> dict[str, Any]:
        return next(one for one in self.objects[kind] if one["metadata"]["name"] == name)

    def touched(self, kind: str, one: dict[str, Any]) -> None:
        """Count a change, and let the controllers see it."""
        one["metadata"]["resourceVersion"] = str(int(one["metadata"]["resourceVersion"]) + 1)
        if kind in ("deployments", "statefulsets"):
            one["metadata"]["generation"] += 1
            if not self.idle:
                roll(self.objects, kind, one)

    def changes(self) -> list[tuple[str, str]]:
        return [
            (method, path) for method, path, query in self.calls if method != "GET" and "dryRun" not in query
        ]

    # --- the border ---

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path, dict(request.query)))
        await asyncio.sleep(self.slow)
        if self.limited:
            fault = Fault(429, "TooManyRequests", "too many requests, please try again later")
            return _failed(fault, {"Retry-After": str(self.limited)})
        if self.broken:
            return _failed(Fault(self.broken, "InternalError", "etcdserver: request timed out"))
        try:
            found = await self._act(request)
        except Fault as fault:
            return _failed(fault)
        if self.silent and request.method != "GET" and "dryRun" not in request.query:
            request.transport.close()
        return web.json_response(found)

    async def _act(self, request: web.Request) -> dict[str, Any]:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Fault(401, "Unauthorized", "Unauthorized")
        for pattern, verbs in ROUTES.items():
            if found := re.fullmatch(pattern, request.path):
                kind, names = found[2], found.groups()[2:]
                if request.method not in verbs:
                    raise Fault(
                        405,
                        "MethodNotAllowed",
                        "the server does not allow this method on the requested resource",
                    )
                verb = "list" if not names else request.method.lower()
                self._admit(request, verb, kind + ("/scale" if pattern.endswith("/scale") else ""), found[1])
                if verb == "list":
                    return self._list(kind, request.query)
                one = self._find(kind, names[0], found[1])
                scale = pattern.endswith("/scale")
                if verb == "get":
                    return _scale(one) if scale else one
                return await self._patch(request, kind, one, scale=scale)
        raise Fault(404, "NotFound", "the server could not find the requested resource")

    def _admit(self, request: web.Request, verb: str, resource: str, namespace: str) -> None:
        if unknown := set(request.query) - _QUERIES[verb]:
            raise Fault(400, "BadRequest", f"this double knows no parameter {unknown}")
        self.rights.add(f"{verb} {resource}")
        if f"{verb} {resource}" in self.forbidden or namespace != "shop":
            group = "apps" if request.path.startswith("/apis/apps") else ""
            why = f'cannot {verb} resource "{resource}" in API group "{group}" in the namespace "{namespace}"'
            raise Fault(403, "Forbidden", f'{resource} is forbidden: User "{USER}" {why}')

    def _find(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        for one in self.objects[kind]:
            if (one["metadata"]["name"], one["metadata"]["namespace"]) == (name, namespace):
                return one
        raise Fault(404, "NotFound", f'{kind} "{name}" not found')

    def _list(self, kind: str, query: Any) -> dict[str, Any]:
        rows = [
            one
            for one in self.objects[kind]
            if labels_match(one["metadata"].get("labels", {}), query.get("labelSelector", ""))
        ]
        start, size = int(query.get("continue", "0")), min(int(query.get("limit", "500")), self.page)
        if start > len(rows):
            raise Fault(410, "Expired", "The provided continue parameter is too old")
        rest = {"continue": str(start + size)} if start + size < len(rows) else {}
        return {
            "kind": "List",
            "metadata": {"resourceVersion": "1", **rest},
            "items": rows[start : start + size],
        }

    # --- changes ---

    async def _patch(
        self, request: web.Request, kind: str, one: dict[str, Any], *, scale: bool
    ) -> dict[str, Any]:
        dry = request.query.get("dryRun")
        if dry not in (None, "All"):
            raise Fault(400, "BadRequest", 'Invalid value: "dryRun": must be "All"')
        if dry and self.unready:
            raise Fault(400, "BadRequest", 'admission webhook "old.example.com" does not support dry run')
        if self.meddle and not dry:
            self.meddle, meddle = None, self.meddle
            meddle()
        apply = PATCHES.get(request.content_type)
        if apply is None:
            known = ", ".join(PATCHES)
            raise Fault(
                415,
                "UnsupportedMediaType",
                f"the body of the request was in an unknown format - accepted media types include: {known}",
            )
        try:
            body = json.loads(await request.text())
        except ValueError:
            raise Fault(400, "BadRequest", "invalid character looking for beginning of value") from None
        new = apply(copy.deepcopy(_scale(one) if scale else one), body)
        if new["metadata"]["resourceVersion"] != one["metadata"]["resourceVersion"]:
            text = (
                "the object has been modified; please apply your changes to the latest version and try again"
            )
            raise Fault(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind} "{one["metadata"]["name"]}": {text}',
            )
        if scale:
            new = {**copy.deepcopy(one), "spec": {**one["spec"], "replicas": new["spec"].get("replicas", 0)}}
        rejected(kind, one, new)
        if not dry and new != one:
            one.clear()
            one.update(new)
            self.touched(kind, one)
        return _scale(new) if scale else new


def _scale(one: dict[str, Any]) -> dict[str, Any]:
    """Return the scale subresource, whose zeros are left out."""
    about = {key: one["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    replicas = one["spec"]["replicas"]
    spec = {"replicas": replicas} if replicas else {}
    status = {"replicas": one.get("status", {}).get("replicas", 0), "selector": "app"}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": about,
        "spec": spec,
        "status": status,
    }


def _failed(fault: Fault, headers: dict[str, str] | None = None) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body = {**status, "message": fault.message, "reason": fault.reason, "code": fault.status}
    return web.json_response(body, status=fault.status, headers=headers)

"""Kubernetes: the keys of a ConfigMap, set in one patch that holds only if nobody changed the ConfigMap meanwhile.

Pods that take it as environment see the new values after a restart (`activate: restart: {at: k8s://namespace/deployment/name}`),
mounted files follow within about a minute. Login and rights are those of `k8s://namespace/deployment/name`. A Secret is none of
this: what stood there would have to be kept to be put back.

To try it by hand: `kubectl create configmap stopgap-try --from-literal=PMS_TYPE=real`; `stopgap check --live` on a rule with
`flag: {at: k8s://default/configmap/stopgap-try, set: {PMS_TYPE: mock}}`; a drill of it; `kubectl get configmap stopgap-try -o yaml`
shows the value, and after the revert the old one.
"""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from stopgap.backends.capability import Entry, Flags, Plan
from stopgap.backends.k8s import parts
from stopgap.backends.k8s_api import MERGE, get, patch, try_patching
from stopgap.backends.locator import Locator
from stopgap.errors import PermanentError

_KEY = re.compile(r"(?!\.\.?\Z)[-._A-Za-z0-9]{1,253}")


class K8sConfigMap(Flags):
    """`k8s://namespace/configmap/name`."""

    schemes = ("k8s",)
    kind: ClassVar[str] = "configmap"
    example = "k8s://shop/configmap/api"

    def __init__(self, locator: Locator) -> None:
        namespace, _, name = parts(locator, self.example, (self.kind,))
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        self._name = f"k8s:{namespace}/configmap/{name}"

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return self._name

    async def read(self, keys: Collection[str], within: timedelta) -> dict[str, Entry]:
        """Read keys."""
        return self._entries(await get(self._path, within), keys)

    async def change(self, keys: Collection[str], plan: Plan, within: timedelta) -> dict[str, Entry]:
        """Set keys, and remove others, in one patch. Raises TemporaryError when the ConfigMap changed since it was read (409)."""
        there = await get(self._path, within)
        changes = plan(self._entries(there, keys))
        if changes:
            there = await patch(self._path, MERGE, self._patch(there, changes), within)
        return self._entries(there, keys)

    async def try_writing(self, writings: Collection[Mapping[str, str]], within: timedelta) -> None:
        """Let the server judge each of the writings."""
        for settings in writings:
            there = await get(self._path, within)
            self._entries(there, settings)
            changes = {key: Entry(value) for key, value in settings.items()}
            await try_patching(self._path, MERGE, self._patch(there, changes), within)

    def _patch(self, there: Mapping[str, Any], changes: Mapping[str, Entry]) -> dict[str, Any]:
        if there.get("immutable"):
            raise PermanentError(f"{self.name} is immutable: nobody can change it, only replace it")
        data = {key: entry.value for key, entry in changes.items()}
        return {"metadata": {"resourceVersion": there["metadata"]["resourceVersion"]}, "data": data}

    def _entries(self, there: Mapping[str, Any], keys: Collection[str]) -> dict[str, Entry]:
        """Pick keys. Raises PermanentError for one that cannot be, or that holds bytes."""
        data, binary = there.get("data") or {}, there.get("binaryData") or {}
        for key in keys:
            if not _KEY.fullmatch(key):
                raise PermanentError(f"{key[:100]!r} is not a key that a ConfigMap can have")
            if key in binary:
                raise PermanentError(f"{key} of {self.name} holds bytes and no text")
        return {key: Entry(data.get(key)) for key in keys}

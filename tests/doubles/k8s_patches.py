"""The patches that Kubernetes' API takes, and what it rejects of what they lead to (422, else 400)."""

import re
from collections.abc import Callable
from typing import Any

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


class Fault(Exception):  # noqa: N818 - named for what it answers
    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status, self.reason, self.message = status, reason, message


def merge(there: Any, body: Any) -> Any:
    """RFC 7386."""
    if not isinstance(body, dict):
        return body
    new = dict(there) if isinstance(there, dict) else {}
    for key, value in body.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merge(new.get(key), value)
    return new


def strategic(there: Any, body: Any) -> Any:
    """A strategic merge patch of objects; lists have merge keys that this double does not know."""
    if '"[' in str(body) or _has_list(body):
        raise Fault(400, "BadRequest", "this double merges no lists")
    return merge(there, body)


def _has_list(body: Any) -> bool:
    return isinstance(body, list) or (isinstance(body, dict) and any(map(_has_list, body.values())))


def pointed(there: Any, body: Any) -> Any:
    """RFC 6902, of which `replace` and `test` are known here; a path that is not there is a 422."""
    if not isinstance(body, list):
        raise Fault(
            400,
            "BadRequest",
            "error decoding patch: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        )
    for step in body:
        if set(step) != {"op", "path", "value"} or step["op"] not in ("replace", "test"):
            raise Fault(422, "Invalid", "the server rejected our request due to an error in our request")
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        at = there
        for part in way:
            at = at.get(part, {})
        if last not in at or (step["op"] == "test" and at[last] != step["value"]):
            raise Fault(422, "Invalid", "the server rejected our request due to an error in our request")
        at[last] = step["value"]
    return there


PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "application/json-patch+json": pointed,
    "application/merge-patch+json": merge,
    "application/strategic-merge-patch+json": strategic,
}


def rejected(kind: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise what validation says of an object."""
    if {key: old["metadata"].get(key) for key in ("name", "uid")} != {
        key: new["metadata"].get(key) for key in ("name", "uid")
    }:
        raise Fault(422, "Invalid", "metadata.name: Invalid value: field is immutable")
    if kind == "configmaps":
        _config(old, new)
    else:
        _workload(new)


def _config(old: dict[str, Any], new: dict[str, Any]) -> None:
    data, name = new.get("data") or {}, new["metadata"]["name"]
    if not all(isinstance(value, str) for value in data.values()):
        raise Fault(
            400,
            "BadRequest",
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        )
    invalid = f'ConfigMap "{name}" is invalid'
    if old.get("immutable") and data != old.get("data"):
        raise Fault(422, "Invalid", f"{invalid}: data: Forbidden: field is immutable when `immutable` is set")
    for key in data:
        if not _KEY.fullmatch(key) or key in (".", "..") or key in new.get("binaryData", {}):
            raise Fault(422, "Invalid", f"{invalid}: data[{key}]: Invalid value")
    if sum(len(key) + len(value.encode()) for key, value in data.items()) > 1024 * 1024:
        raise Fault(422, "Invalid", f"{invalid}: []: Too long: may not be more than 1048576 bytes")


def _workload(new: dict[str, Any]) -> None:
    spec, name = new["spec"], new["metadata"]["name"]
    if type(spec.get("replicas")) is not int or spec["replicas"] < 0:
        raise Fault(
            422,
            "Invalid",
            f'"{name}" is invalid: spec.replicas: Invalid value: must be greater than or equal to 0',
        )
    labels = spec["template"]["metadata"].get("labels") or {}
    if not spec["selector"]["matchLabels"].items() <= labels.items():
        raise Fault(
            422,
            "Invalid",
            f'"{name}" is invalid: spec.template.metadata.labels: `selector` does not match template `labels`',
        )
    if "pod-template-hash" in labels:
        raise Fault(422, "Invalid", "this double wants no label of a ReplicaSet in a Deployment")
    annotations = spec["template"]["metadata"].get("annotations") or {}
    if not all(isinstance(value, str) for value in annotations.values()):
        raise Fault(
            400,
            "BadRequest",
            "json: cannot unmarshal number into Go struct field ObjectMeta.annotations of type string",
        )

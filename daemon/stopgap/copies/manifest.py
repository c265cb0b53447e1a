"""Manifest: what stands beside a copy and says of what it is, when and for whom it was made, and whether it was proved whole."""

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime

SUFFIX = ".json"
LARGEST = 16 * 1024
VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """One copy. `evidence`: kept for those who look for the cause, never to be put back."""

    of: str
    kind: str
    made_at: datetime
    bytes: int
    sha256: str
    verified: bool
    evidence: bool
    rule: str = ""
    incident: str = ""
    key: str = field(default="", repr=False)

    def text(self) -> str:
        """Write it."""
        return json.dumps(
            {"stopgap_copy": VERSION, **asdict(self), "made_at": self.made_at.isoformat()}, indent=1
        )

    @classmethod
    def read(cls, text: str) -> "Manifest | None":
        """Read one; None for what is none: a file may be called `.json` for many reasons."""
        try:
            tree = json.loads(text)
            given = {each.name: tree[each.name] for each in fields(cls)}
            given["made_at"] = datetime.fromisoformat(given["made_at"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        right = {"bytes": int, "verified": bool, "evidence": bool, "made_at": datetime}
        typed = all(type(value) is right.get(name, str) for name, value in given.items())
        if tree.get("stopgap_copy") != VERSION or not typed or given["made_at"].tzinfo is None:
            return None
        return cls(**given)

"""The doubles, installed into a folder that leads PATH, with a first state; and what was called."""

import json
from pathlib import Path
from typing import Any

DOUBLES = Path(__file__).parent


def machine(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "state": "started",
        "instance_id": f"{name}-1",
        "updated_at": "2026-01-01T00:00:00Z",
        "events": [],
    }


def container(name: str, service: str, folder: str) -> dict[str, Any]:
    label = "com.docker.compose."
    labels = {
        f"{label}project": "bookgen",
        f"{label}service": service,
        f"{label}oneoff": "False",
        f"{label}project.config_files": f"{folder}/compose.yml",
        f"{label}project.working_dir": folder,
    }
    state = {"Running": True, "Pid": 10, "StartedAt": "2026-01-01T00:00:00Z"}
    return {"Id": name * 32, "Config": {"Labels": labels}, "State": state}


class Doubles:
    """The folder; `state` reads what a double holds, `change` sets it, `calls` lists what was asked of all of them."""

    def __init__(self, folder: Path, monkeypatch: Any) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("flyctl", "systemctl", "docker", "ssh"):
            (folder / name).symlink_to(DOUBLES / name)
        app = {
            "secrets": {"PMS_TYPE": "qloapps"},
            "deployed": {"PMS_TYPE": "qloapps"},
            "machines": [machine("a1"), machine("b2")],
            "releases": [
                {"Version": 43, "Status": "failed", "ImageRef": "registry.fly.io/hotel:c"},
                {"Version": 42, "Status": "complete", "ImageRef": "registry.fly.io/hotel:b"},
                {"Version": 41, "Status": "complete", "ImageRef": "registry.fly.io/hotel:b"},
                {"Version": 40, "Status": "complete", "ImageRef": "registry.fly.io/hotel:a"},
            ],
            "groups": {"app": {"Count": 2, "Memory": 256, "Regions": {"mad": 2}}},
        }
        self.change("flyctl", {"apps": {"hotel": app}})
        unit = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "InvocationID": "1" * 32,
            "ActiveEnterTimestampMonotonic": "5",
        }
        self.change("systemctl", {"units": {"hotel.service": unit}})
        containers = [container("ab", "api", "/srv/bookgen"), container("cd", "worker", "/srv/bookgen")]
        self.change(
            "docker",
            {"folder": "/srv/bookgen", "files": ["/srv/bookgen/compose.yml"], "containers": containers},
        )
        self.change("ssh", {"hosts": ["ops@app.example.com:22", "[2001:db8::7]:2222"], "trouble": ""})
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        monkeypatch.setenv("FLY_API_TOKEN", "fly-token")

    def state(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())

    def change(self, name: str, state: Any) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(state))

    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def acts(self) -> list[list[str]]:
        """Return the calls that change something."""
        asking = ({"list"}, {"show"}, {"ps"}, {"inspect"})
        return [
            call["argv"]
            for call in self.calls()
            if not any(words & set(call["argv"][:5]) for words in asking)
        ]

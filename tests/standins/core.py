"""Core of the stand-ins: small systems that go by their real parts, so that what is done to the parts shows in what they say.

`python -m tests.standins.NAME HOME PORT` runs the app, with `exporters` behind it whatever measures the app from outside (node,
blackbox, …), which goes on when the app is down. HOME holds `.env`, read once at start as the real ones do, `parts.json` with the
places of the parts, and `faults.json`, the switches for what is broken, looked at with each question.
"""

import argparse
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from stopgap.demo.hotel import read_env

Sample = tuple[str, Mapping[str, str], float]
Answer = tuple[int, object]


class Growth:
    """A counter that grows by a rate, from one look at it to the next."""

    def __init__(self) -> None:
        self._value, self._at = 0.0, time.monotonic()

    def by(self, rate: float) -> float:
        """Let it grow by so much a second since the last look, and return it."""
        now = time.monotonic()
        self._value, self._at = self._value + rate * (now - self._at), now
        return self._value


class StandIn:
    """One system; subclasses say what it answers, and what it and its exporters measure."""

    routes: ClassVar[Mapping[str, str]] = {}
    """Path → method; a path that ends in / takes all below it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = read_env((home / ".env").read_text(encoding="utf-8"))
        self.parts: dict[str, Any] = json.loads((home / "parts.json").read_text(encoding="utf-8"))
        self.started_at = time.time()

    def fault(self, name: str, otherwise: float = 0.0) -> float:
        """Return how a switch stands now."""
        found: dict[str, float] = json.loads((self.home / "faults.json").read_text(encoding="utf-8"))
        return float(found.get(name, otherwise))

    def is_on(self, key: str) -> bool:
        """Tell whether a flag was on when the process started."""
        return self.env.get(key, "").lower() in {"true", "1", "yes", "on"}

    def measured(self) -> Iterable[Sample]:
        """Say what the app measures."""
        return ()

    def exported(self, job: str) -> Iterable[Sample]:
        """Say what the exporters of a job measure."""
        return ()

    def answer(self, method: str, path: str) -> Answer:
        """Answer a question to the app."""
        for known, name in self.routes.items():
            if path == known or (known.endswith("/") and path.startswith(known)):
                found: Callable[[str, str], Answer] = getattr(self, name)
                return found(method, path)
        return 404, {"error": "not found"}


def asked(
    url: str, patience: float = 1.0, headers: Mapping[str, str] | None = None
) -> tuple[int, str, float]:
    """Ask as a blackbox exporter does; returns status (0: no answer), text and seconds."""
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=dict(headers or {})), timeout=patience
        ) as answer:
            found = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        found = error.code, error.read().decode()
    except OSError:
        found = 0, ""
    return *found, time.monotonic() - begun


def told(url: str) -> tuple[int, Any, float]:
    """Ask, and read the JSON of the answer."""
    status, text, took = asked(url)
    return status, json.loads(text or "null"), took


def exposition(samples: Iterable[Sample]) -> str:
    """Write samples in Prometheus' text format."""
    lines = []
    for name, labels, value in samples:
        pairs = ",".join(f"{key}={json.dumps(text)}" for key, text in labels.items())
        lines.append(f"{name}{{{pairs}}} {float(value)}\n")
    return "".join(lines)


def serve(kind: type[StandIn]) -> None:
    """Run a stand-in until it is ended."""
    parser = argparse.ArgumentParser(description=kind.__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("part", choices=("app", "exporters"), nargs="?", default="app")
    chosen = parser.parse_args()
    system, exports = kind(chosen.home), chosen.part == "exporters"

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._drain()
            path = self.path.partition("?")[0]
            if exports:
                self._reply(200, exposition(system.exported(path.removeprefix("/metrics/"))), "text/plain")
            elif path == "/metrics":
                self._reply(200, exposition(system.measured()), "text/plain")
            else:
                status, body = system.answer(self.command, path)
                self._reply(status, json.dumps(body), "application/json")

        do_POST = do_GET  # noqa: N815 - the library's name

        def _drain(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _reply(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    ThreadingHTTPServer.allow_reuse_address = True
    ThreadingHTTPServer(("127.0.0.1", chosen.port), Handler).serve_forever()

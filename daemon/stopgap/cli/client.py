"""Client: asks the running daemon over HTTP, with the control token, within a bounded time."""

import getpass
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote, urlencode

import typer

from stopgap.cli.screen import WRONG_USAGE, clean, fail

URL = "http://127.0.0.1:9797"
TIMEOUT = 30.0  # seconds
LARGEST = 64 * 1024 * 1024  # bytes of an answer

Url = Annotated[str, typer.Option("--url", envvar="STOPGAP_URL", help="Where the daemon listens.")]
Why = Annotated[
    str, typer.Option("--why", help="The reason, for those who read it later.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for the daemon alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Unmoved)


class Client:
    """One daemon at one URL, which is given `timeout` seconds for an answer."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        if not url.startswith(("http://", "https://")):
            fail(f"--url must begin with http:// or https://, got {clean(url)}", WRONG_USAGE)
        self._url = url.rstrip("/")
        self._timeout = timeout

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """Ask for something."""
        return self._ask("GET", path, query)

    def text(self, path: str) -> str:
        """Ask for something that is text, and not JSON."""
        return self._fetch("GET", path, accept="text/*").decode()

    def send(self, method: str, path: str, body: Mapping[str, object] | None = None, **query: object) -> Any:
        """Say something; the answer is what stands then."""
        return self._ask(method, path, query, body)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        body: Mapping[str, object] | None = None,
    ) -> Any:
        answer = self._fetch(method, path, query, body)
        try:
            return json.loads(answer)
        except ValueError as error:
            self._silent(error)

    def _fetch(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        accept: str = "application/json",
    ) -> bytes:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = self._url + path + (f"?{urlencode(given)}" if given else "")
        headers = {"Authorization": f"Bearer {_found()[0]}", "Accept": accept}
        sent = None
        if body is not None:
            sent, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(url, sent, headers, method=method)  # noqa: S310 - the scheme was checked
        try:
            with _OPENER.open(request, timeout=self._timeout) as answer:
                told: bytes = answer.read(LARGEST)
                return told
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        except (urllib.error.URLError, OSError, ValueError) as error:
            self._silent(error.reason if isinstance(error, urllib.error.URLError) else error)

    def _refused(self, error: urllib.error.HTTPError) -> NoReturn:
        fail(_said(error))

    def _silent(self, reason: object) -> NoReturn:
        fail(
            f"no answer from {clean(self._url)} ({clean(reason)}): "
            "start it with `stopgap serve`, or name it with --url"
        )


def _said(error: urllib.error.HTTPError) -> str:
    """Read problem JSON (RFC 9457), or say at least the status."""
    try:
        told = json.loads(error.read(65536))
        text = "; ".join([told["detail"], *told.get("errors", ())])
    except (ValueError, KeyError, TypeError, OSError):
        text = f"the daemon answered {error.code}"
    if error.code == HTTPStatus.UNAUTHORIZED:
        shown, place = _found()
        told = f"{place} has it; " if shown else ""
        text += f" ({told}set STOPGAP_CONTROL_TOKEN_FILE, or STOPGAP_DATA to the daemon's directory)"
    return clean(text)


def _found() -> tuple[str, str]:
    """Find the control token, and where: STOPGAP_CONTROL_TOKEN, …_FILE, else `control.token` in the daemon's directory."""
    if word := os.environ.get("STOPGAP_CONTROL_TOKEN"):
        return word.strip(), "STOPGAP_CONTROL_TOKEN"
    named = os.environ.get("STOPGAP_CONTROL_TOKEN_FILE")
    path = Path(named) if named else Path(os.environ.get("STOPGAP_DATA", "data")) / "control.token"
    try:
        return path.read_text().strip(), str(path)
    except OSError as error:
        if named:
            fail(f"the control token cannot be read: {error}", WRONG_USAGE)
        return "", str(path)


def person() -> str:
    """Return the name of the user at the keyboard."""
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def find(client: Client, wanted: str) -> str:
    """Return the one incident whose id begins or ends with what was typed."""
    rows = client.get("/api/v1/incidents", {"limit": 1000})["incidents"]
    return quote(only([row["id"] for row in rows], wanted), safe="")


def only(ids: list[str], wanted: str) -> str:
    """Return the one id that begins or ends with what was typed; an exact one wins."""
    low = wanted.strip().lower()
    if low in (known := {identifier.lower(): identifier for identifier in ids}):
        return known[low]
    hits = [
        identifier
        for name, identifier in known.items()
        if low and (name.startswith(low) or name.endswith(low))
    ]
    if len(hits) == 1:
        return hits[0]
    if hits:
        fail(
            f"{clean(wanted)} means {len(hits)} incidents, such as {' and '.join(hits[:2])}: type more of the id"
        )
    return wanted.strip()  # older than the listing goes: let the daemon look

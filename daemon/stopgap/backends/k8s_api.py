"""Kubernetes' API: one request with a client of its own, and what its answer means.

The login is that of `kubectl`: the files that KUBECONFIG names, else the pod's service account, else `~/.kube/config`. Nothing is
written into them. What the server refuses is a PermanentError with the words of its Status; 409 and 429 may be tried again; a
change that got 5xx or no answer is an unknown outcome.
"""

# kubernetes-asyncio is for the logins (tokens that change, certificates, exec plugins, OIDC) and for TLS. Its models are not used:
# a pod template must come back as it was read, whatever fields a newer server has. A plugin sees our environment, as under kubectl.

import asyncio
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from stopgap.backends.answer import read_answer
from stopgap.backends.whole import Unanswered, finish
from stopgap.endpoint import shown
from stopgap.errors import PermanentError, StopgapError, TemporaryError

MERGE, STRATEGIC, JSON = (
    f"application/{kind}+json" for kind in ("merge-patch", "strategic-merge-patch", "json-patch")
)

_LARGEST = 16 * 1024 * 1024  # bytes of an answer: a page of pods has a few MiB
_PAGE, _MOST_PAGES = 250, 40
_LONGEST_PAUSE = 3600  # seconds of a Retry-After
_REDIRECT, _BAD, _UNKNOWN, _FORBIDDEN, _GONE, _CHANGED, _SLOWER, _SERVER_ERROR = (
    *(300, 400, 401, 403),
    *(410, 409, 429, 500),
)
_SETUP = "set KUBECONFIG to the name of a file, or run in a pod that has a service account"


@dataclass(frozen=True, slots=True)
class _Call:
    """A request; `form` is the kind of a patch."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: str = ""
    body: Any = None

    @property
    def method(self) -> str:
        return "PATCH" if self.form else "GET"

    @property
    def asks(self) -> bool:
        """Tell that nothing is changed."""
        return not self.form or "dryRun" in self.query


async def get(path: str, within: timedelta) -> dict[str, Any]:
    """Read an object. Raises ActionError."""
    return await _exchange(_Call(path), within)


async def listed(path: str, selector: str, within: timedelta) -> list[dict[str, Any]]:
    """Return the objects of a list that have these labels, page by page. Raises ActionError."""
    found: list[dict[str, Any]] = []
    query = {"labelSelector": selector, "limit": str(_PAGE)}
    for _ in range(_MOST_PAGES):
        page = await _exchange(_Call(path, query), within)
        found += [row for row in page.get("items") or [] if isinstance(row, dict)]
        rest = (page.get("metadata") or {}).get("continue")
        if not rest:
            return found
        query["continue"] = str(rest)
    raise PermanentError(f"Kubernetes lists more than {_PAGE * _MOST_PAGES} of {path}")


async def patch(path: str, form: str, body: Any, within: timedelta) -> dict[str, Any]:
    """Change an object, and return it as it is then. Raises ActionError when nothing changed, Unanswered when that is not known."""
    return await finish(_exchange(_Call(path, {"fieldManager": "stopgap"}, form, body), within))


async def try_patching(path: str, form: str, body: Any, within: timedelta) -> None:
    """Let the server do all but change the object: rights, admission, validation. Raises ActionError."""
    try:
        await _exchange(_Call(path, {"fieldManager": "stopgap", "dryRun": "All"}, form, body), within)
    except PermanentError as error:
        if "does not support dry run" not in str(error):  # an admission webhook: then this cannot be tried
            raise


async def _exchange(call: _Call, within: timedelta) -> dict[str, Any]:
    sent, token = False, ""
    limits = aiohttp.ClientTimeout(total=within.total_seconds(), connect=10)
    headers = {"Accept": "application/json", **({"Content-Type": call.form} if call.form else {})}
    try:
        async with asyncio.timeout(within.total_seconds()):
            library = await asyncio.to_thread(_library)
            login = await _login(library)
            token = str(login.api_key.get("BearerToken", "")).partition(" ")[2]
            async with library.client.ApiClient(configuration=login) as client:
                sent = True
                answer = await client.call_api(
                    *(call.path, call.method),
                    query_params=list(call.query.items()),
                    header_params=headers,
                    body=call.body,
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                    _request_timeout=limits,
                )
                async with answer:
                    return _judge(call, answer, await read_answer(answer, _LARGEST), token)
    except aiohttp.ClientSSLError:
        raise PermanentError(
            "the certificate of Kubernetes' API is not one that the login believes"
        ) from None
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
        raise TemporaryError("Kubernetes' API cannot be reached") from None
    except (aiohttp.ClientError, TimeoutError) as error:  # its text may show the whole address
        raise _unclear(call, type(error).__name__, sent=sent) from None


def _judge(call: _Call, answer: aiohttp.ClientResponse, body: bytes, token: str) -> dict[str, Any]:
    """Read an object, or a Status that says why there is none (meta/v1, Status)."""
    try:
        found = orjson.loads(body) if len(body) <= _LARGEST else None
    except orjson.JSONDecodeError:
        found = None
    if answer.status < _REDIRECT:
        if not isinstance(found, dict):
            raise _unclear(call, f"HTTP {answer.status} without an object")
        return found
    status = found if isinstance(found, dict) else {}
    said = str(status.get("message") or f"HTTP {answer.status}")
    said = shown(said.replace(token, "***") if token else said)
    if answer.status == _SLOWER:
        raise TemporaryError("Kubernetes' API asks to slow down (429)", _pause(answer))
    if answer.status >= _SERVER_ERROR:
        raise _unclear(call, said)
    if answer.status in (_CHANGED, _GONE):
        raise TemporaryError(
            f"Kubernetes refused {call.method} {call.path} for now ({answer.status}): {said}"
        )
    raise PermanentError(
        f"Kubernetes refused {call.method} {call.path} ({answer.status}): {said}{_CURES.get(answer.status, '')}"
    )


_CURES = {
    _UNKNOWN: f": the login is not taken: {_SETUP}",
    _FORBIDDEN: ": bind the Role of deploy/README.md to it",
}


def _unclear(call: _Call, why: str, *, sent: bool = True) -> StopgapError:
    """Return what no clear answer is: of a question a failure, of a change an unknown outcome."""
    text = f"Kubernetes did not answer {call.method} {call.path} clearly: {why}"
    return TemporaryError(text) if call.asks or not sent else Unanswered(text)


def _pause(answer: aiohttp.ClientResponse) -> timedelta | None:
    text = answer.headers.get("Retry-After", "")
    return timedelta(seconds=min(int(text), _LONGEST_PAUSE)) if re.fullmatch(r"[0-9]{1,6}", text) else None


# --- the login ---


def _library() -> Any:
    """Import the client, which takes a while; it logs what answers hold, so it logs nothing."""
    import kubernetes_asyncio.client  # noqa: PLC0415 - an extra
    import kubernetes_asyncio.config  # noqa: PLC0415 - the same

    log = logging.getLogger("kubernetes_asyncio")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return kubernetes_asyncio


async def _login(library: Any) -> Any:
    """Return host, trust and token. Raises PermanentError, without the words of what failed: they may hold a token."""
    login = library.client.Configuration()
    files = os.environ.get("KUBECONFIG")
    try:
        if not files and os.environ.get("KUBERNETES_SERVICE_HOST"):
            library.config.load_incluster_config(client_configuration=login, try_refresh_token=False)
        else:
            files = files or str(Path.home() / ".kube/config")
            if not any(map(os.path.exists, map(os.path.expanduser, files.split(os.pathsep)))):
                raise PermanentError(f"there is no login for Kubernetes: {_SETUP}")
            await library.config.load_kube_config(
                config_file=files, client_configuration=login, persist_config=False
            )
    except (
        library.config.ConfigException,
        library.config.kube_config.yaml.YAMLError,
        OSError,
        ValueError,
        *_MISSHAPEN,
    ) as error:
        cure = "`kubectl auth whoami` with the same KUBECONFIG tells more"
        raise PermanentError(
            f"the login for Kubernetes cannot be used ({type(error).__name__}): {cure}"
        ) from None
    _check_host(str(login.host), login.verify_ssl)
    return login


_MISSHAPEN = (
    TypeError,
    KeyError,
    AttributeError,
    AssertionError,
)  # what the loader says of files that are no kubeconfig


def _check_host(host: str, verified: bool) -> None:  # noqa: FBT001 - a fact of the login
    """Refuse a server that gets the token where others may listen. Raises PermanentError."""
    url = urlsplit(host)
    here = url.hostname == "localhost"
    if not here and url.hostname and re.fullmatch(r"[0-9a-f.:]+", url.hostname):
        try:
            here = ip_address(url.hostname).is_loopback
        except ValueError:
            here = False
    if not here and not (url.scheme == "https" and verified):
        raise PermanentError(
            "the login for Kubernetes names a server without TLS that is checked: no token goes there"
        )

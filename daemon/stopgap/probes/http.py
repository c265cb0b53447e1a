"""Http: the probe that asks a web address, and reads what it answers."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

import aiohttp
import orjson
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from yarl import URL

from stopgap.action import Params, Text, reveal
from stopgap.context import Context
from stopgap.duration import print_duration
from stopgap.probe import Finding
from stopgap.probes.answers import healthy, one_line, unhealthy, unknown
from stopgap.probes.condition import Condition, is_condition, parse_condition
from stopgap.probes.reach import resolve, unreachable

_LARGEST = 1024 * 1024  # bytes of a body that is looked into
_REFUSED = (401, 403)

Scalar = str | int | float | bool | None


class Method(StrEnum):
    """What a probe may send: nothing that changes the other side."""

    GET = "GET"
    HEAD = "HEAD"


def _one_or_many(status: Any) -> Any:
    return status if isinstance(status, list | tuple) else (status,)


def _web_address(text: Text) -> Text:
    """Refuse what is no absolute http(s) URL, without printing it."""
    try:
        url = URL(reveal(text))
        wrong = url.scheme not in ("http", "https") or not url.host or url.port is None
    except ValueError:
        wrong = True
    if wrong:
        raise ValueError("not a web address: write http://host/path or https://host/path")
    return text


def _header_value(text: Text) -> Text:
    if any(char in reveal(text) for char in "\r\n\0"):
        raise ValueError("a header's value is one line")
    return text


def _expected(value: Scalar) -> Scalar | Condition:
    return parse_condition(value) if is_condition(value) else value


Status = Annotated[int, Field(ge=100, le=599)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]  # RFC 9110, token


class HttpParams(Params):
    """`url`; what the answer must be: `status`, `contains`, `json`; how to ask: `method`, `headers`."""

    scalar: ClassVar[str] = "url"
    siblings: ClassVar[frozenset[str]] = frozenset({"json"})

    url: Annotated[
        Text, AfterValidator(_web_address), Field(description="An http or https address; may hold secrets.")
    ]
    status: Annotated[
        tuple[Status, ...],
        BeforeValidator(_one_or_many, json_schema_input_type=Status | tuple[Status, ...]),
        Field(min_length=1, description="The statuses that are healthy, one or a list."),
    ] = (200,)
    method: Annotated[Method, Field(description="What the request asks for.")] = Method.GET
    headers: Annotated[
        Mapping[HeaderName, Annotated[Text, AfterValidator(_header_value)]],
        Field(description="Headers by name; may hold secrets."),
    ] = Field(default_factory=dict)
    contains: Annotated[str, Field(description="A text that the answer must hold.")] = ""
    json_: Annotated[
        Mapping[str, Annotated[Scalar, AfterValidator(_expected)]],
        Field(alias="json", description="Dotted paths into the JSON of the answer: a value or a condition."),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _head_has_no_body(self) -> Self:
        if self.method is Method.HEAD and self.looks_inside:
            raise ValueError("HEAD returns no body: use GET with `json` and `contains`")
        return self

    @property
    def looks_inside(self) -> bool:
        """Tell whether the body matters."""
        return bool(self.contains or self.json_)


class Http:
    """Asks a web address on a fresh connection. Healthy when status, `contains` and every path of `json` are as wanted.

    `status` is one code or a list (200); redirects are not followed, so a 302 is an answer like any other. `json` maps dotted paths
    (`checks.0.state`) to a value or to a condition. Refused, reset, no answer in time, TLS and wrong answers are unhealthy; a
    name that does not resolve is unknown, and so are 401 and 403 unless wanted.

    ```yaml
    - {http: http://localhost:8000/health/ready}
    - {http: {url: "https://pms.example.com/api/health", status: [200, 204], headers: {Accept: application/json}}}
    - {http: {url: "http://localhost:8000/status"}, json: {database.state: up, queue.length: '< 100', ready: true}}
    ```
    """

    name: ClassVar[str] = "http"
    after: ClassVar[float] = 0.0
    params: type[HttpParams] = HttpParams

    def __init__(self, context: Context) -> None:
        self._http = context.http

    def describe(self, params: HttpParams) -> str:
        """Show the address, without password and headers, and what is wanted of it."""
        wanted = [" or ".join(map(str, params.status))]
        wanted += [f"containing {json.dumps(params.contains)}"] if params.contains else []
        wanted += [f"{path} {_wanted(value)}" for path, value in params.json_.items()]
        return one_line(f"http {params.method} {_shown(params.url)} {', '.join(wanted)}")

    async def ask(self, params: HttpParams, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Ask once. Raises ProbeError when the name does not resolve."""
        url, where = URL(reveal(params.url)), _shown(params.url)
        deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
        await resolve(url.host or "", url.port or 0, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._fetch(url, params)
        except TimeoutError:
            return unhealthy(f"{where}: no answer within {print_duration(timeout)}")
        except aiohttp.ClientConnectorError as error:
            return unreachable(where, error.os_error)
        except OSError as error:
            return unreachable(where, error)
        except aiohttp.ClientError as error:
            return unhealthy(f"{where}: {_BROKEN.get(type(error), 'the answer is not HTTP')}")

    async def _fetch(self, url: URL, params: HttpParams) -> Finding:
        # A kept-alive connection may lead to a process that no longer listens: what answers must be what is there now.
        headers = {name: reveal(value) for name, value in params.headers.items()} | {"Connection": "close"}
        async with self._http.session().request(
            params.method.value,
            url,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as response:
            if response.status not in params.status:
                verdict = unknown if response.status in _REFUSED else unhealthy
                wanted = " or ".join(map(str, params.status))
                return verdict(f"{_shown(params.url)}: status {response.status}, wanted {wanted}")
            if not params.looks_inside:
                return healthy(f"{_shown(params.url)}: status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > _LARGEST:
                    return unknown(f"{_shown(params.url)}: the body is larger than {_LARGEST >> 20} MiB")
        return judge(bytes(body), params)


_BROKEN: Mapping[type[aiohttp.ClientError], str] = {
    aiohttp.ServerDisconnectedError: "the connection was closed before an answer",
    aiohttp.ClientPayloadError: "the connection was closed within the answer",
}


def judge(body: bytes, params: HttpParams) -> Finding:
    """Judge a body by `contains` and `json`."""
    where = _shown(params.url)
    if params.contains and params.contains.encode() not in body:
        return unhealthy(
            f"{where}: the body does not contain {json.dumps(params.contains[:80], ensure_ascii=False)}"
        )
    if params.json_:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return unhealthy(f"{where}: the body is not JSON")
        for path, wanted in params.json_.items():
            found = _at(document, path)
            if not _satisfies(found, wanted):
                return unhealthy(f"{where}: {path} is {_spelt(found)}, wanted {_wanted(wanted)}")
    return healthy(f"{where}: as wanted")


class _Missing:
    """What stands at a path that is not there; equal to nothing."""


_MISSING = _Missing()


def _at(document: Any, path: str) -> Any:
    """Follow a dotted path; a number is an index where a list stands."""
    for part in path.split("."):
        if isinstance(document, dict):
            document = document.get(part, _MISSING)
        elif (
            isinstance(document, list) and part.isascii() and part.isdigit() and int(part[:9]) < len(document)
        ):
            document = document[int(part[:9])]
        else:
            return _MISSING
    return document


def _satisfies(found: Any, wanted: Scalar | Condition) -> bool:
    """Compare strictly: `true` is not 1, `"1"` is not 1."""
    if isinstance(wanted, Condition):
        return wanted.holds(found)
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return bool(found == wanted)


def _spelt(found: Any) -> str:
    if found is _MISSING:
        return "absent"
    if isinstance(found, dict | list):
        return "an object" if isinstance(found, dict) else "a list"
    return one_line(json.dumps(found, ensure_ascii=False), 80)


def _wanted(value: Scalar | Condition) -> str:
    return str(value) if isinstance(value, Condition) else f"== {json.dumps(value, ensure_ascii=False)}"


def _shown(text: Text) -> str:
    """Show an address without user and password; one with a secret in it only as masked."""
    if isinstance(text, SecretStr):
        return str(text)
    return one_line(str(URL(text).with_user(None)), 150)

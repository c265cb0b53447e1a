# ruff: noqa: ARG002 - the port's signatures
"""Http: a request to a web address does the step, another one takes it back."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import aiohttp
import orjson
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled, Text, reveal
from stopgap.actions import observed
from stopgap.actions.reach import reach
from stopgap.actions.retry_after import retry_after
from stopgap.backends.answer import read_answer
from stopgap.context import Context
from stopgap.errors import ActionError, PermanentError, StopgapError, TemporaryError

_LARGEST = 64 * 1024  # bytes of an observation
_ATTEMPT_LATER = (408, 425, 429, 503)  # RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4, RFC 9110 15.6.4
_PORTS = {"http": 80, "https": 443}
_SERVER_ERROR, _BAD_REQUEST, _REDIRECT, _OK = 500, 400, 300, 200


class NoClearAnswer(StopgapError):  # noqa: N818 - it is not known to be an error
    """The request was sent and not clearly answered: whether it was done is not known."""


class Method(StrEnum):
    """What a request asks for (RFC 9110)."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


_IDEMPOTENT = {Method.GET, Method.PUT, Method.DELETE}


def web_address(text: Text) -> Text:
    """Refuse what is no absolute http(s) URL, without printing it."""
    try:
        url = urlsplit(reveal(text))
        fine = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        fine = False
    if not fine or not reveal(text).isprintable():
        raise ValueError("this is not a web address: write http://host/path or https://host/path")
    return text


def _one_line(text: Text) -> Text:
    if not reveal(text).isprintable():
        raise ValueError("a header's value is one line")
    return text


def _one_or_many(status: Any) -> Any:
    return status if isinstance(status, list | tuple) else (status,)


Url = Annotated[Text, AfterValidator(web_address)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]  # RFC 9110, token
_Code = Annotated[int, Field(ge=200, le=599)]
Status = Annotated[
    tuple[_Code, ...], BeforeValidator(_one_or_many, json_schema_input_type=_Code | tuple[_Code, ...])
]


class Request(Params):
    """One request, and the statuses that mean success (none given: 200 to 299)."""

    method: Annotated[Method, Field(description="What the request asks for.")] = Method.POST
    url: Annotated[
        Url | None, Field(description="An http or https address; by default that of the step.")
    ] = None
    headers: Annotated[
        Mapping[HeaderName, Annotated[Text, AfterValidator(_one_line)]],
        Field(description="Headers by name; may hold secrets."),
    ] = Field(default_factory=dict)
    json_: Annotated[
        Any, Field(alias="json", description="A body that is sent as JSON; templates may stand in its texts.")
    ] = None
    body: Annotated[Text | None, Field(description="A body that is sent as it is.")] = None
    status: Annotated[
        Status, Field(description="The statuses that mean success, one or a list; none given: 200 to 299.")
    ] = ()

    @model_validator(mode="after")
    def _has_one_body(self) -> "Request":
        if self.json_ is not None and self.body is not None:
            raise ValueError("write either json or body")
        return self

    def fine(self, status: int) -> bool:
        """Tell whether a status means success."""
        return status in self.status if self.status else _OK <= status < _REDIRECT


class Question(Request):
    """A request that shows what the step changes: the whole answer, or what stands at the dotted path `pick`."""

    method: Annotated[Method, Field(description="What the request asks for.")] = Method.GET
    pick: Annotated[
        str, Field(description="A dotted path into the JSON of the answer; without it the whole answer.")
    ] = ""


class HttpCallParams(Request):
    """The request, and the requests that see and take back what it does."""

    url: Annotated[Url, Field(description="An http or https address; may hold secrets.")]
    observe: Annotated[
        Question | None, Field(description="The request that shows what the step changes.")
    ] = None
    revert: Annotated[Request | None, Field(description="The request that takes it back.")] = None
    idempotent: Annotated[
        bool | None,
        Field(description="Whether a second time does no harm; by default as the method says (RFC 9110)."),
    ] = None

    @model_validator(mode="after")
    def _can_put_back(self) -> "HttpCallParams":
        back = self.revert
        if (
            back
            and back.method is Method.PUT
            and back.json_ is None
            and back.body is None
            and not self.observe
        ):
            raise ValueError("revert puts back what observe saw: add observe, or json to revert")
        return self


class HttpCall(Action[HttpCallParams]):
    """Send a request; `revert` is another one. The header Idempotency-Key carries the step's key.

    `observe` (GET, the same address unless it has its own) shows what the step changes: it tells whether a step without a clear
    answer was done, and whether somebody else changed it meanwhile. A `revert` with PUT and no body puts back what it saw.
    Other 4xx and redirects are failures, 429 and 503 may be tried again, other 5xx and no answer are unknown outcomes.

    ```yaml
    http:
      method: PUT
      url: https://hotel.example.com/admin/limits
      headers: {Authorization: "Bearer {{ secrets.admin_token }}"}
      json: {per_minute: 300}
      observe: {}
      revert: {method: PUT}
    ```
    """

    name: ClassVar[str] = "http"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = HttpCallParams

    def __init__(self, context: Context) -> None:
        """Take the session."""
        self._http = context.http

    def describe(self, params: HttpCallParams) -> str:
        """Show method and address, without query and credentials."""
        return f"{params.method} {_shown(params.url)}"

    def idempotent(self, params: HttpCallParams) -> bool:
        """Tell what the rule says, else what RFC 9110 says of the method."""
        return params.method in _IDEMPOTENT if params.idempotent is None else params.idempotent

    def reverts(self, params: HttpCallParams) -> bool:
        """Tell whether the rule has a request that takes back."""
        return params.revert is not None

    def resource(self, params: HttpCallParams) -> tuple[str, ...]:
        """Name the address; of a secret one only a digest, so that two of them are not taken for one."""
        secret = isinstance(params.url, SecretStr)
        name = hashlib.sha256(reveal(params.url).encode()).hexdigest()[:16] if secret else _shown(params.url)
        return (f"http:{name}",)

    def undo_by_hand(self, params: HttpCallParams, before: Json) -> str:
        """Show the request that takes back."""
        if params.revert is None:
            return "nothing"
        return f"{params.revert.method} {_shown(params.revert.url or params.url)}"

    def observes(self, params: HttpCallParams) -> bool:
        """Tell whether the rule says how to see what it changes."""
        return params.observe is not None

    async def observe(self, params: HttpCallParams, moment: Moment) -> Json:
        """Ask `observe` and keep its answer. Raises ActionError, whatever goes wrong: nothing was changed."""
        if params.observe is None:
            return None
        try:
            return {
                "value": _picked(await self._send(params, params.observe, None, moment), params.observe.pick)
            }
        except (NoClearAnswer, TimeoutError):
            raise TemporaryError(f"{_shown(params.observe.url or params.url)} did not answer") from None

    async def rehearse(self, params: HttpCallParams, moment: Moment) -> None:
        """Connect to every address, and ask `observe` if that is a GET; any other request is not sent."""
        urls = [params.url, *(each.url for each in (params.revert, params.observe) if each and each.url)]
        for (host, port), url in {_place(url): url for url in urls}.items():
            await reach(host, port, _shown(url), moment.timeout)
        if params.observe is not None and params.observe.method is Method.GET:
            await self.observe(params, moment)

    def settled(self, params: HttpCallParams, before: Json, now: Json) -> Settled:
        """Compare answers; one that already holds what was sent is done, too."""
        if now is not None and isinstance(params.json_, dict) and _holds(now["value"], params.json_):
            return Settled.DONE
        return observed.settled(before, now)

    def settled_revert(self, params: HttpCallParams, before: Json, now: Json) -> Settled:
        """Compare answers."""
        return observed.settled_revert(before, now)

    async def run(self, params: HttpCallParams, before: Json, moment: Moment) -> Json:
        """Send the request."""
        await self._send(params, params, _body(params), moment)
        try:
            return {"after": await self.observe(params, moment)}
        except ActionError:  # the step is done all the same
            return {"after": None}

    async def revert(self, params: HttpCallParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Send the request that takes back, unless the old state is there or somebody made another one."""
        if params.revert is None:
            return Reverted(Restored.NOTHING)
        if settled := observed.drift(before, receipt, await self.observe(params, moment)):
            return settled
        body = _body(params.revert)
        if body is None and params.revert.method is Method.PUT and before is not None:
            body = _encoded(before["value"])
        await self._send(params, params.revert, body, moment)
        return Reverted(Restored.REVERTED, self.undo_by_hand(params, before))

    async def _send(
        self, params: HttpCallParams, request: Request, body: bytes | None, moment: Moment
    ) -> bytes:
        """Send a request and return the start of the answer.

        Raises ActionError when known not done; NoClearAnswer and TimeoutError when not known.
        """
        url = reveal(request.url or params.url)
        headers = {name: reveal(value) for name, value in (request.headers or params.headers).items()}
        if not isinstance(request, Question):
            headers.setdefault("Idempotency-Key", moment.key)
        if body is not None and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = (
                "application/json" if request.body is None else "text/plain; charset=utf-8"
            )
        limits = aiohttp.ClientTimeout(total=moment.timeout.total_seconds(), connect=10)
        where = _shown(request.url or params.url)
        try:
            async with self._http.session().request(
                request.method, url, data=body, headers=headers, timeout=limits, allow_redirects=False
            ) as answer:
                _judge(request, answer.status, answer.headers.get("Retry-After", ""), where)
                return await read_answer(answer, _LARGEST)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
            raise TemporaryError(f"{where} cannot be reached") from None
        except aiohttp.ClientError as error:  # its text may show the whole address
            raise NoClearAnswer(f"{where} did not answer clearly: {type(error).__name__}") from None


def _judge(request: Request, status: int, later: str, where: str) -> None:
    if request.fine(status):
        return
    if status in _ATTEMPT_LATER:
        raise TemporaryError(f"{where} answered {status}", retry_after(later))
    if status >= _SERVER_ERROR:
        raise NoClearAnswer(f"{where} answered {status}")
    hint = ", which is not followed" if _REDIRECT <= status < _BAD_REQUEST else ""
    raise PermanentError(f"{where} answered {status}{hint}")


def _body(request: Request) -> bytes | None:
    if request.body is not None:
        return reveal(request.body).encode()
    return None if request.json_ is None else orjson.dumps(request.json_)


def _encoded(value: Json) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _picked(body: bytes, pick: str) -> Json:
    """Read an answer, as JSON where it is JSON. Raises PermanentError when it is too large or lacks what is picked."""
    if len(body) > _LARGEST:
        raise PermanentError(
            f"the answer to observe is larger than {_LARGEST} bytes: pick a part of a smaller one"
        )
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = body.decode(errors="replace")
    for part in filter(None, pick.split(".")):
        if not isinstance(value, dict) or part not in value:
            raise PermanentError(f"the answer to observe has no {pick!r}")
        value = value[part]
    return value


def _holds(value: Json, part: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and all(
        key in value and value[key] == wanted for key, wanted in part.items()
    )


def _place(url: Text) -> tuple[str, int]:
    parts = urlsplit(reveal(url))
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _shown(url: Text) -> str:
    """Show an address without what may be secret: query, fragment, credentials; nothing of one that holds a secret."""
    return "***" if isinstance(url, SecretStr) else _without_secrets(url)


@lru_cache(256)  # of one step it is asked at every word about it
def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"[:200]

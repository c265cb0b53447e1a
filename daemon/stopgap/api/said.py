"""Said: what a request says, in its body or its query, checked before anything is done."""

from datetime import timedelta
from typing import Annotated, Any, Self, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from stopgap.api.problem import Problem
from stopgap.body import Room, read_body
from stopgap.duration import Duration
from stopgap.ledger import BrakeScope

LARGEST = 64 * 1024  # bytes of a body
WITHIN = timedelta(seconds=10)
MOST_ALERTS = 20  # that are explained at once

Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Said(BaseModel):
    """Anything that somebody says: who says it, as given; the token says no more than that they may."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Who = "api"


class Ack(Said):
    """Body of `ack`."""

    why: Annotated[str, StringConstraints(max_length=500)] = ""


class Done(Ack):
    """Body of `done`."""


class Approve(Ack):
    """Body of `approve`; `request` is the number of the request that was looked at."""

    request: Annotated[int | None, Field(ge=1)] = None


class Deny(Said):
    """Body of `deny`."""

    why: Why
    request: Annotated[int | None, Field(ge=1)] = None


class Revert(Said):
    """Body of `revert`."""

    why: Why


class Note(Said):
    """Body of `note`."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class Retry(Said):
    """Body of `retry`."""

    why: Why


class Adopt(Said):
    """Body of `adopt`."""

    why: Why


class Extend(Said):
    """Body of `extend`."""

    why: Why
    for_: Annotated[Duration, Field(alias="for", gt=timedelta())]


class Close(Said):
    """Body of `close`; `keep` leaves what is held in place for good."""

    why: Why
    keep: bool = False


class _Braked(Said):
    """Which brake is meant."""

    scope: BrakeScope = BrakeScope.GLOBAL
    name: Annotated[str, StringConstraints(max_length=500)] = ""


class BrakeOff(_Braked):
    """Query of `DELETE /api/v1/brake`."""

    why: Annotated[str, StringConstraints(max_length=500)] = ""


class BrakeOn(_Braked):
    """Body of `PUT /api/v1/brake`; without `for` it stays on until it is released."""

    why: Why
    for_: Annotated[Duration | None, Field(alias="for")] = None


class Explain(BaseModel):
    """Body of `explain`: the labels of an alert, a webhook's body (only its `alerts` are read), or the id of an incident."""

    model_config = ConfigDict(frozen=True)

    labels: Annotated[dict[str, str] | None, Field(min_length=1)] = None
    alerts: Annotated[list[Any] | None, Field(min_length=1, max_length=MOST_ALERTS)] = None
    incident: Annotated[str | None, StringConstraints(min_length=1, max_length=100)] = None
    nearest: Annotated[int, Field(ge=0, le=1000)] = 20

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.labels, self.alerts, self.incident)) != 1:
            raise ValueError("give one of labels, alerts and incident")
        return self


S = TypeVar("S", bound=BaseModel)


async def read(request: web.Request, kind: type[S]) -> S:
    """Read and check a JSON body. Raises Problem (400, 415) or BodyRefused."""
    if request.content_type != "application/json":
        raise Problem(415, "Content-Type must be application/json")
    if "Content-Encoding" in request.headers:
        raise Problem(415, "send without Content-Encoding")
    with Room(LARGEST).share() as share:
        body = await read_body(request, share, LARGEST, WITHIN)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _wrong("the body", error) from None


def query(request: web.Request, kind: type[S]) -> S:
    """Check a query string. Raises Problem (400)."""
    try:
        return kind.model_validate(dict(request.query))
    except ValidationError as error:
        raise _wrong("the query", error) from None


def _wrong(what: str, error: ValidationError) -> Problem:
    errors = tuple(
        f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}".removeprefix(": ")
        for e in error.errors(include_input=False)
    )
    return Problem(400, f"{what} is not what this path takes", errors)

"""Said: what a request says, in its body or its query, checked before anything is done."""

from datetime import timedelta
from typing import Annotated, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from stopgap.api.problem import Problem
from stopgap.body import Room, read_body
from stopgap.duration import Duration
from stopgap.ledger import BrakeScope

LARGEST = 64 * 1024  # bytes of a body
WITHIN = timedelta(seconds=10)

Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Said(BaseModel):
    """Anything that somebody says: who says it, as given; the token says no more than that they may."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Who = "api"


class Ack(Said):
    """Body of `ack`."""

    why: Annotated[str, StringConstraints(max_length=500)] = ""


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


class Extend(Said):
    """Body of `extend`."""

    why: Why
    for_: Annotated[Duration, Field(alias="for", gt=timedelta())]


class Close(Said):
    """Body of `close`; `keep` leaves what is held in place for good."""

    why: Why
    keep: bool = False


class BrakeOff(Said):
    """Query of `DELETE /api/v1/brake`: which brake."""

    scope: BrakeScope = BrakeScope.GLOBAL
    name: Annotated[str, StringConstraints(max_length=500)] = ""


class BrakeOn(BrakeOff):
    """Body of `PUT /api/v1/brake`; without `for` it stays on until it is released."""

    why: Why
    for_: Annotated[Duration | None, Field(alias="for")] = None


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
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}".removeprefix(": ")
        for e in error.errors(include_input=False)
    )
    return Problem(400, f"{what} is not what this path takes", errors)

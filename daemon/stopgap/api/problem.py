"""Problem: an error answer as problem JSON (RFC 9457): short, constant in form, without secrets."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

LONGEST = 500  # characters of the detail
MOST = 20  # single errors that are listed


class Problem(Exception):  # noqa: N818 - the word of the RFC
    """An answer that says no: its status, what is wrong, single errors where there are several, and `more` members."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.more = more or {}
        super().__init__(detail)

    def response(self) -> web.Response:
        """Return the answer."""
        told: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(self.status).phrase}
        told |= {"status": self.status, "detail": self.detail[:LONGEST]}
        if self.errors:
            told["errors"] = [error[:LONGEST] for error in self.errors[:MOST]]
        return web.Response(
            status=self.status,
            body=orjson.dumps(told | dict(self.more)),
            headers={**self.headers, "Content-Type": "application/problem+json"},
        )


def reply(told: Any, status: int = 200) -> web.Response:
    """Return an answer in JSON that no browser caches or guesses about."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(
        status=status, body=orjson.dumps(told, default=str), content_type="application/json", headers=headers
    )

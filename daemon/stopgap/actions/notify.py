# ruff: noqa: ARG002 - the port's signatures
"""Notify: a message of the rule's own goes to a contact."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from stopgap.action import Action, Danger, Json, Moment, Params, Settled
from stopgap.actions.transient import Transient
from stopgap.context import Context


class NotifyParams(Params):
    """Whom to tell, and what."""

    prose = frozenset({"title", "body"})

    contact: Annotated[
        str, Field(min_length=1, max_length=200, description="One of the contacts of the pack or the site.")
    ]
    title: Annotated[
        str, Field(max_length=1000, description="Its first line; without it rule and target.")
    ] = ""
    body: Annotated[str, Field(min_length=1, max_length=20_000, description="Its text.")]


class Notify(Transient[NotifyParams], Action[NotifyParams]):
    """Send a message to a contact of the pack or of the site.

    ```yaml
    notify:
      contact: pms-team
      title: PMS away
      body: "The hotel runs on mock data: {{ annotations.summary | default('no summary') }}"
    ```
    """

    name: ClassVar[str] = "notify"
    danger: ClassVar[Danger] = Danger.NONE
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = NotifyParams

    def __init__(self, context: Context) -> None:
        """Take the contact book."""
        self._contacts = context.contacts

    def describe(self, params: NotifyParams) -> str:
        """Name the contact and the title."""
        return f"tell {params.contact}" + (f": {params.title[:100]}" if params.title else "")

    def idempotent(self, params: NotifyParams) -> bool:
        """Tell that a message twice is better than no message."""
        return True

    def resource(self, params: NotifyParams) -> tuple[str, ...]:
        """Name nothing: nothing is changed."""
        return ()

    def observes(self, params: NotifyParams) -> bool:
        """Tell that there is nothing to be seen."""
        return False

    async def observe(self, params: NotifyParams, moment: Moment) -> Json:
        """See nothing: whether somebody was told does not show."""

    async def rehearse(self, params: NotifyParams, moment: Moment) -> None:
        """See that the contact has addresses that are sent to; tell nobody."""
        self._contacts.check(_pack(moment), params.contact)

    def settled(self, params: NotifyParams, before: Json, now: Json) -> Settled:
        """Tell that it cannot be known: idempotent, so it is sent once more."""
        return Settled.UNCLEAR

    async def run(self, params: NotifyParams, before: Json, moment: Moment) -> Json:
        """Send the message."""
        await self._contacts.send(
            _pack(moment), params.contact, params.title or f"{moment.rule} on {moment.target}", params.body
        )


def _pack(moment: Moment) -> str:
    return moment.rule.split("/", 1)[0]

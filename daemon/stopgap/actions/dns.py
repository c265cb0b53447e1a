# ruff: noqa: ARG002 - the port's signatures
"""Dns: a record points somewhere else for a while; taking back points it to where it pointed before."""

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled
from stopgap.backends import locate
from stopgap.backends.capability import Record, Records
from stopgap.context import Context
from stopgap.duration import Duration, print_duration
from stopgap.errors import PermanentError, TemporaryError

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)+{_LABEL}")
_SHORTEST, _LONGEST = timedelta(seconds=30), timedelta(days=1)
_AUTOMATIC = 1  # the TTL by which Cloudflare says: its choice


class Kind(StrEnum):
    """The types of record that lead to a server."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"


def _place(locator: str) -> Records:
    return locate(locator, Records)  # type: ignore[type-abstract]


def _holds_records(locator: str) -> str:
    _place(locator)
    return locator


def _name(text: str) -> str:
    """Write a name one way only: small letters, without the last dot."""
    name = text.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text[:100]!r} is no name of a host: write it as in api.example.com")
    return name


def _bounded(ttl: timedelta) -> timedelta:
    if not _SHORTEST <= ttl <= _LONGEST or ttl % timedelta(seconds=1):
        raise ValueError(f"a TTL is between {print_duration(_SHORTEST)} and {print_duration(_LONGEST)}")
    return ttl


class DnsParams(Params):
    """Which record, and where it is to point."""

    verbatim = frozenset({"set"})

    at: Annotated[
        str, AfterValidator(_holds_records), Field(description="The zone: cloudflare://example.com.")
    ]
    record: Annotated[
        str, AfterValidator(_name), Field(description="The record's whole name: api.example.com.")
    ]
    type: Annotated[Kind, Field(description="The record's type: A, AAAA or CNAME.")]
    set: Annotated[str, Field(description="Where it is to point: an address, or for CNAME a name.")]
    ttl: Annotated[
        Duration | None,
        Field(description="How long resolvers may keep it, 30s to 1d; by default as it is."),
    ] = None

    @model_validator(mode="after")
    def _makes_sense(self) -> "DnsParams":
        _place(self.at).check_record(self.record)
        if _content(self.type, self.set) == self.record:
            raise ValueError(f"{self.record} cannot point to itself")
        if self.ttl is not None:
            _bounded(self.ttl)
        return self


class Dns(Action[DnsParams]):
    """Point a DNS record to another place; revert points it back, unless somebody changed it meanwhile.

    There must be exactly one record of that name and type. Its proxying stays as it is. Whoever has looked the name up goes on to
    the old place until the record's old TTL is over: give `verify` that long, and let `recovered` ask the *address* of the primary,
    because the name leads to the backup.

    ```yaml
    dns: {at: cloudflare://example.com, record: api.example.com, type: A, set: 203.0.113.20, ttl: 1m}
    ```

    To check a real zone by hand: set CLOUDFLARE_API_TOKEN (Zone Read, DNS Edit), make a record for the purpose, run
    `stopgap check --live` on the rule and `stopgap drill` it, ask `dig @1.1.1.1 NAME` for the new address, then
    `stopgap revert` and ask again: content, TTL and proxying must be the old ones.
    """

    name: ClassVar[str] = "dns"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = DnsParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def describe(self, params: DnsParams) -> str:
        """Name the record and where it is to point."""
        kept = "" if params.ttl is None else f", kept for {print_duration(params.ttl)}"
        return f"point {params.record} ({params.type}) to {params.set}{kept}, at {_place(params.at).name}"

    def idempotent(self, params: DnsParams) -> bool:
        """Tell that pointing twice is pointing once."""
        return True

    def reverts(self, params: DnsParams) -> bool:
        """Tell that there is a place to point back to."""
        return True

    def resource(self, params: DnsParams) -> tuple[str, ...]:
        """Name the record and its type."""
        return (f"{_place(params.at).name}#{params.record}/{params.type}",)

    def undo_by_hand(self, params: DnsParams, before: Json) -> str:
        """Say where it pointed."""
        kept = "automatic" if before["ttl"] == _AUTOMATIC else f"{before['ttl']} s"
        proxied = "proxied" if before["proxied"] else "not proxied"
        old = f"{before['content']}, TTL {kept}, {proxied}"
        return f"point {params.record} ({params.type}) at {_place(params.at).name} to {old}"

    async def observe(self, params: DnsParams, moment: Moment) -> Json:
        """Read where the record points. Raises PermanentError unless there is exactly one."""
        return _seen(_one(params, await self._records(params, moment)))

    async def rehearse(self, params: DnsParams, moment: Moment) -> None:
        """See that there is exactly one record, and that it can have the TTL."""
        found = await _place(params.at).try_pointing(params.record, params.type, moment.timeout)
        _wanted(params, _seen(_one(params, found)))

    def effect(self, params: DnsParams, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Name where it points."""
        return dict.fromkeys(self.resource(params), params.set)

    def settled(self, params: DnsParams, before: Json, now: Json) -> Settled:
        """Compare with where it is to point."""
        if _same(params, now, _wanted(params, before)):
            return Settled.DONE
        return Settled.NOT_DONE if _same(params, now, before) else Settled.UNCLEAR

    def settled_revert(self, params: DnsParams, before: Json, now: Json) -> Settled:
        """Compare with where it pointed."""
        if _same(params, now, before):
            return Settled.DONE
        return Settled.NOT_DONE if _same(params, now, _wanted(params, before)) else Settled.UNCLEAR

    async def run(self, params: DnsParams, before: Json, moment: Moment) -> Json:
        """Point the record, if it is still as observed or already as wanted."""
        wanted = _wanted(params, before)
        found = _one(params, await self._records(params, moment))
        if _same(params, _seen(found), wanted):
            return _seen(found)
        if not _same(params, _seen(found), before):
            raise TemporaryError(f"{params.record} was changed by somebody else since it was observed")
        return _seen(await self._point(params, found, wanted, moment))

    async def revert(self, params: DnsParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Point the record back, unless somebody pointed it elsewhere, removed it or added another one."""
        found = await self._records(params, moment)
        if len(found) != 1:
            return Reverted(Restored.DRIFTED, f"there are {len(found)} records now, left alone")
        now = _seen(found[0])
        if _same(params, now, before):
            return Reverted(Restored.NOTHING, f"{params.record} points to {before['content']} already")
        if not _same(params, now, receipt or _wanted(params, before)):
            return Reverted(
                Restored.DRIFTED, f"{params.record} points to {now['content']}, which is not ours: left alone"
            )
        await self._point(params, found[0], before, moment)
        return Reverted(Restored.REVERTED, f"{params.record} points to {before['content']} again")

    async def _records(self, params: DnsParams, moment: Moment) -> tuple[Record, ...]:
        return await _place(params.at).records(params.record, params.type, moment.timeout)

    async def _point(self, params: DnsParams, found: Record, to: Json, moment: Moment) -> Record:
        target = Record(found.id, to["content"], to["ttl"], to["proxied"])
        return await _place(params.at).point(params.record, params.type, target, moment.timeout)


def _content(kind: Kind, text: str) -> str:
    """Write what a record says one way only. Raises ValueError for what a record of its type cannot say."""
    if kind is Kind.CNAME:
        return _name(text)
    try:
        address = IPv4Address(text) if kind is Kind.A else IPv6Address(text)
    except ValueError:
        wanted = "an IPv4 address" if kind is Kind.A else "an IPv6 address"
        raise ValueError(f"{text[:100]!r} is not {wanted}, which a record of type {kind} points to") from None
    if address.is_unspecified or address.is_multicast or getattr(address, "scope_id", None):
        raise ValueError(f"{address} is not the address of a server")
    return str(address)


def _one(params: DnsParams, found: tuple[Record, ...]) -> Record:
    if len(found) != 1:
        raise PermanentError(
            f"{_place(params.at).name} has {len(found) or 'no'} {params.type} records called {params.record}: "
            "dns points exactly one, make it one"
        )
    return found[0]


def _seen(record: Record) -> Json:
    return {"content": record.content, "ttl": record.ttl, "proxied": record.proxied}


def _wanted(params: DnsParams, before: Json) -> Json:
    """Return what the record is to be. Raises PermanentError for a TTL that it cannot have."""
    if params.ttl is not None and before["proxied"]:
        raise PermanentError(f"{params.record} is proxied, so its TTL is not ours to say: remove ttl")
    ttl = before["ttl"] if params.ttl is None else int(params.ttl.total_seconds())
    return {"content": _content(params.type, params.set), "ttl": ttl, "proxied": before["proxied"]}


def _same(params: DnsParams, one: Json, other: Json) -> bool:
    """Compare records, however their content is written."""
    return (_comparable(params.type, one["content"]), one["ttl"], one["proxied"]) == (
        _comparable(params.type, other["content"]),
        other["ttl"],
        other["proxied"],
    )


def _comparable(kind: Kind, text: str) -> str:
    try:
        return _content(kind, text)
    except ValueError:  # what stands there may be anything
        return text

# ruff: noqa: ARG002 - the port's signatures
"""Block: an address is kept out for a while; taking back removes what we added and nothing else."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stopgap.action import Action, Danger, Json, Moment, Params, Restored, Reverted, Settled
from stopgap.backends import locate
from stopgap.backends.capability import Blocklist
from stopgap.backends.network import Network, overlap, own_networks, parse_network, written
from stopgap.context import Context
from stopgap.errors import PermanentError

_WIDEST = {4: 24, 6: 48}  # bits of the prefix
_NOBODY = tuple(  # who is not out there: ourselves, the link, everybody (RFC 6890)
    map(
        ip_network,
        (
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
            *("::/127", "fe80::/10", "ff00::/8"),
        ),
    )
)
_UNMARKED = re.compile(r"[^A-Za-z0-9._-]")


def _place(locator: str) -> Blocklist:
    return locate(locator, Blocklist)  # type: ignore[type-abstract]


def _holds_a_blocklist(locator: str) -> str:
    _place(locator)
    return locator


def _narrow(text: str) -> str:
    network = parse_network(text)
    if network.prefixlen < (widest := _WIDEST[network.version]):
        raise ValueError(f"{network} is too wide to be blocked: at most a /{widest}")
    return written(network)


def _words(value: Any) -> Any:
    """Take lists apart that a var wrote into one text."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        return value
    return tuple(word for each in value for word in re.split(r"[\s,]+", each) if word)


def _networks(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(written(parse_network(word)) for word in words)


class BlockParams(Params):
    """Whom to keep out, where, and whom never."""

    fixed = frozenset({"never", "cap"})

    at: Annotated[
        str,
        AfterValidator(_holds_a_blocklist),
        Field(description="Where: cloudflare://zone, nginx:///etc/nginx/blocked.conf."),
    ]
    address: Annotated[
        str,
        AfterValidator(_narrow),
        Field(description="An IPv4 or IPv6 address, or a network up to a /24, of IPv6 up to a /48."),
    ]
    never: Annotated[
        tuple[str, ...],
        BeforeValidator(_words, json_schema_input_type=str | tuple[str, ...]),
        AfterValidator(_networks),
        Field(
            min_length=1,
            max_length=1000,
            description="Addresses and networks that stay in: monitoring, load balancers, our own.",
        ),
    ]
    cap: Annotated[
        int, Field(ge=1, le=1000, description="How many entries of ours there may be at once, there.")
    ] = 50

    @property
    def network(self) -> Network:
        """Return the address as a network."""
        return parse_network(self.address)

    @model_validator(mode="after")
    def _can_be_listed(self) -> "BlockParams":
        _place(self.at).check_network(self.network)
        return self


class Block(Action[BlockParams]):
    """Block an address, or a small network; revert unblocks it, if the entry is ours.

    `never` is required: whoever watches, balances or runs the site stays in, whatever a label says. Loopback, link-local and
    multicast addresses and those of this machine are always on it. An entry of ours carries the incident; entries of others are
    neither counted nor removed, and where somebody lets the address in on purpose, the step fails. A file of nginx counts after a
    reload: write `activate: [{restart: {at: nginx:///etc/nginx/blocked.conf}}]`.

    ```yaml
    block: {at: cloudflare://example.com, address: 203.0.113.7, never: [198.51.100.0/24, 10.0.0.0/8], cap: 20}
    ```

    To check a real zone by hand: set CLOUDFLARE_API_TOKEN (Zone Read, Firewall Services Edit), run `stopgap check --live` on the
    rule, `stopgap drill` it with an address of yours, open the site from there (403 by Cloudflare), see the entry with the note
    `stopgap INC-…` under Security, Tools, IP access rules, then `stopgap revert` and see it gone.
    """

    name: ClassVar[str] = "block"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = BlockParams

    def __init__(self, context: Context) -> None:
        """Keep one turn per list: counting and adding belong together."""
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def describe(self, params: BlockParams) -> str:
        """Name the address and the list."""
        return f"block {params.address} at {_place(params.at).name}"

    def idempotent(self, params: BlockParams) -> bool:
        """Tell that an entry that is there is not added again."""
        return True

    def reverts(self, params: BlockParams) -> bool:
        """Tell that the entry can be removed."""
        return True

    def resource(self, params: BlockParams) -> tuple[str, ...]:
        """Name the address on the list."""
        return (f"{_place(params.at).name}#{params.address}",)

    def undo_by_hand(self, params: BlockParams, before: Json) -> str:
        """Say which entry to remove, if it is ours."""
        where = _place(params.at).name
        if before["mark"] is not None:
            return f"nothing: {params.address} was blocked at {where} before"
        return f"unblock {params.address} at {where}"

    async def observe(self, params: BlockParams, moment: Moment) -> Json:
        """Read whose entry there is. Raises PermanentError for an address that must stay in: nothing is begun."""
        _insist(params, own_networks())
        found = await _place(params.at).look(params.network, moment.timeout)
        return {"mark": found.mark, "instead": found.instead, "ours": found.ours}

    async def rehearse(self, params: BlockParams, moment: Moment) -> None:
        """See that the address may be blocked and that there is room for it."""
        _insist(params, own_networks())
        await _place(params.at).try_banning(params.network, params.cap, moment.timeout)

    def effect(self, params: BlockParams, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Tell that it is blocked."""
        _insist(params, [])
        return dict.fromkeys(self.resource(params), "blocked")

    def settled(self, params: BlockParams, before: Json, now: Json) -> Settled:
        """Tell whether it is blocked."""
        return Settled.DONE if now["mark"] is not None and not now["instead"] else Settled.NOT_DONE

    def settled_revert(self, params: BlockParams, before: Json, now: Json) -> Settled:
        """Tell whether no entry is there, or the one that was."""
        return Settled.DONE if now["mark"] in (None, before["mark"]) else Settled.NOT_DONE

    async def run(self, params: BlockParams, before: Json, moment: Moment) -> Json:
        """Add the entry, unless there is one."""
        _insist(params, own_networks())
        place, mark = _place(params.at), _mark(moment)
        async with self._turns[place.name]:
            await place.ban(params.network, mark, params.cap, moment.timeout)
        return {"mark": mark}

    async def revert(self, params: BlockParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Remove our entry; leave one that was there before, or that somebody put in its place."""
        place, mark = _place(params.at), _mark(moment)
        if before["mark"] == mark:
            return Reverted(Restored.NOTHING, f"an earlier step had blocked {params.address}")
        found = await place.lift(params.network, mark, moment.timeout)
        if found.mark == mark:
            return Reverted(Restored.REVERTED, f"{params.address} is not blocked any more")
        if found.mark is None or found.mark == before["mark"]:
            return Reverted(Restored.NOTHING, f"there was no entry of ours for {params.address}")
        return Reverted(Restored.DRIFTED, f"the entry for {params.address} is not ours any more: left alone")


def _mark(moment: Moment) -> str:
    """Return what tells our entries from others': the incident, which is the same when it is taken back."""
    return _UNMARKED.sub("_", moment.incident or moment.key.partition("/")[0])[:64]


def _insist(params: BlockParams, own: Iterable[Network]) -> None:
    """Refuse to block who must stay in. Raises PermanentError."""
    network = params.network
    for why, those in (
        ("is on the never list", map(parse_network, params.never)),
        ("is an address of this machine", own),
        ("is no address of a client", _NOBODY),
    ):
        for one in those:
            if overlap(one, network):
                where = "" if one == network else f" ({written(one)})"
                raise PermanentError(
                    f"{params.address} {why}{where}: it is not blocked, find out who is behind it"
                )

"""Cloudflare: a zone there, by its API: its settings are flags, its IP access rules a blocklist, its DNS records can be repointed.

The API has no condition on a write: what is read right before it is what `plan` and we compare with. It sets one setting per call,
so a step has one, too. The token (`cloudflare_api.py`) needs, for the zone: Zone Read; Zone Settings Edit for `flag`; Firewall
Services Edit for `block`; DNS Edit for `dns`.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, TypeVar

import orjson

from stopgap.backends.capability import Blocklist, Entry, Flags, Listed, Plan, Record, Records
from stopgap.backends.cloudflare_api import Call, Refused, identified, listed, send
from stopgap.backends.locator import Locator
from stopgap.backends.network import IPV4, Network
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError

_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_ZONE = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+{_LABEL}")
_SETTING = re.compile(r"[a-z0-9_]{1,64}")
_OURS = re.compile(r"stopgap ([A-Za-z0-9._-]{1,64})")
_WIDTHS = {
    4: (24, 32),
    6: (48, 64, 128),
}  # of those that an access rule can have, the ones that are narrow enough
T = TypeVar("T")
_ZONE_READ, _SETTINGS, _FIREWALL, _DNS = (
    "Zone Read",
    "Zone Settings Edit",
    "Firewall Services Edit",
    "DNS Edit",
)


class Cloudflare(Flags, Blocklist, Records):
    """`cloudflare://example.com`: the zone."""

    schemes = ("cloudflare",)
    example = "cloudflare://example.com"
    at_once = 1

    def __init__(self, locator: Locator) -> None:
        locator.only("authority")
        self._zone = locator.authority.lower()
        if not _ZONE.fullmatch(self._zone):
            raise ValueError(f"{locator.authority!r} is not the name of a zone: write it as in example.com")

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"cloudflare:{self._zone}"

    # --- settings ---

    async def read(self, keys: Collection[str], within: timedelta) -> dict[str, Entry]:
        """Read zone settings."""
        zone = await self._id(within)
        return {key: _entry(await self._setting(zone, key, within)) for key in keys}

    async def change(self, keys: Collection[str], plan: Plan, within: timedelta) -> dict[str, Entry]:
        """Set one setting. What stands there then is what Cloudflare answered."""
        zone = await self._id(within)
        seen = {key: await self._setting(zone, key, within) for key in keys}
        found = {key: _entry(setting) for key, setting in seen.items()}
        changes = plan(found)
        if len(changes) > self.at_once:
            raise PermanentError(f"{self.name} cannot set {len(changes)} settings in one write")
        for key, entry in changes.items():
            path, body = f"/zones/{zone}/settings/{key}", {"value": _value(seen[key], entry)}
            result = (await send(Call("PATCH", path, _SETTINGS, body=body), within)).result
            found[key] = _sure(_entry, {**_object(result), "id": key})
        return found

    async def try_writing(self, writings: Collection[Mapping[str, str]], within: timedelta) -> None:
        """See that the token is valid and the settings can be written. What else it may do, Cloudflare does not tell."""
        zone = await self._verified(within)
        for settings in writings:
            for key, value in settings.items():
                _value(await self._setting(zone, key, within), Entry(value))

    async def _setting(self, zone: str, key: str, within: timedelta) -> dict[str, Any]:
        if not _SETTING.fullmatch(key):
            raise PermanentError(f"{key[:100]!r} is not the name of a zone setting, such as security_level")
        reply = await send(Call("GET", f"/zones/{zone}/settings/{key}", _SETTINGS), within)
        return {**_object(reply.result), "id": key}

    # --- access rules ---

    def check_network(self, network: Network) -> None:
        """Refuse a size that access rules do not have."""
        if network.prefixlen not in (widths := _WIDTHS[network.version]):
            sizes = " or ".join(f"/{width}" for width in widths[:-1])
            raise ValueError(f"Cloudflare blocks addresses, and networks of the size {sizes}: not {network}")

    async def look(self, network: Network, within: timedelta) -> Listed:
        """Read the rule of the address, of whatever scope, and count ours."""
        return _found(await self._rules(await self._id(within), network, within), network)

    async def ban(self, network: Network, mark: str, most: int, within: timedelta) -> None:
        """Add a rule that blocks."""
        zone = await self._id(within)
        found = _found(await self._rules(zone, network, within), network)
        if not found.wants(network, most, self.name):
            return
        body = {"mode": "block", "configuration": _configuration(network), "notes": f"stopgap {mark}"}
        await send(Call("POST", f"/zones/{zone}/firewall/access_rules/rules", _FIREWALL, body=body), within)

    async def lift(self, network: Network, mark: str, within: timedelta) -> Listed:
        """Delete the rule with this mark."""
        zone = await self._id(within)
        rules = await self._rules(zone, network, within)
        for rule in rules:
            if _network(rule) == network and _mark(rule) == mark:
                path = f"/zones/{zone}/firewall/access_rules/rules/{identified(rule)}"
                await _deleted(Call("DELETE", path, _FIREWALL), within)
        return _found(rules, network)

    async def try_banning(self, network: Network, most: int, within: timedelta) -> None:
        """See that the token is valid and there is room. What else it may do, Cloudflare does not tell."""
        await self._verified(within)
        await super().try_banning(network, most, within)

    async def _rules(self, zone: str, network: Network, within: timedelta) -> list[dict[str, Any]]:
        """List our rules and those of the address. IPv6 is searched for as Cloudflare keeps it: with all its zeros."""
        path = f"/zones/{zone}/firewall/access_rules/rules"
        value = _configuration(network)["value"]
        queries = ({"notes": "stopgap"}, {"configuration.value": value})
        rows = [row for query in queries for row in await listed(Call("GET", path, _FIREWALL, query), within)]
        return list({identified(row): row for row in rows}.values())

    # --- records ---

    def check_record(self, record: str) -> None:
        """Refuse a name that is not in the zone."""
        if record != self._zone and not record.endswith(f".{self._zone}"):
            raise ValueError(f"{record} is not in the zone {self._zone}")

    async def records(self, record: str, kind: str, within: timedelta) -> tuple[Record, ...]:
        """List the records of exactly this name and type."""
        zone = await self._id(within)
        query = {"name.exact": record, "type": kind}
        rows = await listed(Call("GET", f"/zones/{zone}/dns_records", _DNS, query), within)
        return tuple(
            _record(row) for row in rows if (str(row.get("name")).lower(), row.get("type")) == (record, kind)
        )

    async def point(self, record: str, kind: str, to: Record, within: timedelta) -> Record:
        """Change content, TTL and proxying; comment and tags stay."""
        zone = await self._id(within)
        body = {"type": kind, "name": record, "content": to.content, "ttl": to.ttl, "proxied": to.proxied}
        call = Call("PATCH", f"/zones/{zone}/dns_records/{to.id}", _DNS, body=body)
        return _sure(_record, _object((await send(call, within)).result))

    async def try_pointing(self, record: str, kind: str, within: timedelta) -> tuple[Record, ...]:
        """See that the token is valid, and read the records. What else it may do, Cloudflare does not tell."""
        await self._verified(within)
        return await self.records(record, kind, within)

    # --- the zone ---

    async def _id(self, within: timedelta) -> str:
        return identified(await self._find(within))

    async def _find(self, within: timedelta) -> dict[str, Any]:
        rows = await listed(Call("GET", "/zones", _ZONE_READ, {"name": self._zone}), within)
        zones = [row for row in rows if row.get("name") == self._zone]
        if len(zones) != 1:
            raise PermanentError(
                f"the token sees {len(zones) or 'no'} zones {self._zone}: give it {_ZONE_READ} for this one"
            )
        return zones[0]

    async def _verified(self, within: timedelta) -> str:
        """Return the zone's id, once the token is known to be active and the zone in force. Raises ActionError."""
        zone = await self._find(within)
        status = await _status(_object(zone.get("account")), within)
        if status != "active":
            raise PermanentError(f"the token for Cloudflare is {status}: renew it")
        if zone.get("status") != "active" or zone.get("paused"):
            raise PermanentError(
                f"the zone {self._zone} is not active at Cloudflare: nothing set there counts"
            )
        return identified(zone)


async def _status(account: dict[str, Any], within: timedelta) -> str:
    """Ask for the state of the token: of a user's, else of one that the account owns."""
    try:
        reply = await send(Call("GET", "/user/tokens/verify", "to be valid"), within)
    except Refused as error:
        if not (error.forbidden and account):
            raise
        path = f"/accounts/{identified(account)}/tokens/verify"
        reply = await send(Call("GET", path, "to be valid"), within)
    status = _object(reply.result).get("status")
    return status if status in {"active", "disabled", "expired"} else "in an unknown state"


async def _deleted(call: Call, within: timedelta) -> None:
    try:
        await send(call, within)
    except Refused as error:
        if not error.gone:
            raise


def _object(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {}


def _sure(read: Callable[[dict[str, Any]], T], result: dict[str, Any]) -> T:
    """Read what a change led to: when that makes no sense, it is not known to have failed."""
    try:
        return read(result)
    except PermanentError as error:
        raise Unanswered(f"Cloudflare took a change and then {error}") from None


def _entry(setting: Mapping[str, Any]) -> Entry:
    """Read a setting: text as it is, a number or a truth as JSON; a structure is no flag."""
    value = setting.get("value")
    if isinstance(value, str):
        return Entry(value, orjson.dumps(value).decode())
    if isinstance(value, bool | int | float):
        return Entry(orjson.dumps(value).decode(), orjson.dumps(value).decode())
    raise PermanentError(f"{setting['id']} is a structure at Cloudflare, and a flag is one value")


def _value(setting: Mapping[str, Any], entry: Entry) -> Any:
    """Return what to send, of the kind that is there. Raises PermanentError."""
    key, there = setting["id"], _entry(setting)
    if entry.value is None:
        raise PermanentError(f"{key} cannot be removed, only set to another value")
    if setting.get("editable") is False:
        raise PermanentError(f"Cloudflare lets nobody change {key} of this zone: its plan does not hold it")
    if isinstance(setting["value"], str) or entry.value == there.value:
        return entry.value if isinstance(setting["value"], str) else setting["value"]
    try:
        value = orjson.loads(entry.value)
    except orjson.JSONDecodeError:
        value = None
    kind = bool if isinstance(setting["value"], bool) else int | float
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise PermanentError(f"{key} is {there.value} now: write a value of that kind")
    return value


def _configuration(network: Network) -> dict[str, str]:
    """Write an address or a network as access rules do."""
    if network.prefixlen == network.max_prefixlen:
        return {
            "target": "ip" if network.version == IPV4 else "ip6",
            "value": network.network_address.exploded,
        }
    return {"target": "ip_range", "value": network.exploded}


def _network(rule: Mapping[str, Any]) -> Network | None:
    """Read the address of a rule; None of one that is for a country or a network operator."""
    try:
        return ip_network(str(_object(rule.get("configuration")).get("value")))
    except ValueError:
        return None


def _mark(rule: Mapping[str, Any]) -> str:
    """Read our mark; none is on a rule that the zone only inherits from its account or user."""
    inherited = _object(rule.get("scope")).get("type", "zone") != "zone"
    ours = _OURS.fullmatch(str(rule.get("notes") or ""))
    return ours[1] if ours and not inherited else ""


def _found(rules: list[dict[str, Any]], network: Network) -> Listed:
    """Say what there is: of several, one that does not block, then ours."""
    ours = sum(bool(_mark(rule)) for rule in rules)
    same = [rule for rule in rules if _network(rule) == network]
    if not same:
        return Listed(None, ours)
    other = next((str(rule.get("mode")) for rule in same if rule.get("mode") != "block"), "")
    return Listed(max(map(_mark, same)), ours, other)


def _record(row: Mapping[str, Any]) -> Record:
    content, ttl, proxied = row.get("content"), row.get("ttl"), row.get("proxied", False)
    if not isinstance(content, str) or not isinstance(ttl, int) or not isinstance(proxied, bool):
        raise PermanentError("Cloudflare answered with a record that has no content or TTL")
    return Record(identified(row), content, ttl, proxied)

"""Double of Cloudflare's API v4: a server of its own in a thread, strict about tokens, verbs, paths, parameters and bodies.

Written from developers.cloudflare.com/api (zones, zone settings, IP access rules, DNS records, token verification) and the codes
that the API answers with. What it holds is plain: `settings`, `rules`, `records`; what it was asked stands in `calls`.

`limited` answers 429 with so many seconds, `broken` with that status and no JSON; `silent` acts and then hangs up, `slow` waits
so many seconds first.
"""

import asyncio
import ipaddress
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

ZONE, ACCOUNT, OTHER = "023e105f4ecef8ad9ca31a8372d0c353", "f" * 32, "0" * 32
USERS_TOKEN, ACCOUNTS_TOKEN, READERS_TOKEN = "users-token-1", "accounts-token-1", "readers-token-1"
_MODES = {"block", "challenge", "whitelist", "js_challenge", "managed_challenge"}
_PREFIXES = {4: (16, 24), 6: (32, 48, 64)}
_LEVELS = {"off", "essentially_off", "low", "medium", "high", "under_attack"}


class Fault(Exception):  # noqa: N818 - named for what it answers
    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code, self.message = status, code, message


class Cloudflare:
    """What the API holds: one active zone, example.com, and a paused one, paused.example."""

    def __init__(self) -> None:
        self.tokens = {USERS_TOKEN: "active", ACCOUNTS_TOKEN: "active", READERS_TOKEN: "active"}
        self.settings: dict[str, dict[str, Any]] = {
            "security_level": {"value": "medium", "editable": True},
            "browser_cache_ttl": {"value": 14400, "editable": True},
            "polish": {"value": "off", "editable": False},
            "minify": {"value": {"css": "on", "html": "off", "js": "off"}, "editable": True},
        }
        self.rules: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.limited, self.broken, self.silent, self.slow = 0, 0, False, 0.0
        self.url = ""

    def add_rule(
        self, value: str, notes: str = "", mode: str = "block", scope: str = "zone"
    ) -> dict[str, Any]:
        network = ipaddress.ip_network(value)
        single = network.prefixlen == network.max_prefixlen
        target = ("ip" if network.version == 4 else "ip6") if single else "ip_range"
        written = network.network_address.exploded if single else network.exploded
        rule = {
            "id": uuid.uuid4().hex,
            "notes": notes,
            "mode": mode,
            "allowed_modes": sorted(_MODES),
            "configuration": {"target": target, "value": written},
            "scope": {"id": ZONE, "type": scope},
        }
        self.rules.append(rule)
        return rule

    def add_record(
        self, name: str, kind: str, content: str, ttl: int = 1, *, proxied: bool = False
    ) -> dict[str, Any]:
        record = {
            "id": uuid.uuid4().hex,
            "name": name,
            "type": kind,
            "content": content,
            "ttl": 1 if proxied else ttl,
            "proxied": proxied,
            "proxiable": True,
            "comment": "kept",
            "tags": [],
        }
        self.records.append(record)
        return record

    def blocked(self) -> list[tuple[str, str, str]]:
        return sorted((rule["configuration"]["value"], rule["mode"], rule["notes"]) for rule in self.rules)

    def changes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] != "GET"]

    # --- the border ---

    def mount(self, app: web.Application) -> None:
        app.router.add_route("*", "/{any:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        await asyncio.sleep(self.slow)
        if self.limited:
            text = "Please wait and consider throttling your request speed"
            return _failed(Fault(429, 971, text), {"Retry-After": str(self.limited)})
        if self.broken:
            return web.Response(
                status=self.broken, text="<html>error code: 502</html>", content_type="text/html"
            )
        try:
            result, about = await self._act(request)
        except Fault as fault:
            return _failed(fault)
        if self.silent and request.method != "GET":
            request.transport.close()
        about = {"result_info": about} if about else {}
        return web.json_response({"success": True, "errors": [], "messages": [], "result": result, **about})

    async def _act(self, request: web.Request) -> tuple[Any, Any]:
        if not request.path.startswith("/client/v4/"):
            raise Fault(
                400, 7003, f"Could not route to {request.path}, perhaps your object identifier is invalid?"
            )
        path = request.path.removeprefix("/client/v4")
        for pattern, verbs in ROUTES.items():
            if found := re.fullmatch(pattern, path):
                if request.method not in verbs:
                    raise Fault(405, 7001, f"Method {request.method} not available for that URI.")
                self._admit(request, path)
                body = await _body(request)
                return getattr(self, verbs[request.method])(request, body, *found.groups())
        raise Fault(400, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")

    def _admit(self, request: web.Request, path: str) -> None:
        header = request.headers.get("Authorization")
        if header is None:
            raise Fault(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token:
            raise Fault(400, 6003, "Invalid request headers")
        if path == "/user/tokens/verify" and token not in {USERS_TOKEN, READERS_TOKEN}:
            raise Fault(401, 1000, "Invalid API Token")
        if token not in self.tokens:
            raise Fault(403, 9109, "Invalid access token")
        if request.method != "GET" and token == READERS_TOKEN:
            raise Fault(403, 10000, "Authentication error")

    # --- tokens and zones ---

    def verify(self, request: web.Request, body: Any) -> tuple[Any, Any]:
        _only(request)
        return {"id": "e" * 32, "status": self.tokens[request.headers["Authorization"][7:]]}, None

    def verify_account(self, request: web.Request, body: Any, account: str) -> tuple[Any, Any]:
        if account != ACCOUNT or request.headers["Authorization"] != f"Bearer {ACCOUNTS_TOKEN}":
            raise Fault(401, 1000, "Invalid API Token")
        return self.verify(request, body)

    def list_zones(self, request: web.Request, body: Any) -> tuple[Any, Any]:
        _only(request, "name", "page", "per_page")
        about = {"account": {"id": ACCOUNT, "name": "hotel"}, "status": "active"}
        zones = [
            {"id": ZONE, "name": "example.com", "paused": False, **about},
            {"id": OTHER, "name": "paused.example", "paused": True, **about},
        ]
        return _page(
            request, [zone for zone in zones if zone["name"] == request.query.get("name", zone["name"])]
        )

    # --- settings ---

    def read_setting(self, request: web.Request, body: Any, zone: str, key: str) -> tuple[Any, Any]:
        self._zone(zone)
        _only(request)
        if key not in self.settings:
            raise Fault(400, 1006, "Unrecognized zone setting name")
        return {"id": key, "modified_on": None, **self.settings[key]}, None

    def set_setting(self, request: web.Request, body: Any, zone: str, key: str) -> tuple[Any, Any]:
        setting, _ = self.read_setting(request, body, zone, key)
        if set(body) != {"value"}:
            raise Fault(400, 1007, f"Invalid value for zone setting {key}")
        if not setting["editable"]:
            raise Fault(400, 1016, f"Not allowed to edit setting for {key}")
        value = body["value"]
        if type(value) is not type(setting["value"]) or (key == "security_level" and value not in _LEVELS):
            raise Fault(400, 1007, f"Invalid value for zone setting {key}")
        self.settings[key]["value"] = value
        return self.read_setting(request, body, zone, key)

    # --- access rules ---

    def list_rules(self, request: web.Request, body: Any, zone: str) -> tuple[Any, Any]:
        self._zone(zone)
        _only(
            request,
            "notes",
            "mode",
            "configuration.target",
            "configuration.value",
            "match",
            "page",
            "per_page",
        )
        notes, value = request.query.get("notes", ""), request.query.get("configuration.value")
        return _page(
            request,
            [
                rule
                for rule in self.rules
                if notes.lower() in rule["notes"].lower()
                and value in {None, rule["configuration"]["value"]}
                and request.query.get("mode") in {None, rule["mode"]}
            ],
        )

    def add(self, request: web.Request, body: Any, zone: str) -> tuple[Any, Any]:
        self._zone(zone)
        _only(request)
        if not set(body) <= {"mode", "configuration", "notes"} or body.get("mode") not in _MODES:
            raise Fault(400, 10003, "firewallaccessrules.api.invalid_mode")
        configuration = body.get("configuration", {})
        network = _network(configuration)
        if any(
            _network(rule["configuration"]) == network and rule["scope"]["type"] == "zone"
            for rule in self.rules
        ):
            raise Fault(400, 10009, "firewallaccessrules.api.duplicate_of_existing")
        return self.add_rule(configuration["value"], body.get("notes", ""), body["mode"]), None

    def remove(self, request: web.Request, body: Any, zone: str, rule: str) -> tuple[Any, Any]:
        self._zone(zone)
        found = [one for one in self.rules if one["id"] == rule and one["scope"]["type"] == "zone"]
        if not found:
            raise Fault(404, 10001, "firewallaccessrules.api.not_found")
        self.rules.remove(found[0])
        return {"id": rule}, None

    # --- records ---

    def list_records(self, request: web.Request, body: Any, zone: str) -> tuple[Any, Any]:
        self._zone(zone)
        _only(request, "name.exact", "type", "content.exact", "match", "page", "per_page")
        name, kind = request.query.get("name.exact"), request.query.get("type")
        return _page(
            request,
            [one for one in self.records if name in {None, one["name"]} and kind in {None, one["type"]}],
        )

    def change_record(self, request: web.Request, body: Any, zone: str, record: str) -> tuple[Any, Any]:
        self._zone(zone)
        _only(request)
        found = next((one for one in self.records if one["id"] == record), None)
        if found is None:
            raise Fault(404, 81044, "Record does not exist.")
        if not set(body) <= {"name", "type", "content", "ttl", "proxied", "comment", "tags", "settings"}:
            raise Fault(400, 9207, "Request body is invalid.")
        new = {**found, **body}
        _check_record(new)
        if any(one is not found and _key(one) == _key(new) for one in self.records):
            raise Fault(400, 81058, "An identical record already exists.")
        if new["proxied"]:
            new["ttl"] = 1
        found.update(new)
        return found, None

    def _zone(self, zone: str) -> None:
        if zone not in {ZONE, OTHER}:
            raise Fault(404, 7003, "Could not route to /zones, perhaps your object identifier is invalid?")


_RULES = r"/zones/([0-9a-f]{32})/firewall/access_rules/rules"
ROUTES = {
    r"/user/tokens/verify": {"GET": "verify"},
    r"/accounts/([0-9a-f]{32})/tokens/verify": {"GET": "verify_account"},
    r"/zones": {"GET": "list_zones"},
    r"/zones/([0-9a-f]{32})/settings/([a-z0-9_]+)": {"GET": "read_setting", "PATCH": "set_setting"},
    _RULES: {"GET": "list_rules", "POST": "add"},
    _RULES + r"/([0-9a-f]{32})": {"DELETE": "remove"},
    r"/zones/([0-9a-f]{32})/dns_records": {"GET": "list_records"},
    r"/zones/([0-9a-f]{32})/dns_records/([0-9a-f]{32})": {"PATCH": "change_record"},
}


def _failed(fault: Fault, headers: dict[str, str] | None = None) -> web.Response:
    errors = [{"code": fault.code, "message": fault.message}]
    body = {"success": False, "errors": errors, "messages": [], "result": None}
    return web.json_response(body, status=fault.status, headers=headers)


async def _body(request: web.Request) -> Any:
    if request.method not in {"POST", "PATCH"}:
        if request.can_read_body:
            raise Fault(400, 9207, "Request body is invalid.")
        return None
    if request.content_type != "application/json":
        raise Fault(400, 6003, "Invalid Content-Type header, valid values are application/json")
    body = await request.json()
    if not isinstance(body, dict):
        raise Fault(400, 6007, "Malformed JSON in request body")
    return body


def _only(request: web.Request, *known: str) -> None:
    if unknown := set(request.query) - set(known):
        raise Fault(400, 9207, f"unknown parameter {unknown}")


def _page(request: web.Request, rows: list[Any]) -> tuple[Any, Any]:
    page, size = int(request.query.get("page", "1")), int(request.query.get("per_page", "20"))
    if size != 1 and size % 5:
        raise Fault(400, 9207, "per_page is 1 or a multiple of 5")
    some = rows[(page - 1) * size : page * size]
    return some, {"page": page, "per_page": size, "count": len(some), "total_count": len(rows)}


def _network(configuration: dict[str, str]) -> Any:
    try:
        network = ipaddress.ip_network(configuration["value"])
    except (KeyError, ValueError):
        raise Fault(400, 10014, "firewallaccessrules.api.invalid_value") from None
    single = "/" not in configuration["value"]
    wanted = ("ip" if network.version == 4 else "ip6") if single else "ip_range"
    if configuration.get("target") != wanted or not (
        single or network.prefixlen in _PREFIXES[network.version]
    ):
        raise Fault(400, 10014, "firewallaccessrules.api.invalid_target")
    return network


def _check_record(record: dict[str, Any]) -> None:
    kind, content, ttl = record["type"], record["content"], record["ttl"]
    try:
        fine = {"A": ipaddress.IPv4Address, "AAAA": ipaddress.IPv6Address}.get(kind, str)(content)
    except ValueError:
        raise Fault(400, 9005, f"Content for {kind} record is invalid.") from None
    if not fine or not isinstance(record["proxied"], bool):
        raise Fault(400, 9207, "Request body is invalid.")
    if type(ttl) is not int or not (ttl == 1 or 30 <= ttl <= 86400):
        raise Fault(400, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")


def _key(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["name"], record["type"], record["content"]


@contextmanager
def running_cloudflare() -> Iterator[Cloudflare]:
    """Serve until the block ends, in a thread with a loop of its own; `url` is what CLOUDFLARE_BASE_URL is to be."""
    double, loop, ready = Cloudflare(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        app = web.Application()
        double.mount(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        double.url = f"http://127.0.0.1:{runner.addresses[0][1]}/client/v4"
        return runner

    def live() -> None:
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield double
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

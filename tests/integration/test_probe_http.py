"""The http probe against real servers: each cell of its row in the table of verdicts."""

import asyncio
import resource
import socket
import ssl
import struct
import subprocess
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.errors import ProbeError
from stopgap.probe import Verdict
from stopgap.probes.http import Http as HttpProbe, HttpParams
from stopgap.prometheus import Prometheus

LONG, SHORT = timedelta(seconds=10), timedelta(milliseconds=200)


async def ask(url, timeout=LONG, **given):
    http = Http()
    probe = HttpProbe(Context(http=http, prometheus=Prometheus(None, http.session), contacts=Contacts()))
    try:
        return await probe.ask(HttpParams.model_validate({"url": url, **given}), timeout)
    finally:
        await http.close()


async def answer(request):
    """Answer with what the query asks for, and remember the request."""
    request.app[SEEN].append(request)
    status = int(request.query.get("status", "200"))
    headers = {"Location": "/elsewhere"} if status == 302 else {}
    return web.Response(status=status, text=request.query.get("body", ""), headers=headers)


async def never(request):
    await asyncio.sleep(60)


SEEN = web.AppKey("seen", list)


@pytest.fixture
async def server():
    app = web.Application(client_max_size=0)
    app[SEEN] = []
    app.router.add_get("/", answer)
    app.router.add_get("/never", never)
    async with TestServer(app, handler_cancellation=True) as running:
        yield running


@asynccontextmanager
async def raw(reply, **given):
    """A server of plain bytes: reads the request, sends `reply`, hangs up (by a reset when `reply` is None)."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if reply is None:
            hard = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
        else:
            writer.write(reply)
            await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, **given)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("query", "given", "verdict", "why"),
    [
        ("", {}, Verdict.HEALTHY, "status 200"),
        ("?status=204", {"status": [200, 204]}, Verdict.HEALTHY, "status 204"),
        ("?status=503", {"status": 503}, Verdict.HEALTHY, "status 503"),
        ("?status=503", {}, Verdict.UNHEALTHY, "status 503, wanted 200"),
        ("?status=404", {"status": [200, 204]}, Verdict.UNHEALTHY, "status 404, wanted 200 or 204"),
        ("?status=302", {}, Verdict.UNHEALTHY, "status 302, wanted 200"),
        ("?status=302", {"status": 302}, Verdict.HEALTHY, "status 302"),
        ("?status=401", {}, Verdict.UNKNOWN, "status 401, wanted 200"),
        ("?status=403", {}, Verdict.UNKNOWN, "status 403, wanted 200"),
        ("?status=401", {"status": 401}, Verdict.HEALTHY, "status 401"),
        ("?body=fine", {"contains": "fine"}, Verdict.HEALTHY, "as wanted"),
        ("?body=fine", {"contains": "well"}, Verdict.UNHEALTHY, 'does not contain "well"'),
        ('?body={"db":"up"}', {"json": {"db": "up"}}, Verdict.HEALTHY, "as wanted"),
        ('?body={"db":"up"}', {"json": {"db": "down"}}, Verdict.UNHEALTHY, 'db is "up", wanted == "down"'),
        ("?body=<html>", {"json": {"db": "up"}}, Verdict.UNHEALTHY, "the body is not JSON"),
        ("?status=204", {"status": 204, "method": "HEAD"}, Verdict.HEALTHY, "status 204"),
    ],
)
async def test_an_answer_is_judged_by_what_was_wanted(server, query, given, verdict, why):
    finding = await ask(f"{server.make_url('/')}{query}", **given)
    assert finding.verdict is verdict
    assert why in finding.why


async def test_a_request_carries_its_headers_and_secrets_and_shows_none(server):
    url = SecretStr(str(server.make_url("/?status=500").with_user("probe").with_password("hunter2")))
    finding = await ask(url, headers={"X-Key": SecretStr("hunter3"), "Accept": "application/json"})
    (request,) = server.app[SEEN]
    assert request.headers["Authorization"] == "Basic cHJvYmU6aHVudGVyMg=="
    assert request.headers["X-Key"] == "hunter3"
    assert "hunter" not in finding.why


async def test_every_question_goes_over_a_connection_of_its_own(server):
    http = Http()
    probe = HttpProbe(Context(http=http, prometheus=Prometheus(None, http.session), contacts=Contacts()))
    params = HttpParams(url=str(server.make_url("/")))
    for _ in range(2):
        await probe.ask(params, LONG)
    await http.close()
    first, second = server.app[SEEN]
    assert first.headers["Connection"] == "close"
    assert first.protocol is not second.protocol


async def test_a_refused_connection_is_unhealthy():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    finding = await ask(f"http://127.0.0.1:{port}/")
    assert finding.verdict is Verdict.UNHEALTHY


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "http://127.0.0.1"),
        (b"", "closed before an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "closed within the answer"),
    ],
)
async def test_a_reset_and_a_broken_answer_are_unhealthy(reply, why):
    async with raw(reply) as port:
        finding = await ask(f"http://127.0.0.1:{port}/", contains="whole")
    assert finding.verdict is Verdict.UNHEALTHY
    assert why in finding.why


async def test_silence_is_unhealthy(server):
    finding = await ask(str(server.make_url("/never")), SHORT)
    assert finding.verdict is Verdict.UNHEALTHY
    assert "no answer within 200ms" in finding.why


async def test_tls_to_a_server_without_it_is_unhealthy(server):
    finding = await ask(f"https://127.0.0.1:{server.port}/")
    assert finding.verdict is Verdict.UNHEALTHY
    assert "TLS failed" in finding.why


async def test_a_certificate_that_nobody_vouches_for_is_unhealthy(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    await asyncio.to_thread(
        subprocess.run,
        [*command.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with raw(b"HTTP/1.1 200 OK\r\n\r\n", ssl=context) as port:
        finding = await ask(f"https://127.0.0.1:{port}/")
    assert finding.verdict is Verdict.UNHEALTHY
    assert "TLS failed: certificate verify failed" in finding.why


async def test_a_name_that_does_not_resolve_is_unknown():
    with pytest.raises(ProbeError, match=r"stopgap\.invalid: the name does not resolve"):
        await ask("http://stopgap.invalid/")


async def test_a_body_beyond_the_limit_is_unknown_where_it_matters():
    flood = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    async with raw(flood) as port:
        assert (await ask(f"http://127.0.0.1:{port}/")).verdict is Verdict.HEALTHY
        finding = await ask(f"http://127.0.0.1:{port}/", contains="y")
    assert finding.verdict is Verdict.UNKNOWN
    assert "larger than 1 MiB" in finding.why


async def test_a_machine_out_of_descriptors_did_not_look(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno(), hard))
    try:
        finding = await ask(str(server.make_url("/")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert finding.verdict is Verdict.UNKNOWN
    assert "Too many open files" in finding.why

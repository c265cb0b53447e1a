"""The tcp probe against real sockets: each cell of its row in the table of verdicts."""

import asyncio
import resource
import socket
from contextlib import contextmanager
from datetime import timedelta

import pytest

from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.errors import ProbeError
from stopgap.probe import Verdict
from stopgap.probes.tcp import Tcp, TcpParams
from stopgap.prometheus import Prometheus

LONG, SHORT = timedelta(seconds=10), timedelta(milliseconds=200)


async def ask(address, timeout=LONG):
    http = Http()
    probe = Tcp(Context(http=http, prometheus=Prometheus(None, http.session), contacts=Contacts()))
    return await probe.ask(TcpParams(address=address), timeout)


@contextmanager
def listening(family=socket.AF_INET, host="127.0.0.1", backlog=8):
    with socket.socket(family) as server:
        server.bind((host, 0))
        server.listen(backlog)
        yield server.getsockname()[1]


@contextmanager
def deaf():
    """A listener whose queue is full: the kernel answers no more connection attempts."""
    with listening(backlog=0) as port:
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        yield port
        for one in waiting:
            one.close()


def closed_port():
    with listening() as port:
        return port


async def test_an_accepted_connection_is_healthy():
    with listening() as port:
        finding = await ask(f"127.0.0.1:{port}")
    assert finding.verdict is Verdict.HEALTHY
    assert finding.why == f"127.0.0.1:{port}: connected"


async def test_an_address_in_brackets_is_ipv6():
    with listening(socket.AF_INET6, "::1") as port:
        assert (await ask(f"[::1]:{port}")).verdict is Verdict.HEALTHY


async def test_a_name_is_tried_at_all_its_addresses():
    with listening() as port:
        assert (await ask(f"localhost:{port}")).verdict is Verdict.HEALTHY


async def test_a_refused_connection_is_unhealthy():
    finding = await ask(f"127.0.0.1:{closed_port()}")
    assert finding.verdict is Verdict.UNHEALTHY
    assert "Connect call failed" in finding.why or "refused" in finding.why


async def test_a_refusal_at_every_address_of_a_name_is_unhealthy():
    assert (await ask(f"localhost:{closed_port()}")).verdict is Verdict.UNHEALTHY


async def test_silence_is_unhealthy():
    with deaf() as port:
        finding = await ask(f"127.0.0.1:{port}", SHORT)
    assert finding.verdict is Verdict.UNHEALTHY
    assert "no connection within 200ms" in finding.why


async def test_a_name_that_does_not_resolve_is_unknown():
    with pytest.raises(ProbeError, match=r"stopgap\.invalid: the name does not resolve"):
        await ask("stopgap.invalid:80")


async def test_a_resolver_that_is_silent_is_unknown(monkeypatch):
    async def silent(*args, **kwargs):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silent)
    with pytest.raises(ProbeError, match="does not resolve in time"):
        await ask("db.example.com:80", SHORT)


async def test_a_name_that_no_resolver_takes_is_unknown():
    with pytest.raises(ProbeError, match="does not resolve"):
        await ask(f"{'a' * 70}.example.com:80")


async def test_a_machine_out_of_descriptors_did_not_look():
    with listening() as port:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as highest:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest.fileno(), hard))
        try:
            finding = await ask(f"127.0.0.1:{port}")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert finding.verdict is Verdict.UNKNOWN
    assert "Too many open files" in finding.why

"""Real database servers, Redis and nginx for tests: each a process of its own on a free port of 127.0.0.1, ended by its pid.

```python
def test_x(postgres):            # one server per worker, started at first use; also: mariadb, redis_server
    base = postgres.database()   # a fresh database; base.name, base.run("CREATE TABLE …"), base.rows("SELECT …")

with running_nginx("server { listen PORT; return 200; }") as web: ...      # PORT and HOME are put in
with running_redis("--maxmemory", "8mb") as server: server.stop(); server.start()
```

A server that refuses to run as root runs as nobody, and each has its files in a folder of its own, whose path is short enough for
a socket. A missing Debian package is an error, never a skip.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.prometheus_server import free_port

READY_SECONDS = 30.0
END_SECONDS = 10.0
PASSWORD = "it's a:p@ss/w%rd"  # with all that an address would have to escape
_TRIES = 3
_NOBODY = 65534
_PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/sbin")


class Server:
    """One server: where it listens, its folder, and its life. `command` is given the port, `ready` looks at the log."""

    def __init__(self, name: str, home: Path, command: Callable[[int], Sequence[str]], ready: str) -> None:
        self.name = name
        self.home = home
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._ready = ready

    @property
    def address(self) -> str:
        """Return `127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Return its address as that of a website."""
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        """Return the pid of the first process."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start, and return when it serves; on the same port as before, at first on one that is free."""
        for _ in range(_TRIES):
            port = self.port or free_port()
            try:
                self._start(port)
            except RuntimeError:
                if self.port or not _in_use(self.said()):
                    raise
                continue
            self.port = port
            return
        raise RuntimeError(f"{self.name} found no free port in {_TRIES} tries")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the process, and wait for its end; SIGKILL when it does not listen."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(END_SECONDS)
        self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it accept connections and answer nothing, within the block."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def said(self) -> str:
        """Return the end of its log."""
        return self._log.read_text(errors="replace")[-4000:]

    @property
    def _log(self) -> Path:
        return self.home / "log"

    def _start(self, port: int) -> None:
        with self._log.open("wb") as out:
            self.process = _spawn(self._command(port), self.home, out)
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                self.process = None
                raise RuntimeError(f"{self.name} ended at its start:\n{self.said()}")
            if self._ready in self._log.read_text(errors="replace") and _accepts(port):
                return
            time.sleep(0.02)
        self.stop(signal.SIGKILL)
        raise RuntimeError(f"{self.name} was not ready within {READY_SECONDS:g} s:\n{self.said()}")


@dataclass(frozen=True)
class Base:
    """A database of its own within a server, and a user who owns it: `user` with PASSWORD."""

    server: Server
    name: str
    user: str
    connect: Callable[[str], Any]

    @property
    def locator(self) -> str:
        """Return where it is, without the password."""
        return f"{self.server.name}://{self.user}@{self.server.address}/{self.name}"

    @property
    def url(self) -> str:
        """Return where it is, with its user and the password."""
        return (
            f"{self.server.name}ql://{self.user}:{quote(PASSWORD, safe='')}@{self.server.address}/{self.name}"
        )

    def run(self, *statements: str) -> None:
        """Execute and commit, as an administrator."""
        with self.connect(self.name) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query returns, to an administrator."""
        with self.connect(self.name) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return [tuple(row) for row in cursor.fetchall()]


class Postgres(Server):
    """PostgreSQL: the superuser is `postgres`, with PASSWORD; its socket is in `home`."""

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it at once; at SIGTERM it would wait for its clients."""
        super().stop(number)

    def connect(self, database: str = "postgres") -> Any:
        """Connect as the superuser; each statement commits itself."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
        )

    def database(self) -> Base:
        """Make a database, owned by a new user."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self.connect() as admin:
            admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
            admin.execute(f"CREATE DATABASE {name} OWNER {name}")
        with self.connect(name) as admin:
            admin.execute(f"ALTER SCHEMA public OWNER TO {name}")
        return Base(self, name, name, self.connect)


class Mariadb(Server):
    """MariaDB: `root` has no password, by the socket only."""

    @property
    def socket(self) -> Path:
        """Return its socket."""
        return self.home / "socket"

    def connect(self, database: str = "mysql") -> Any:
        """Connect as root; each statement commits itself."""
        import pymysql

        return pymysql.connect(
            unix_socket=str(self.socket), user="root", password="", database=database, autocommit=True
        )

    def database(self) -> Base:
        """Make a database, and a user who may do everything in it."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self.connect() as admin, admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            cursor.execute(f"CREATE USER {name}@'%%' IDENTIFIED BY %s", (PASSWORD,))
            cursor.execute(f"GRANT ALL ON {name}.* TO {name}@'%'")
        return Base(self, name, name, self.connect)


@contextmanager
def running_postgres(*options: str) -> Iterator[Postgres]:
    """Run a PostgreSQL until the block ends; `options` are further settings, such as `max_connections=5`."""
    binaries = _postgres_binaries()
    with _home() as home:
        (home / "password").write_text(PASSWORD)
        settled = [binaries / "initdb", "-D", home / "data", "-U", "postgres", "-E", "UTF8", "--locale=C"]
        _run([*settled, "-N", "-A", "scram-sha-256", f"--pwfile={home / 'password'}"], home)
        chosen = [
            "fsync=off",
            "shared_buffers=16MB",
            "max_connections=40",
            "authentication_timeout=2s",  # a client that hung up in the middle holds a shutdown so long
            "listen_addresses=127.0.0.1",
            *options,
        ]
        flags = [part for each in chosen for part in ("-c", each)]
        command = [str(binaries / "postgres"), "-D", str(home / "data"), "-k", str(home), *flags]
        server = Postgres(
            "postgres", home, lambda port: [*command, "-p", str(port)], "ready to accept connections"
        )
        with _life(server):
            yield server


@contextmanager
def running_mariadb(*options: str) -> Iterator[Mariadb]:
    """Run a MariaDB until the block ends; `options` are further flags."""
    with _home() as home:
        small = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M"]
        install = [
            _program("mariadb-install-db", "mariadb-server"),
            "--no-defaults",
            f"--datadir={home / 'data'}",
        ]
        _run(
            [*install, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"],
            home,
        )
        command = [
            _program("mariadbd", "mariadb-server"),
            "--no-defaults",
            f"--datadir={home / 'data'}",
            f"--socket={home / 'socket'}",
            f"--pid-file={home / 'pid'}",
            f"--tmpdir={home}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            *small,
            *options,
        ]
        server = Mariadb("mysql", home, lambda port: [*command, f"--port={port}"], "ready for connections")
        with _life(server):
            yield server


@contextmanager
def running_redis(*options: str) -> Iterator[Server]:
    """Run a Redis that keeps nothing until the block ends; `options` are further flags, such as `--requirepass x`."""
    program = _program("redis-server", "redis-server")
    with _home() as home:
        command = [
            program,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(home),
            "--unixsocket",
            str(home / "socket"),
            *options,
        ]
        server = Server(
            "redis", home, lambda port: [*command, "--port", str(port)], "Ready to accept connections"
        )
        with _life(server):
            yield server


@contextmanager
def running_nginx(http: str) -> Iterator[Server]:
    """Run an nginx whose `http` block holds these lines, in which PORT and HOME are replaced, until the block ends."""
    program = _program("nginx", "nginx-light")
    with _home() as home:
        server = Server("nginx", home, lambda port: _nginx_command(program, home, port, http), "")
        with _life(server):
            yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Mariadb]:
    with running_mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    with running_redis() as server:
        yield server


def _nginx_command(program: str, home: Path, port: int, http: str) -> list[str]:
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    body = http.replace("PORT", str(port)).replace("HOME", str(home))
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/error.log;\n"
        f"events {{ worker_connections 128; }}\n"
        f"http {{\naccess_log off;\n{temporary}{body}\n}}\n"
    )
    return [program, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]


@contextmanager
def _life(server: Server) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


@contextmanager
def _home() -> Iterator[Path]:
    """Make a folder that the server's user owns: pytest's own are for the tester alone."""
    home = Path(tempfile.mkdtemp(prefix="stopgap-", dir="/tmp"))
    home.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(home, _NOBODY, _NOBODY)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _spawn(command: Sequence[object], home: Path, out: Any) -> subprocess.Popen[bytes]:
    """Start a command in its folder, as nobody if the tester is root."""
    drop = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        cwd=home,
        env=env,
        **drop,
    )


def _run(command: Sequence[object], home: Path) -> None:
    with (home / "setup.log").open("wb") as out:
        code = _spawn(command, home, out).wait(60)
    if code != 0:
        raise RuntimeError(f"{command[0]} exited with {code}:\n{(home / 'setup.log').read_text()[-4000:]}")


def _program(name: str, package: str) -> str:
    places = os.pathsep.join((os.environ.get("PATH", ""), *_PLACES))
    found = shutil.which(name, path=places)
    if found is None:
        raise RuntimeError(
            f"{name} is not installed, and this test needs the real one: apt-get install {package}"
        )
    return found


def _postgres_binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    return Path(_program("postgres", "postgresql")).parent


def _in_use(log: str) -> bool:
    return "already in use" in log or "Address in use" in log or "in use" in log


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False

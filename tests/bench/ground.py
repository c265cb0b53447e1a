"""Ground: where a run stands: its directory, its size, and the servers that it starts and ends."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.bench.rules import write_rules
from tests.bench.scale import Scale
from tests.bench.servers import Daemon, NotMeasured, Server, free_port

FEW = 10  # rules
CONTROL = "bench-control-token"  # daemons that may share a database need one

AnyServer = TypeVar("AnyServer", bound=Server)

Database = Callable[[], str]
"""Makes a database and returns its URL."""


class Ground:
    """One directory for all that a run writes; what acts tells `sink`, a port, or makes files in `folder`."""

    def __init__(self, directory: Path, scale: Scale) -> None:
        self.directory = directory
        self.scale = scale
        self.sink = free_port()
        self.folder = directory / "effects"
        self.folder.mkdir()
        self._databases: dict[str, str] = {}

    def rules(self, count: int = FEW) -> Path:
        """Return a directory with so many rules."""
        directory = self.directory / f"rules-{count}"
        return directory if directory.exists() else write_rules(directory, count, (self.sink, self.folder))

    @contextmanager
    def daemon(self, name: str, rules: int = FEW, database: Database | None = None) -> Iterator[Daemon]:
        """Start a daemon as an operator does; the same name finds the same data again."""
        port = free_port()
        data, where = self.directory / name, self.rules(rules)
        command = [sys.executable, "-m", "stopgap", "serve", "--rules", str(where), "--data", str(data)]
        more = {}
        if database is not None:
            if name not in self._databases:
                self._databases[name] = database()
            more = {"STOPGAP_DATABASE_URL": self._databases[name], "STOPGAP_CONTROL_TOKEN": CONTROL}
        log = self.directory / f"{name}.log"
        with ending(Daemon([*command, "--listen", f"127.0.0.1:{port}"], port, log, more)) as daemon:
            try:
                yield daemon
            except NotMeasured as error:
                raise NotMeasured(f"{error}\nthe daemon said last:\n{daemon.said()}") from error

    @contextmanager
    def bare(self) -> Iterator[Server]:
        """Start the server that everything is compared with."""
        with self.layer("bare") as server:
            yield server

    @contextmanager
    def layer(self, name: str) -> Iterator[Server]:
        """Start a server that does as much as the layer of that name."""
        port = free_port()
        module = "tests.bench.bare" if name == "bare" else "tests.bench.layered"
        arguments = (
            [str(port)] if name == "bare" else [name, str(port), str(self.directory / f"layer-{name}")]
        )
        command = [sys.executable, "-m", module, *arguments]
        with ending(Server(command, port, self.directory / f"{name}.log")) as server:
            yield server


@contextmanager
def ending(server: AnyServer) -> Iterator[AnyServer]:
    """End a server with the block."""
    try:
        yield server
    finally:
        server.stop()

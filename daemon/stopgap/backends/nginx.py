"""nginx: a file of `deny ADDRESS;` lines that its configuration includes, and the nginx that reads it.

Our lines stand below the comments that open the file, above all others: of `allow` and `deny` nginx takes the first that fits.
Each carries the incident (`deny 203.0.113.7; # stopgap INC-…`), and only such lines are ever removed; what else stands there stays
to the byte. The file counts after a reload: `restart` of the same locator is that, a graceful one (`nginx -t`, then
`nginx -s reload`), for which the daemon needs the rights of nginx's user. Where it has not, use `restart: systemd://nginx`.
"""

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

from stopgap.backends.capability import Blocklist, Entry, Listed, Restartable, Running
from stopgap.backends.command import Command
from stopgap.backends.file import FileFlags
from stopgap.backends.locator import Locator
from stopgap.backends.network import Network, overlap, written
from stopgap.errors import PermanentError

_OURS = re.compile(r"deny ([0-9a-f.:/]+); # stopgap ([A-Za-z0-9._-]{1,64})\r?\n?")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_STATEMENT = re.compile(r"(?<![^;{}\s])(allow|deny)\s+([^\s;{}]+)\s*;")
_PID = re.compile(r"(?<![^;{}\s])pid\s+[\"']?([^\s;\"']+)[\"']?\s*;")
_USUAL_PID = "/run/nginx.pid"
_COMMENT = re.compile(r"#.*")
_CONFIGURATION = re.compile(r"/[^\s;{}\"']{1,500}")
_ALL = ""  # the one setting of a file of which the whole text is the setting
_NGINX = Command(("nginx",), "install nginx, or write restart: systemd://nginx")


class _Text(FileFlags):
    """A file whose whole text is one setting: changed at once, under the lock, as every file is."""

    schemes = ("nginx",)
    example = "nginx:///etc/nginx/blocked.conf"

    def find(self, text: str, keys: Collection[str]) -> dict[str, Entry]:
        """Return the text."""
        return dict.fromkeys(keys, Entry(text))

    def edit(self, text: str, entries: Mapping[str, Entry]) -> str:
        """Return the new text."""
        return entries[_ALL].value or "" if _ALL in entries else text


class Nginx(Blocklist, Restartable):
    """`nginx:///etc/nginx/blocked.conf`; `#/srv/nginx.conf` names the main configuration, if it is not nginx's own."""

    schemes = ("nginx",)
    example = "nginx:///etc/nginx/blocked.conf"

    def __init__(self, locator: Locator) -> None:
        locator.only("path", "fragment?")
        if locator.fragment and not _CONFIGURATION.fullmatch(locator.fragment):
            raise ValueError(f"{locator.fragment[:100]!r} is not the absolute path of nginx's configuration")
        self._file = _Text(Locator(locator.scheme, "", locator.path, ""))
        self._main = ("-c", locator.fragment) if locator.fragment else ()

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return self._file.name

    # --- the list ---

    def check_network(self, network: Network) -> None:
        """Take every address and network."""

    async def look(self, network: Network, within: timedelta) -> Listed:
        """Read the file."""
        return _listed((await self._file.read((_ALL,), within))[_ALL].value or "", network)

    async def ban(self, network: Network, mark: str, most: int, within: timedelta) -> None:
        """Write the file with one more line."""

        def plan(now: Mapping[str, Entry]) -> Mapping[str, Entry]:
            text = now[_ALL].value or ""
            wanted = _listed(text, network).wants(network, most, self.name)
            return {_ALL: Entry(_with(text, f"deny {written(network)}; # stopgap {mark}"))} if wanted else {}

        await self._file.change((_ALL,), plan, within)

    async def lift(self, network: Network, mark: str, within: timedelta) -> Listed:
        """Write the file without our line."""
        found = []

        def plan(now: Mapping[str, Entry]) -> Mapping[str, Entry]:
            text = now[_ALL].value or ""
            found.append(_listed(text, network))
            return {_ALL: Entry(_without(text, network, mark))}

        await self._file.change((_ALL,), plan, within)
        return found[0]

    async def try_banning(self, network: Network, most: int, within: timedelta) -> None:
        """See that there is room and the file could be replaced. Whether nginx includes it, a probe tells."""
        text = (await self._file.read((_ALL,), within))[_ALL].value or ""
        _listed(text, network).wants(network, most, self.name)
        await self._file.try_writing(({_ALL: text},), within)

    # --- the reload ---

    async def observe(self, within: timedelta) -> Running:
        """See which workers the master has: a reload starts others."""
        text = _COMMENT.sub("", await _NGINX.ask("-T", "-q", *self._main, within=within))
        named = _PID.search(text)
        workers = await asyncio.to_thread(_workers, Path(named[1] if named else _USUAL_PID))
        return Running(bool(workers), {"nginx": ",".join(workers)} if workers else {})

    async def restart(self, within: timedelta) -> None:
        """Test the configuration, then let the master read it: connections are served to their end."""
        await _NGINX.tell("-t", "-q", *self._main, within=within)
        await _NGINX.tell("-s", "reload", "-q", *self._main, within=within)


def _listed(text: str, network: Network) -> Listed:
    """Look for our line, then for those of others; an `allow` counts when it lets in part or all of it, but not everybody."""
    ours = [line for each in _LINE.findall(text) if (line := _OURS.fullmatch(each))]
    mark: str | None = next((line[2] for line in ours if _read(line[1]) == network), None)
    theirs = [(verb, one) for verb, one in _statements(text) if one is not None]
    allowed = any(verb == "allow" and overlap(one, network) for verb, one in theirs)
    if mark is None and (allowed or ("deny", network) in theirs):
        mark = ""
    return Listed(mark, len(ours), "allow" if allowed else "")


def _statements(text: str) -> Iterator[tuple[str, Network | None]]:
    """Find the statements of others."""
    for line in _LINE.findall(text):
        if not _OURS.fullmatch(line):
            for found in _STATEMENT.finditer(_COMMENT.sub("", line)):
                yield found[1], _read(found[2])


def _read(word: str) -> Network | None:
    """Read an address; None of `all`, `unix:` and what is none."""
    try:
        return ip_network(word, strict=False)
    except ValueError:
        return None


def _with(text: str, line: str) -> str:
    """Put a line below the comments that open the file."""
    at = 0
    for each in _LINE.findall(text):
        if not (each.lstrip().startswith("#") or not each.strip()) or not each.endswith("\n"):
            break
        at += len(each)
    return f"{text[:at]}{line}\n{text[at:]}"


def _without(text: str, network: Network, mark: str) -> str:
    kept = []
    for each in _LINE.findall(text):
        ours = _OURS.fullmatch(each)
        if not (ours and _read(ours[1]) == network and ours[2] == mark):
            kept.append(each)
    return "".join(kept)


def _workers(path: Path) -> list[str]:
    """Name the children of the master whose pid stands in a file. Raises PermanentError."""
    try:
        master = int(path.read_text()[:20] or "0")  # a test of the configuration leaves an empty one
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        raise PermanentError(f"the pid file of nginx, {path}, cannot be read") from None
    return sorted(_children(master)) if master else []


def _children(pid: int) -> Iterator[str]:
    """Name each child of a process with the moment of its start (proc_pid_stat(5), fields 4 and 22)."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()
            except OSError:  # it ended just now
                continue
            if fields[1:2] == [str(pid)]:
                yield f"{folder.name}@{fields[19]}"

"""Settings: how one daemon is run; from flags, else from STOPGAP_… in the environment, else the defaults here.

Secrets come only from the environment or from files (`STOPGAP_WEBHOOK_TOKEN_FILE`), and are never printed. Everything that can be
wrong is a ValidationError when the settings are made, except what only serving needs: `address` refuses an open door.
"""

import ipaddress
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from stopgap.config import read_vars
from stopgap.errors import ConfigError, Problem
from stopgap.rule import Mode

PREFIX = "STOPGAP_"
LARGEST_SECRET = 64 * 1024  # bytes
_LAST_PORT = 65_535


class LogFormat(StrEnum):
    """How log lines look: `auto` is text on a terminal, else JSON."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least important lines that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _words(given: Any) -> Any:
    """Split a variable at commas and white space."""
    return given.replace(",", " ").split() if isinstance(given, str) else given


def _lines(given: Any) -> Any:
    """Split a variable at line ends: a var's value may hold anything else."""
    return [line for line in given.splitlines() if line.strip()] if isinstance(given, str) else given


def _web_address(text: str) -> str:
    try:
        url = urlsplit(text)
        fine = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        fine = False
    if not fine or not text.isprintable():
        raise ValueError("this is not a web address: write http://host:9090")
    return text


def _assignment(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not equals or not name.strip():
        raise ValueError("write NAME=VALUE, or PACK/NAME=VALUE for one pack only")
    return text


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > _LAST_PORT:
        raise ValueError("write HOST:PORT, such as 127.0.0.1:9797 or [::1]:9797")
    return text


def _readable(given: Any) -> Any:
    if isinstance(given, _Unreadable):
        raise ValueError(given.why)  # noqa: TRY004 - pydantic's
    return given


class _Unreadable:
    """Stands for a secret whose file could not be read."""

    def __init__(self, why: str) -> None:
        self.why = why


Url = Annotated[str, AfterValidator(_web_address)]
Secret = Annotated[SecretStr | None, BeforeValidator(_readable)]


class Settings(BaseSettings):
    """One flat set of settings; each is also a variable: `listen` is STOPGAP_LISTEN."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    rules: Annotated[Path, Field(description="The directory of rule packs.")] = Path("rules")
    data: Annotated[
        Path, Field(description="The daemon's own directory: its database and its control token.")
    ] = Path("data")
    listen: Annotated[
        str,
        Field(description="HOST:PORT to listen on. Beyond this machine only with a webhook token."),
        AfterValidator(_host_and_port),
    ] = "127.0.0.1:9797"
    prometheus: Annotated[
        Url | None, Field(description="Prometheus, which promql probes ask. Without: unknown.")
    ] = None
    alertmanager: Annotated[
        tuple[Url, ...],
        NoDecode,
        BeforeValidator(_words),
        Field(description="Every Alertmanager that notifies us."),
    ] = ()
    receiver: Annotated[str, Field(description="The name of our receiver in Alertmanager.")] = ""
    mode: Annotated[Mode, Field(description="Upper bound of what rules may do: auto, approve or shadow.")] = (
        Mode.AUTO
    )
    vars: Annotated[
        tuple[Path, ...],
        NoDecode,
        BeforeValidator(_words),
        Field(description="YAML files with vars; later ones win."),
    ] = ()
    var: Annotated[
        tuple[Annotated[str, AfterValidator(_assignment)], ...],
        NoDecode,
        BeforeValidator(_lines),
        Field(description="Single vars, NAME=VALUE or PACK/NAME=VALUE, one in a line; they win over files."),
    ] = ()
    webhook_token: Annotated[
        Secret, Field(description="What Alertmanager must show: bearer, or password of basic.")
    ] = None
    control_token: Annotated[
        Secret, Field(description="What people must show. Without: DATA/control.token is made.")
    ] = None
    max_body: Annotated[int, Field(ge=1024, description="Bytes that one notification may have.")] = (
        64 * 1024 * 1024
    )
    log_format: Annotated[LogFormat, Field(description="auto, json or console.")] = LogFormat.AUTO
    log_level: Annotated[LogLevel, Field(description="debug, info, warning or error.")] = LogLevel.INFO

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where to listen, the host without brackets."""
        host, _, port = self.listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @property
    def address(self) -> tuple[str, int]:
        """Where to listen. Raises ConfigError when that lets strangers in: ask before anything is started."""
        host, port = self.host_and_port
        if self.webhook_token is None and not is_loopback(host):
            text = f"listening on {host} lets everybody on the network make alerts up"
            hint = f"set {PREFIX}WEBHOOK_TOKEN or {PREFIX}WEBHOOK_TOKEN_FILE, or listen on 127.0.0.1"
            raise ConfigError((Problem("--listen", 1, 1, "", text, hint),))
        return host, port

    def all_vars(self) -> dict[str, str]:
        """Return the vars of files and flags, by name or `pack/name`. Reads the files anew. Raises ConfigError."""
        found: dict[str, str] = {}
        for path in self.vars:
            found |= read_vars(path)
        for assignment in self.var:
            name, _, value = assignment.partition("=")
            found[name.strip()] = value
        return found

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the port
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the port
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank flags over variables over files of secrets; no .env is read."""
        return init_settings, env_settings, SecretFiles(settings_cls, os.environ)


class SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret from the file that `STOPGAP_<NAME>_FILE` names."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the file without its line end, or what stands for a file that cannot be read."""
        file = self._environ.get(f"{PREFIX}{field_name.upper()}_FILE", "")
        if not file or "SecretStr" not in str(field.annotation):
            return None, field_name, False
        return _content(Path(file)), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the files hold."""
        values = (
            (name, self.get_field_value(field, name)[0])
            for name, field in self.settings_cls.model_fields.items()
        )
        return {name: value for name, value in values if value is not None}


def _content(path: Path) -> str | _Unreadable:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_SECRET + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        return _Unreadable(f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _Unreadable(f"{path} is not text")
    if not text or len(content) > LARGEST_SECRET:
        return _Unreadable(f"{path} is {'empty' if not text else 'larger than 64 KiB'}")
    return text


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host; a name other than localhost may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Settings: what a daemon is told by flags, by `STOPGAP_…` in the environment, and, for secrets only, by files.

A flag outranks the environment, the environment outranks the defaults. A secret stands in `STOPGAP_X` or in the file that
`STOPGAP_X_FILE` names, never on a command line and never in a rule.
"""

import ipaddress
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from stopgap.config import read_vars
from stopgap.config.codes import Wrong
from stopgap.duration import Duration
from stopgap.errors import ConfigError, Problem
from stopgap.retention import LEAST
from stopgap.rule import Mode

LONGEST_FILE = 64 * 1024  # characters of a secret
_VAR = re.compile(r"(?P<name>(?:[A-Za-z0-9_.-]+/)?[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)

Listed = NoDecode  # pydantic-settings would read JSON


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `STOPGAP_X_FILE` for every setting that is a secret."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the secret's file, without the line end. Raises ValueError when it cannot be read."""
        path = os.environ.get(f"STOPGAP_{field_name.upper()}_FILE")
        if path is None or field.annotation != SecretStr | None:
            return None, field_name, False
        try:
            with Path(path).open(encoding="utf-8") as file:
                text = file.read(LONGEST_FILE + 1).rstrip("\r\n")
        except UnicodeDecodeError:
            raise ValueError(f"STOPGAP_{field_name.upper()}_FILE: {path} is not text") from None
        except OSError as error:
            raise ValueError(f"STOPGAP_{field_name.upper()}_FILE: {path}: {error.strerror}") from None
        if not text or len(text) > LONGEST_FILE:
            wrong = "is larger than 64 KiB" if text else "is empty"
            raise ValueError(f"STOPGAP_{field_name.upper()}_FILE: {path} {wrong}")
        return text, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all secrets that come from files."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


class StoreSettings(BaseSettings):
    """Where the store lives: all that a command needs to know that asks no daemon. Raises as Settings does."""

    model_config = SettingsConfigDict(env_prefix="STOPGAP_", extra="ignore", hide_input_in_errors=True)

    data: Path = Field(Path("data"), description="The daemon's own directory: database, lock, control token.")
    database_url: SecretStr | None = Field(
        None,
        description="postgresql://USER:PASSWORD@HOST:PORT/NAME: several daemons share this store, and one leads; else SQLite.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank flags over the environment, and that over the files of secrets."""
        return init_settings, env_settings, SecretFiles(settings_cls)


class Settings(StoreSettings):
    """One daemon's settings. Raises pydantic's ValidationError, or ValueError for a file of a secret."""

    rules: Path = Field(Path("rules"), description="The directory of rule packs, one pack, or one file.")
    listen: str = Field("127.0.0.1:9797", description="HOST:PORT; beyond loopback a webhook token is a must.")
    prometheus: str | None = Field(None, description="URL of the Prometheus that promql probes ask.")
    alertmanager: Annotated[tuple[str, ...], Listed] = Field(
        (), description="URLs of all Alertmanagers: what messages say is held against what they say."
    )
    poll_every: Duration = Field(
        timedelta(seconds=30), description="How often Alertmanagers are asked what fires, from 1s to 2m."
    )
    resend_delay: Duration = Field(
        timedelta(minutes=1),
        description="How often Prometheus sends an alert again: its --rules.alert.resend-delay, or its longest interval "
        "of evaluation where that is longer. An Alertmanager that runs for less than twice as long proves no end.",
    )
    external_url: str | None = Field(
        None, description="URL under which people reach this daemon; messages then carry links that approve."
    )
    receiver: str | None = Field(
        None, description="Our receiver's name in Alertmanager; else learnt from the first notification."
    )
    mode: Mode = Field(Mode.AUTO, description="Upper bound of what rules may do: auto, approve or shadow.")
    probation: Duration = Field(
        timedelta(), description="How long a rule that was never loaded before is held in shadow."
    )
    retention: Duration = Field(
        timedelta(days=90),
        description="How long closed incidents are kept, 7d or longer; 0: for ever. What a guard still needs stays longer.",
    )
    heartbeat_url: SecretStr | None = Field(
        None,
        description="URL outside that hears regularly that notifications could be taken; may be a secret.",
    )
    heartbeat_every: Duration = Field(
        timedelta(minutes=1),
        description="How often the heartbeat URL hears so; the service outside must wait for longer.",
    )
    vars: Annotated[tuple[Path, ...], Listed] = Field(
        (), description="YAML files with vars that outrank the packs'."
    )
    var: Annotated[tuple[str, ...], Listed] = Field(
        (), description="Single vars, [PACK/]NAME=VALUE; outrank files."
    )
    hosts: Annotated[tuple[str, ...], Listed] = Field(
        (), description="Host names under which control may be asked."
    )
    max_body: int = Field(64 * 1024 * 1024, ge=1024, description="Largest notification, in bytes.")
    log_format: str = Field(
        "auto", pattern="^(auto|json|console)$", description="json, console, or auto by terminal."
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="The least that is logged."
    )
    peer_url: str | None = Field(
        None, description="URL under which the other daemons on the database reach this one's API."
    )
    leader_ttl: Duration = Field(
        timedelta(seconds=5),
        description="After how long without a sign of life of the daemon that leads another one takes over, from 1s to 1m.",
    )
    webhook_token: SecretStr | None = Field(
        None, description="Bearer token (or Basic password) of the webhook."
    )
    control_token: SecretStr | None = Field(
        None, description="Token of the API; else DATA/control.token is made."
    )

    @field_validator("alertmanager", "vars", "var", "hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Let commas separate what comes as one text from the environment; a var may hold them, so lines separate vars."""
        if isinstance(value, str):
            return tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())
        return value

    @field_validator("prometheus")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("write a URL such as http://127.0.0.1:9090")
        return value

    @field_validator("external_url")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = urlsplit(value)
            sound = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            sound = False
        if not sound or not value.isascii() or re.search(r"[?#@\s]", value):
            raise ValueError(
                "write a URL such as https://stopgap.example.com, without user, query and fragment"
            )
        return value.rstrip("/")

    @field_validator("heartbeat_url")
    @classmethod
    def _web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value().strip()
        try:
            url = urlsplit(text)
            sound = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            sound = False
        if not sound or re.search(r"\s", text):
            raise ValueError("write a URL such as https://hc-ping.com/UUID, or unset it")
        return SecretStr(text)

    @field_validator("heartbeat_every", "resend_delay")
    @classmethod
    def _bearable(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(hours=1):
            raise ValueError("write a duration from 1s to 1h, such as 60s")
        return value

    @field_validator("peer_url")
    @classmethod
    def _peer(cls, value: str | None) -> str | None:
        return cls._url(value.rstrip("/")) if value else None

    @field_validator("leader_ttl")
    @classmethod
    def _takes_over_soon(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(minutes=1):
            raise ValueError("write a duration from 1s to 1m, such as 5s")
        return value

    @model_validator(mode="after")
    def _one_word_for_all(self) -> Self:
        if self.database_url is not None and self.control_token is None:
            raise ValueError(
                "daemons that share a database need one control token for all: set STOPGAP_CONTROL_TOKEN_FILE to the same on each"
            )
        return self

    @field_validator("poll_every")
    @classmethod
    def _prompt(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(minutes=2):
            raise ValueError("write a duration from 1s to 2m, such as 30s: a lost message is found no sooner")
        return value

    @field_validator("retention")
    @classmethod
    def _long_enough(cls, value: timedelta) -> timedelta:
        if timedelta() < value < LEAST:
            raise ValueError("write 7d or longer, such as 90d, or 0 to keep everything")
        return value

    @field_validator("webhook_token", "control_token")
    @classmethod
    def _word(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("an empty token would let everybody in: unset it or fill it")
        return value

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Self:
        host, _ = self.address
        if self.webhook_token is None and not _is_loopback(host):
            raise ValueError(
                f"listening on {self.listen} without a webhook token would let anybody on the network act: "
                "set STOPGAP_WEBHOOK_TOKEN_FILE, or listen on 127.0.0.1"
            )
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port of `listen`. Raises ValueError."""
        host, colon, port = self.listen.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the largest port
            raise ValueError(f"listen is {self.listen!r}: write HOST:PORT, such as 127.0.0.1:9797")
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - an empty host means all, as everywhere

    def all_vars(self) -> dict[str, str]:
        """Return the vars of all files and flags; later ones outrank earlier ones. Raises ConfigError."""
        found: dict[str, str] = {}
        for path in self.vars:
            found |= read_vars(path)
        for text in self.var:
            match = _VAR.fullmatch(text)
            if match is None:
                said, hint = f"{text[:60]!r} is no var", "write NAME=VALUE or PACK/NAME=VALUE"
                problem = Problem("--var", 1, 1, "", Wrong.BAD_VAR, said, hint)
                raise ConfigError((problem,))
            found[match["name"]] = match["value"]
        return found


class RuleSettings(Settings):
    """What commands need to know that look at rules, or play them: nobody listens, so no token has to be there."""

    @model_validator(mode="after")
    def _one_word_for_all(self) -> Self:
        return self

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Self:
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

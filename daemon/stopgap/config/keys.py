"""Keys: tables that a rule, a pack or a site is made of, and the forms of value that several of them take."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints

from stopgap.duration import Duration
from stopgap.template import Template


class Keys(BaseModel):
    """Keys that stand together. `elsewhere` says of keys that are often put here where they belong."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    elsewhere: ClassVar[Mapping[str, str]] = {}


def listed(value: Any) -> Any:
    """Let one stand for a list of one."""
    return [value] if isinstance(value, str | Template) else value


def _some_time(timeout: timedelta) -> timedelta:
    if timeout <= timedelta():
        raise ValueError("no time at all: write 5s, 30s or the like")
    return timeout


def _whole(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError(f"`{str(value).lower()}` is not a whole number")  # noqa: TRY004 - pydantic takes ValueError
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Texts = Annotated[tuple[str, ...], BeforeValidator(listed)]
TimeLimit = Annotated[Duration, AfterValidator(_some_time)]
Whole = Annotated[int, BeforeValidator(_whole, json_schema_input_type=int)]

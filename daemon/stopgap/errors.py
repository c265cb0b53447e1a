"""The error tree: what is not expected. What is expected is a value (Outcome, Verdict, Refusal).

```text
StopgapError
├── ConfigError(problems)     a person must edit a file; exit 2; a reload keeps the old rules
├── ActionError               raised by actions, caught at one border; the step is *known* not to have succeeded
│   ├── TemporaryError        may be tried again
│   └── PermanentError        will fail again
├── ProbeError                could not look: verdict unknown, never unhealthy
├── StoreError                journal not writable: stop acting, stay up, ready says 503
└── BadNotification           a webhook body that is not Alertmanager's version "4"
```
"""

from dataclasses import dataclass
from datetime import timedelta


class StopgapError(Exception):
    """Anything that Stopgap itself raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where (1-based line and column), its stable code (config/codes.py), what, and the cure."""

    path: str
    line: int
    column: int
    key: str
    code: str
    text: str
    hint: str = ""
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}"
        key = f" {self.key}:" if self.key else ""
        kind = " warning:" if self.warning else ""
        hint = f", {self.hint}" if self.hint else ""
        return f"{where}:{kind}{key} {self.text}{hint}"


class ConfigError(StopgapError):
    """A person must edit a file or a setting; carries every problem found, not the first, and among how many rules."""

    def __init__(self, problems: tuple[Problem, ...], rules: int = 0) -> None:
        self.problems = problems
        self.rules = rules
        super().__init__("\n".join(map(str, problems)))


class ActionError(StopgapError):
    """A step that is known not to have succeeded. Anything else an action raises is an *unknown* outcome."""


class TemporaryError(ActionError):
    """Trying again may help; `retry_after` is the earliest sensible moment, if the other side said one."""

    def __init__(self, text: str, retry_after: timedelta | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class PermanentError(ActionError):
    """Trying again will fail again."""


class ProbeError(StopgapError):
    """The probe could not look: the verdict is unknown, never unhealthy."""


class StoreError(StopgapError):
    """The journal cannot be written or read: stop acting, stay up, answer 503."""


class BadNotification(StopgapError):  # noqa: N818 - named for what arrived, as the webhook's 400 says it
    """A body that is not an Alertmanager notification of version "4"; the text is constant and short."""

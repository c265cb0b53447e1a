"""Actions: everything that a step can do. One file, one action; the ones that ship stand in `SHIPPED`, in the order of the docs."""

from importlib.metadata import entry_points
from typing import Any

from stopgap.action import Action
from stopgap.actions.backup import Backup
from stopgap.actions.block import Block
from stopgap.actions.dns import Dns
from stopgap.actions.exec import Exec
from stopgap.actions.files import Files
from stopgap.actions.flag import Flag
from stopgap.actions.http import HttpCall
from stopgap.actions.manual import Manual
from stopgap.actions.notify import Notify
from stopgap.actions.redis import Redis
from stopgap.actions.restart import Restart
from stopgap.actions.restore import Restore
from stopgap.actions.rollback import Rollback
from stopgap.actions.scale import Scale
from stopgap.actions.service import Service
from stopgap.actions.silence import Silence
from stopgap.actions.sql import Sql
from stopgap.actions.wait import Wait
from stopgap.context import Context

SHIPPED = (
    Flag,
    Restart,
    Service,
    Scale,
    Rollback,
    HttpCall,
    Exec,
    Sql,
    Redis,
    Block,
    Dns,
    Notify,
    Silence,
    Wait,
    Manual,
    Files,
    Backup,
    Restore,
)
GROUP = "stopgap.actions"


def build(context: Context) -> dict[str, Action[Any]]:
    """Make every action, third parties' of the entry-point group too, by name. Raises ValueError when two have one name."""
    made: dict[str, Action[Any]] = {}
    for kind in (*SHIPPED, *(entry.load() for entry in entry_points(group=GROUP))):
        action: Action[Any] = kind(context)
        if action.name in made:
            raise ValueError(f"two actions are called {action.name!r}: uninstall one of their packages")
        made[action.name] = action
    return made

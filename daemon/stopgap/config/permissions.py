"""Permissions: who may write the rules decides what is run, so everybody on the machine must not."""

import os
import stat
from pathlib import Path

from stopgap.config.codes import Odd
from stopgap.config.findings import Findings
from stopgap.config.node import Mark


def judge_permissions(path: Path, findings: Findings) -> None:
    """Warn of a file or directory that everybody may write; a mount that nobody can write (a ConfigMap) is none."""
    try:
        mode = path.stat().st_mode
        closed = not mode & stat.S_IWOTH or os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return  # whoever reads it says so
    if not closed:
        what = "in this directory" if stat.S_ISDIR(mode) else "this file"
        text = f"everybody on this machine may write {what}, and so decide what is run"
        findings.warning(Mark(str(path)), text, f"chmod o-w {path.name or path}", code=Odd.WORLD_WRITABLE)

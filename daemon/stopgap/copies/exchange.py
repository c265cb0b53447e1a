"""Exchange: a staged file or folder takes the place of the live one, which is kept aside under a name of its own.

For a file there is no moment without one: the old one gets its second name first. For a folder there is one between two renames,
which is put right at once when the second fails, and by the next try after a crash.
"""

import fcntl
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from stopgap.copies.original import State
from stopgap.copies.shelf import sync
from stopgap.errors import PermanentError, TemporaryError

_GENERATION = 0x80087601  # FS_IOC_GETVERSION, ioctl_iflags(2)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The names that belong to one step. `companions` are endings of files that go with the live one, such as `-wal`.

    `prefix` is a dot where a folder may be read as a whole: nginx would load an old file beside the new one.
    """

    live: Path
    mark: str
    companions: tuple[str, ...] = ()
    prefix: str = ""

    @property
    def staged(self) -> Path:
        """Return where the new state is built."""
        return self.live.with_name(f".{self.live.name[:200]}.stopgap-{self.mark}")

    @property
    def aside(self) -> Path:
        """Return where the old state is kept."""
        return self.live.with_name(f"{self.prefix}{self.live.name[:200]}.before-{self.mark}")

    @property
    def after(self) -> Path:
        """Return where the new state is kept once the old one is back: a name that is free."""
        first = self.live.with_name(f"{self.prefix}{self.live.name[:200]}.after-{self.mark}")
        others = (first.with_name(f"{first.name}.{n}") for n in count(1))
        return next(path for path in chain((first,), others) if not os.path.lexists(path))

    def state(self) -> State:
        """See how things stand; a second name of the live file is not yet an old one."""
        live = _identity(self.live)
        aside = [self.aside.with_name(self.aside.name + each) for each in ("", *self.companions)]
        complete = any(map(os.path.lexists, aside)) and not self._halfway
        return State(live, live is not None and complete and not os.path.lexists(self.staged))

    @property
    def _halfway(self) -> bool:
        """Whether an exchange of files has begun and the live one is still the old one."""
        with suppress(OSError):
            return os.path.samestat(self.live.lstat(), self.aside.lstat())
        return False

    def unstage(self) -> None:
        """Remove what is staged, and put right what an exchange left that died halfway."""
        if self._halfway:
            for ending in self.companions:
                _follow(self.aside, self.live, ending)
            self.aside.unlink()
        elif os.path.lexists(self.aside) and not os.path.lexists(self.live):
            self.aside.rename(self.live)
        if self.staged.is_dir() and not self.staged.is_symlink():
            shutil.rmtree(self.staged)
        for ending in ("", "-wal", "-shm", "-journal"):
            self.staged.with_name(self.staged.name + ending).unlink(missing_ok=True)

    def go(self) -> None:
        """Exchange. Raises TemporaryError or PermanentError when nothing was changed."""
        if not os.path.lexists(self.staged):
            raise TemporaryError(f"{self.staged} is gone: nothing was exchanged")
        self._exchange(self.live, self.aside, self.staged)

    def back(self, *, nothing_before: bool) -> None:
        """Exchange back. Raises TemporaryError or PermanentError when nothing was changed."""
        if nothing_before:
            for ending in self.companions:
                _follow(self.live, self.after, ending)
            self.live.rename(self.after)
            sync(self.live.parent)
            return
        self._exchange(self.live, self.after, self.aside)

    def _exchange(self, live: Path, away: Path, fresh: Path) -> None:
        if fresh.is_dir() and not fresh.is_symlink():
            self._folders(live, away, fresh)
            sync(live.parent)
            return
        if os.path.lexists(fresh):
            if os.path.lexists(live) and not os.path.lexists(away):
                self._link(live, away)
            for ending in self.companions:
                _follow(live, away, ending)
            fresh.replace(live)
        for ending in self.companions:
            _follow(fresh, live, ending)
        sync(live.parent)

    def _link(self, live: Path, away: Path) -> None:
        try:
            os.link(live, away, follow_symlinks=False)
        except OSError as error:
            why = f"{live} could not be kept as {away.name}: {(error.strerror or 'refused').lower()}"
            raise PermanentError(f"{why}: nothing was exchanged") from None

    def _folders(self, live: Path, away: Path, fresh: Path) -> None:
        if os.path.lexists(live):
            live.rename(away)
        try:
            fresh.rename(live)
        except OSError as error:
            with suppress(OSError):
                away.rename(live)
            raise PermanentError(f"{live}: {error.strerror}: nothing was exchanged") from None


def _identity(path: Path) -> str | None:
    """Return what tells a file from its successor, whatever is written into it: an inode's number may be given again."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        number = os.fstat(descriptor).st_ino
        with suppress(OSError):  # not every file system counts generations
            generation = fcntl.ioctl(descriptor, _GENERATION, bytes(8))
            return f"{number}.{int.from_bytes(generation, sys.byteorder)}"
        return str(number)
    finally:
        os.close(descriptor)


def _follow(source: Path, target: Path, ending: str) -> None:
    """Let a companion follow its file, if it has one."""
    companion, place = source.with_name(source.name + ending), target.with_name(target.name + ending)
    if os.path.lexists(companion):
        companion.replace(place)

"""Clearance: one clean-up of one tree, as far as its bounds go, and what came of it."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from stopgap.errand import Errand
from stopgap.errors import PermanentError
from stopgap.sweep.choice import Choice
from stopgap.sweep.deeds import move
from stopgap.sweep.folder import Found, below, opened, walk

NAMED = 20  # files that a report names

Deed = Callable[[int, Found], bool]


@dataclass(slots=True)
class Outcome:
    """What was cleared away, what was not, and why."""

    files: int = 0
    bytes: int = 0
    names: list[str] = field(default_factory=list)
    changed: int = 0
    failed: int = 0
    why: str = ""

    def done(self, file: Found) -> None:
        """Count a file that is cleared away."""
        self.files += 1
        self.bytes += file.frees
        if len(self.names) < NAMED:
            self.names.append(file.shown)

    def fail(self, file: Found, error: OSError) -> None:
        """Count a file that could not be."""
        self.failed += 1
        self.why = self.why or f"{file.shown}: {(error.strerror or 'refused').lower()}"


def chosen(path: str, choice: Choice, errand: Errand) -> list[Found]:
    """Return the files below a folder that a clean-up would take, the oldest first. Raises PermanentError."""
    with opened(path) as root, _told(path):
        return choice.of(walk(root, errand))


def clear(path: str, files: list[Found], deed: Deed, errand: Errand) -> Outcome:
    """Do a deed to files below a folder, one after the other. Raises PermanentError when nothing could be done."""
    outcome = Outcome()
    with opened(path) as root:
        for file in files:
            errand.pause()
            if not _one(root, file, deed, outcome):
                break
    if outcome.failed and not outcome.files:
        raise PermanentError(f"nothing was cleared away below {path}: {outcome.why}")
    return outcome


def _one(root: int, file: Found, deed: Deed, outcome: Outcome) -> bool:
    """Do the deed to one file; tell whether to go on."""
    try:
        with below(root, file.parts) as folder:
            if deed(folder, file):
                outcome.done(file)
            else:
                outcome.changed += 1
    except FileNotFoundError:
        outcome.changed += 1
    except OSError as error:
        outcome.fail(file, error)
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    return True


def drop_empty(path: str, files: list[Found]) -> int:
    """Remove the folders of files that are gone, as far as they are empty now; never the root. Returns how many."""
    folders = {file.parts[:i] for file in files for i in range(1, len(file.parts) + 1)}
    removed = 0
    with opened(path) as root:
        for parts in sorted(folders, key=len, reverse=True):
            with suppress(OSError), below(root, parts[:-1]) as above:
                os.rmdir(parts[-1], dir_fd=above)
                removed += 1
    return removed


# --- moving away, and back ---


def moved(to: str, name: str, errand: Errand) -> list[Found]:
    """Return what stands in our folder of what was moved away."""
    with opened(to) as root:
        try:
            with below(root, (name,)) as ours:
                return sorted(walk(ours, errand), key=lambda file: (file.parts, file.name))
        except FileNotFoundError:
            return []


def move_away(path: str, files: list[Found], to: str, name: str, errand: Errand) -> Outcome:
    """Move files into a folder of ours called `name` in `to`, each where it stood below the root."""
    with opened(to) as target:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=target)
        with below(target, (name,)) as ours:

            def deed(folder: int, file: Found) -> bool:
                with _made(ours, file.parts) as there:
                    return move(folder, file, there, errand)

            try:
                return clear(path, files, deed, errand)
            finally:
                if not files:
                    with suppress(OSError):
                        os.rmdir(name, dir_fd=target)


def move_back(path: str, to: str, name: str, errand: Errand) -> Outcome:
    """Move everything in our folder back to where it stood; what has a successor there by now stays, and counts as failed."""
    files = moved(to, name, errand)
    with opened(path) as root:

        def deed(folder: int, file: Found) -> bool:
            with _made(root, file.parts) as there:
                return move(folder, file, there, errand)

        outcome = Outcome()
        with opened(to) as target, below(target, (name,)) as ours:
            for file in files:
                errand.pause()
                _one(ours, file, deed, outcome)
    drop_empty(f"{to}/{name}", files)
    with opened(to) as target, suppress(OSError):
        os.rmdir(name, dir_fd=target)
    return outcome


@contextmanager
def _made(root: int, parts: tuple[str, ...]) -> Iterator[int]:
    """Open a folder below an open one, and make what is missing of it."""
    for i in range(len(parts)):
        with below(root, parts[:i]) as above, suppress(FileExistsError):
            os.mkdir(parts[i], 0o750, dir_fd=above)
    with below(root, parts) as folder:
        yield folder


def check_writable(path: str, files: list[Found], errand: Errand) -> None:
    """Prove that the folders of files let us change them. Raises PermanentError."""
    with opened(path) as root:
        for parts in sorted({file.parts for file in files}):
            errand.pause()
            with _told(path), below(root, parts) as folder:
                if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
                    raise PermanentError(f"{'/'.join((path, *parts))}: {os.strerror(errno.EACCES).lower()}")


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn what the operating system refuses into a PermanentError with the path."""
    try:
        yield
    except OSError as error:
        raise PermanentError(f"{path}: {(error.strerror or 'refused').lower()}") from None

"""Git: a work tree on this machine, of which another version can be checked out. Hooks of the repository are not run."""

import re
from datetime import timedelta

from stopgap.backends.capability import Version, Versioned
from stopgap.backends.command import Command
from stopgap.backends.locator import Locator
from stopgap.backends.whole import finish
from stopgap.errors import PermanentError

_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@{}~^+-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_GIT = Command(
    ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never"),
    "install git",
    ("GIT_CONFIG_GLOBAL",),
)


class Git(Versioned):
    """`git:///srv/app`: the work tree. A branch that was checked out is checked out again, by its name."""

    schemes = ("git",)
    example = "git:///srv/app"
    previous = "HEAD~1"

    def __init__(self, locator: Locator) -> None:
        locator.only("path")
        self._tree = "/" + "/".join(filter(None, locator.path.split("/")))

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"git:{self._tree}"

    def check(self, to: str) -> None:
        """Refuse what git might take for an option or a range."""
        if not _REVISION.fullmatch(to) or ".." in to or "//" in to:
            raise ValueError(f"{to[:100]!r} is no revision: write a tag, a commit, a branch or HEAD~1")

    async def current(self, within: timedelta) -> Version:
        """Read the commit, and the branch if one is checked out. Raises PermanentError where files were changed by hand."""
        looking = ("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
        changed = await self._ask(*looking, within=within)
        if changed.strip():
            files = ", ".join(line[3:] for line in changed.splitlines()[:3])
            raise PermanentError(
                f"{self._tree} has changes that no commit holds ({files}): commit or stash them"
            )
        branch = await self._ask("branch", "--show-current", within=within)
        return Version(await self._commit("HEAD", within), branch.strip())

    async def find(self, to: str, within: timedelta) -> str:
        """Return the commit that a revision names."""
        return await self._commit(to, within)

    async def switch(self, to: Version, within: timedelta) -> None:
        """Check out a commit: by its branch, if that still names it."""
        where = ["--detach", to.name]
        if to.branch and await self._commit(f"refs/heads/{to.branch}", within) == to.name:
            where = [to.branch]
        # a checkout that is killed leaves files of both versions, and a lock
        await finish(_GIT.tell("-C", self._tree, "checkout", "--quiet", *where, "--", within=within))

    async def _commit(self, revision: str, within: timedelta) -> str:
        args = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        try:
            found = (await self._ask(*args, within=within)).strip()
        except PermanentError as error:
            if "exited with 1" not in str(error):
                raise
            found = ""
        if not _COMMIT.fullmatch(found):
            raise PermanentError(
                f"{self._tree} knows no version {revision[:100]!r}: fetch it, or write another one"
            )
        return found

    async def _ask(self, *args: str, within: timedelta) -> str:
        return await _GIT.ask("-C", self._tree, *args, within=within)

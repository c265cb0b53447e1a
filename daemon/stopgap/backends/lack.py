"""Lack: what this machine is without when it reaches nobody, so that its own shortage is not taken for the other side's failure."""

import errno
import os
from collections.abc import Collection

LACKS = frozenset(
    (
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,  # no local port, or no local address of that family
        errno.EAFNOSUPPORT,
        errno.ENETUNREACH,  # no route from here; EHOSTUNREACH is what a network says of the other side
        errno.ENETDOWN,
        errno.EACCES,  # a policy of this machine
        errno.EPERM,
    )
)
_DEEPEST = 8
_THEIRS = ("refused", "timeout", "timed out", "reset")  # one of several addresses did answer


def lacking(error: BaseException | None, numbers: Collection[int] = LACKS) -> bool:
    """Tell whether an error, or one that it comes from, is of this machine alone."""
    for _ in range(_DEEPEST):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        error = error.__cause__ or error.__context__
    return False


def says_lacking(text: str) -> bool:
    """Tell it by the words of a client that gives no number."""
    return any(os.strerror(number) in text for number in LACKS) and not any(word in text for word in _THEIRS)

"""Credential: the one word that lets a client in, compared in constant time.

A client shows it as `Authorization: Bearer WORD` (RFC 6750) or, where that is allowed, as the password of Basic (RFC 7617) with any
user name: Alertmanager can do both.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

from pydantic import SecretStr

LONGEST_HEADER = 8192  # characters of an Authorization header that are looked at
FEW = 16  # headers that show the word: one for each way in which clients write it


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret word, or none (`word=None`): then everybody is let in."""

    word: SecretStr | None = field(default=None, repr=False)
    basic: bool = False
    _admitted: set[str] = field(default_factory=set, init=False, compare=False, repr=False)

    def admits(self, authorization: str) -> bool:
        """Tell whether the value of an Authorization header shows the word.

        Headers that did are looked up by their hash, which is keyed anew in each process: its time tells nothing of what they say.
        """
        if self.word is None or authorization in self._admitted:
            return True
        shown = self._shown(authorization[:LONGEST_HEADER])
        same = hmac.compare_digest(_digest(shown), _digest(self.word.get_secret_value().encode()))
        if not same or shown == b"":
            return False
        if len(self._admitted) < FEW and len(authorization) <= LONGEST_HEADER:
            self._admitted.add(authorization)
        return True

    def refusal(self, authorization: str) -> str:
        """Say why such a header lets nobody in: it shows no word, or another one."""
        if self._shown(authorization[:LONGEST_HEADER]):
            return "the control token given is wrong: it is not that of this daemon"
        return "control needs its token: Authorization: Bearer …"

    def challenge(self) -> str:
        """Return the value of WWW-Authenticate (RFC 9110, 11.6.1) that a refusal carries."""
        return 'Bearer realm="stopgap", Basic realm="stopgap"' if self.basic else 'Bearer realm="stopgap"'

    def _shown(self, authorization: str) -> bytes:
        scheme, _, rest = authorization.partition(" ")
        rest = rest.strip()
        if scheme.lower() == "bearer":
            return rest.encode(errors="surrogateescape")
        if scheme.lower() == "basic" and self.basic:
            return _password(rest)
        return b""


def _password(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _digest(word: bytes) -> bytes:
    """Make words of any length equally long, so that not even the length shows in the time taken."""
    return hashlib.sha256(word).digest()

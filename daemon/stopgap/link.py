"""Link: an address whose holder may answer one request for approval; its signature is the credential.

A signature covers incident, request and contact, so that a link answers what it was sent for, once, and says through whom. Its key
is derived from the control token: another token makes every link void.
"""

import base64
import hashlib
import hmac
import json
from urllib.parse import quote

from pydantic import SecretStr

PREFIX = "/approve/"
_PURPOSE = b"stopgap approval link, version 1"


class Links:
    """Signs links under the URL at which people reach the daemon, and knows its own again."""

    def __init__(self, token: SecretStr, external_url: str) -> None:
        # slow on purpose: links lie in chats and mailboxes, and none may be a way to guess a weak token
        word = token.get_secret_value().encode()
        self._key = hashlib.scrypt(word, salt=_PURPOSE, n=2**14, r=8, p=1, dklen=32)
        self._url = external_url.rstrip("/")

    def url(self, incident: str, request: int, contact: str) -> str:
        """Return the link with which a contact answers a request."""
        parts = (incident, str(request), contact, self._signature(incident, request, contact))
        return self._url + PREFIX + "/".join(quote(part, safe="") for part in parts)

    def admits(self, incident: str, request: int, contact: str, signature: str) -> bool:
        """Tell, in constant time, whether the signature is ours for exactly this."""
        ours = self._signature(incident, request, contact)
        return hmac.compare_digest(ours.encode(), signature.encode(errors="replace"))

    def _signature(self, incident: str, request: int, contact: str) -> str:
        signed = json.dumps([incident, request, contact]).encode()  # a list: no two of them read the same
        return base64.urlsafe_b64encode(hmac.digest(self._key, signed, "sha256")).rstrip(b"=").decode()

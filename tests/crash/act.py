"""Act: the command that rules run. It asks whoever keeps the outside to do it, and prints what it is told.

Run with `python -I -S`, which starts in a hundredth of a second: `act.py SOCKET VERB NAME [VALUE]`, or with the value on stdin.
"""

import json
import os
import socket
import sys


def main() -> int:
    """Ask, print, and fail when there is no answer."""
    where, verb, name, *value = sys.argv[1:]
    if verb == "restore":
        value = [sys.stdin.read()]
    asked = {
        "do": verb,
        "of": name,
        "key": os.environ.get("STOPGAP_IDEMPOTENCY_KEY", ""),
        "value": "".join(value),
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(where)
        connection.sendall(json.dumps(asked).encode() + b"\n")
        answer = connection.makefile().readline()
    if not answer:
        return 1
    sys.stdout.write(json.loads(answer)["say"])
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Script: a dump that is plain SQL, read once from end to end before a server reads it: whole, and for one database only."""

import gzip
import re
import zlib
from datetime import timedelta
from pathlib import Path

from stopgap import errand
from stopgap.copies.shelf import told
from stopgap.copies.tool import unpacked
from stopgap.errand import Errand
from stopgap.errors import PermanentError

_LINE = 1024 * 1024  # of a longer line, only the beginning says what it does
_TAIL = 4096


async def prove(
    copy: Path, closing: re.Pattern[bytes], elsewhere: re.Pattern[bytes], within: timedelta
) -> None:
    """Look for the closing line, and for lines that begin with what would act elsewhere. Raises PermanentError."""
    await errand.run(lambda job: _prove(copy, closing, elsewhere, job), within)


def _prove(copy: Path, closing: re.Pattern[bytes], elsewhere: re.Pattern[bytes], job: Errand) -> None:
    tail, begins, count = b"", True, 0
    try:
        with told(copy), unpacked(copy) as file:
            while piece := file.readline(_LINE):
                count += 1
                if count % 1000 == 0 or len(piece) == _LINE:
                    job.pause()
                if begins and elsewhere.match(piece):
                    said = piece[:60].decode(errors="replace").strip()
                    raise PermanentError(
                        f"{copy.name} would act outside of its database ({said!r}, line {count}): dump one database alone"
                    )
                begins = piece.endswith(b"\n")
                tail = (tail + piece)[-_TAIL:]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PermanentError(f"{copy.name} is not whole: {error}") from None
    if not closing.search(tail):
        raise PermanentError(f"{copy.name} does not end as a dump ends: it was cut off")

"""Config: reads a directory of packs, says everything that is wrong with it at once, and builds the rules.

`load` is the one way in, for `serve`, `check` and every reload; `build_rule` makes a stored rule version again.
"""

from stopgap.config.build import build_rule
from stopgap.config.load import Loaded, Read, load, read_vars

__all__ = ["Loaded", "Read", "build_rule", "load", "read_vars"]

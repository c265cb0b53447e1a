"""Drill: a game day through the whole live path, by an alert that Stopgap makes up itself.

`running` feeds that alert into the daemon and ends it, whatever becomes of those who watch; `script` reads the file that says what
is played and expected; `expectation` judges a timeline by it. A drill changes nothing about what its incident does or may do.
"""

from stopgap.drill.running import LONGEST, Drill, Drills, Unfit

__all__ = ["LONGEST", "Drill", "Drills", "Unfit"]

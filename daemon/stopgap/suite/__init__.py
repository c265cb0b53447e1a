"""Suite: tests of rules: files that say what happens, and what must come of it; played on virtual time by the live engine."""

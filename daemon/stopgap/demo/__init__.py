"""Demo: a small hotel and its surroundings, broken and healed on purpose, in which the shipped pack runs unchanged."""

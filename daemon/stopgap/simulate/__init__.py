"""Simulate: the live engine on virtual time, with an outside that follows a script.

What tests, backtests and drills of rules have in common. Nothing is decided here: engine, guards, orders and escalation are the
daemon's own; only the journal is in memory, the clock jumps, and actions and probes answer what a Scene says.
"""

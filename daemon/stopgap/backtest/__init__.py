"""Backtest: what rules would have done with the alerts that really fired.

A history of alerts is replayed through the live engine on virtual time, and what happened there is counted. Alerts are taken as
they happened: a mitigation that would have ended an alert earlier does not. Nothing outside is changed: Prometheus, a journal and
event files are only read.
"""

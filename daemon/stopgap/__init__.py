"""Stopgap: the first responder of an on-call rotation that runs on Prometheus."""

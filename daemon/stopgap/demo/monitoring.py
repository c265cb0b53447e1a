"""Monitoring: the configuration of a real Prometheus and a real Alertmanager that are in a hurry."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

SCRAPE_EVERY = "1s"
WINDOW = "5s"
GROUP_INTERVAL = 8  # seconds between two notifications of a group: more than a mitigation takes here

_FOR = re.compile(r"^(\s*for:\s*)\S+", re.MULTILINE)
_RANGE = re.compile(r"\[\d+(?:ms|[smhdw])\]")


def hasten(text: str) -> str:
    """Return alerting rules, or a query, with every `for:` cut to 1 s and every range to the demo's window.

    Nothing else changes: expressions, thresholds, labels and annotations are those that ship.
    """
    return _RANGE.sub(f"[{WINDOW}]", _FOR.sub(r"\g<1>1s", text))


def prometheus_yml(targets: Mapping[str, str], alertmanager: str) -> str:
    """Return `prometheus.yml` (JSON is YAML) that scrapes `targets` (job → host:port) and evaluates `alerts.yaml` beside it."""
    return json.dumps(
        {
            "global": {
                "scrape_interval": SCRAPE_EVERY,
                "scrape_timeout": SCRAPE_EVERY,
                "evaluation_interval": SCRAPE_EVERY,
            },
            "rule_files": ["alerts.yaml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address]}]}
                for job, address in targets.items()
            ],
        },
        indent=2,
    )


def alertmanager_yml(webhook: str, token_file: Path) -> str:
    """Return `alertmanager.yml` (JSON is YAML) that posts to `webhook` at once, again every 8 s on news, every 30 s without."""
    authorization = {"type": "Bearer", "credentials_file": str(token_file)}
    receiver = {"url": webhook, "send_resolved": True, "http_config": {"authorization": authorization}}
    return json.dumps(
        {
            "route": {
                "receiver": "stopgap",
                "group_by": ["alertname", "job"],
                "group_wait": "0s",
                "group_interval": f"{GROUP_INTERVAL}s",
                "repeat_interval": "30s",
            },
            "receivers": [{"name": "stopgap", "webhook_configs": [receiver]}],
        },
        indent=2,
    )


def prometheus_argv(binary: str, directory: Path, address: str) -> tuple[str, ...]:
    """Return the command that keeps everything under `directory` and listens at `address` only."""
    return (
        binary,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address={address}",
        "--rules.alert.resend-delay=2s",
        "--log.level=warn",
    )


def alertmanager_argv(binary: str, directory: Path, address: str) -> tuple[str, ...]:
    """Return the command of a single Alertmanager without a cluster port."""
    return (
        binary,
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )

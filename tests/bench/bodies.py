"""Bodies: notifications as Alertmanager sends them, with one alert or with thousands, ready to be written to a socket."""

from typing import Any

import orjson

from stopgap.alert import fingerprint

TOKEN = "bench-webhook-token"  # Alertmanager shows one in production, so it is checked here too
WEBHOOK = "/webhook"
LABELS = {"job": "bench", "severity": "warning", "cluster": "eu-1", "namespace": "hotel"}
ANNOTATIONS = {
    "summary": "HTTP p95 latency is high",
    "description": "p95 latency has been above 1 s for 5 minutes. " * 2,
    "runbook_url": "https://runbooks.example.com/hotel/latency",
}


def alert(name: str, number: int) -> dict[str, Any]:
    """Return one firing alert: each number is another label set and another target."""
    labels = {"alertname": name, "instance": f"host-{number:07d}:9100", **LABELS}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": ANNOTATIONS,
        "startsAt": "2026-11-21T10:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=latency+%3E+1&g0.tab=1",
        "fingerprint": fingerprint(labels),
    }


def notification(name: str, numbers: range) -> bytes:
    """Return the body of one notification."""
    alerts = [alert(name, number) for number in numbers]
    return orjson.dumps(
        {
            "receiver": "stopgap",
            "status": "firing",
            "alerts": alerts,
            "groupLabels": {"alertname": name},
            "commonLabels": alerts[0]["labels"] if len(alerts) == 1 else {"alertname": name, **LABELS},
            "commonAnnotations": ANNOTATIONS,
            "externalURL": "http://alertmanager:9093",
            "version": "4",
            "groupKey": f'{{}}:{{alertname="{name}"}}',
            "truncatedAlerts": 0,
        }
    )


def post(body: bytes, path: str = WEBHOOK) -> bytes:
    """Return the whole HTTP/1.1 request that Alertmanager would send."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Alertmanager/0.28.1\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body

"""Layers: what a new alert costs, layer by layer, so that the next reader sees where the time goes."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.bench.ground import Ground
from tests.bench.latency import PAUSE
from tests.bench.report import Row, percentile
from tests.bench.rules import ACTING, TOLD
from tests.bench.servers import Server, load
from tests.bench.sink import running_sink
from tests.bench.storm import Flood, news_of


@dataclass(frozen=True, slots=True)
class Layer:
    """One server, the alerts that it gets, and whether they are acted upon."""

    name: str
    title: str
    alertname: str = TOLD
    acts: bool = False


LAYERS = (
    Layer("bare", "bare: read, parse as JSON, answer"),
    Layer("parse", "+ token, bounds, judging, counting"),
    Layer("durable", "+ durable: opened and on disk"),
    Layer("decide", "+ match, decide, hand over"),
    Layer("act", "+ act: guards, intent, http", ACTING, acts=True),
)


def rows(ground: Ground) -> list[Row]:
    """Measure each layer under a flood of new alerts, and with one alert after the other."""
    with ExitStack() as stack:
        servers = {layer: stack.enter_context(_server(ground, layer)) for layer in LAYERS}
        alone = {layer.name: _alone(ground, layer, server) for layer, server in servers.items()}
        subjects = {layer.name: (server, layer.alertname) for layer, server in servers.items()}
        with running_sink(ground.sink):
            flood = news_of(subjects, ground)
    costs = [_cost(flood, before, layer) for before, layer in zip((None, *LAYERS), LAYERS, strict=False)]
    return costs + [_latency(layer, alone[layer.name]) for layer in LAYERS]


def _server(ground: Ground, layer: Layer) -> Any:
    if layer.name in ("decide", "act"):
        return ground.daemon(f"layer-{layer.name}")
    return ground.layer(layer.name)


def _alone(ground: Ground, layer: Layer, server: Server) -> dict[str, Any]:
    task: dict[str, Any] = {"name": layer.alertname, "pause": PAUSE}
    if layer.acts:
        task["sink"] = ground.sink
    load("one_by_one", server.port, first=8_000_000, distinct=ground.scale.warm, **task)
    return load("one_by_one", server.port, first=9_000_000, distinct=ground.scale.alerts // 2, **task)


def _cost(flood: Flood, before: Layer | None, layer: Layer) -> Row:
    own = flood.cpu(layer.name)
    against = None if before is None else flood.cpu(before.name)
    detail = {"per_second": flood.median(layer.name), "runs": flood.runs[layer.name]}
    return Row(layer.title, own, "us", against, None if against is None else own / against, detail=detail)


def _latency(layer: Layer, measured: dict[str, Any]) -> Row:
    name = "to_effect" if layer.acts else "to_answer"
    title = f"alone: {layer.name}, p50 to the {'action' if layer.acts else 'answer'}"
    return Row(title, percentile(measured[name], 0.5) * 1000, "ms", detail=measured)

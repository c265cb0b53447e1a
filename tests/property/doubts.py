"""Doubts: which claims that an alert fires have yet to be confirmed, and which alerts a person has silenced. Lost in a crash."""

from dataclasses import dataclass, field

from stopgap.incident import Incident, Phase


@dataclass
class Doubts:
    """What a reconciler knows of Alertmanager; `doubted` are incidents, `silenced` are alerts."""

    doubted: set[str] = field(default_factory=set)
    silenced: set[str] = field(default_factory=set)

    def restarted(self, states: dict[str, Incident]) -> None:
        """Doubt all that waits since before a restart."""
        waits = (Phase.OPEN, Phase.WAITING)
        self.doubted = {name for name, state in states.items() if state.phase in waits and state.firing}

    def repeated(self, fingerprint: str, states: dict[str, Incident]) -> None:
        """Believe an alert that was notified again."""
        for name, state in states.items():
            if fingerprint in state.alerts and state.alerts[fingerprint].firing:
                self.doubted.discard(name)

    def doubt(self, state: Incident) -> str:
        return "its alerts are asked about first" if state.id in self.doubted else ""

    def silences(self, state: Incident) -> bool:
        firing = {fingerprint for fingerprint, alert in state.alerts.items() if alert.firing}
        return bool(firing) and firing <= self.silenced

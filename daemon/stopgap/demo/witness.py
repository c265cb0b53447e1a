"""Witness: looks at the demo's world twice a second and tells what changed. It asks everybody for themselves."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from stopgap.demo.daemon import Daemon
from stopgap.demo.hotel import read_env
from stopgap.demo.lab import Lab
from stopgap.demo.monitoring import GROUP_INTERVAL
from stopgap.demo.stage import Stage, Tone
from stopgap.demo.supervised import LabError

ALERT = "PMSCircuitBreakerOpen"
FLAG = "PMS_TYPE"
_EVERY = 0.5
_IMPATIENT = 10.0  # seconds between two words about what is waited for
_PATIENCE = aiohttp.ClientTimeout(total=3)


@dataclass(frozen=True)
class Sight:
    """What was seen at one look: of the PMS, the alert, the flag in the file, the hotel's process, the newest incident."""

    pms: str = ""
    alert: str = ""
    notified: bool = False
    flag: str = ""
    mode: str = ""
    pid: int = 0
    incident: dict[str, Any] = field(default_factory=dict)

    @property
    def phase(self) -> str:
        """Return the incident's phase, nothing while there is none."""
        return str(self.incident.get("phase", ""))


class StoryError(LabError):
    """Something did not happen in time; the text says what."""


class Witness:
    """Looks, tells the stage, and waits for what is to come."""

    def __init__(self, lab: Lab, daemon: Daemon, stage: Stage) -> None:
        self._lab, self._daemon, self._stage = lab, daemon, stage
        self._seen = Sight()
        self._sender = "Alertmanager" if lab.real else "understudy"
        self._told: dict[str, int] = {}  # incident → last line of its timeline that was told

    async def until(self, what: str, true: Callable[[Sight], bool], within: float = 60.0) -> Sight:
        """Look until it is true. Raises StoryError when that takes more than `within` seconds."""
        began = impatient = time.monotonic()
        while not true(sight := await self.look()):
            now = time.monotonic()
            if sight.incident.get("handed_over"):
                raise StoryError(f"Stopgap handed over to a person instead of {what}")
            if now - began > within:
                raise StoryError(f"waited {within:.0f} s in vain for {what}")
            if now - impatient > _IMPATIENT:
                impatient = now
                self._stage.aside(f"… still waiting for {what} ({now - began:.0f} s)")
            await asyncio.sleep(_EVERY)
        return sight

    async def stay(self, seconds: float) -> Sight:
        """Look for some time."""
        end = time.monotonic() + seconds
        return await self.until("the time to pass", lambda _: time.monotonic() >= end, seconds + _IMPATIENT)

    async def look(self) -> Sight:
        """Look once, and tell what is new."""
        pms, alert, firing, mode = await asyncio.gather(
            self._pms(), self._alert(), self._lab.firing(), self._mode()
        )
        flag = read_env(self._lab.env_bytes().decode()).get(FLAG, "")
        incidents = await self._daemon.incidents()
        newest = incidents[-1] if incidents else {}
        sight = Sight(pms, alert, ALERT in firing, flag, mode[0], mode[1], newest)
        self._tell_causes(self._seen, sight)
        for incident in incidents:
            self._tell_timeline(incident)
        self._tell_effects(self._seen, sight)
        self._seen = sight
        return sight

    # -- asking -------------------------------------------------------------------------------------------------------

    async def _get(self, address: str) -> tuple[int, Any]:
        """Return status and body; 0 when nobody answers."""
        try:
            async with aiohttp.ClientSession(timeout=_PATIENCE) as session, session.get(address) as answer:
                return answer.status, json.loads(await answer.text())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0, {}

    async def _pms(self) -> str:
        status, _ = await self._get(f"{self._lab.url('pms')}/api/health")
        return "healthy" if status == 200 else f"down: its health page says {status or 'nothing'}"  # noqa: PLR2004

    async def _alert(self) -> str:
        if not self._lab.real:
            return "firing" if ALERT in await self._lab.firing() else "inactive"
        _, body = await self._get(f"{self._lab.prometheus_url}/api/v1/alerts")
        alerts = body.get("data", {}).get("alerts", [])
        return next((str(a["state"]) for a in alerts if a["labels"]["alertname"] == ALERT), "inactive")

    async def _mode(self) -> tuple[str, int]:
        try:
            told = await self._lab.hotel_mode()
        except LabError:
            return "", 0
        return str(told["mode"]), int(told["pid"])

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell_causes(self, before: Sight, now: Sight) -> None:
        say = self._stage.say
        if now.pms != before.pms:
            say("PMS", now.pms, Tone.GOOD if now.pms == "healthy" else Tone.BAD)
        if now.alert != (before.alert or "inactive") and self._lab.real:
            words = {"inactive": "resolved", "firing": "FIRING"}.get(now.alert, now.alert)
            say("Prometheus", f"{ALERT} {words}", Tone.GOOD if now.alert == "inactive" else Tone.NEWS)
        if now.notified and not before.notified:
            say(self._sender, f"posts {ALERT} to Stopgap's webhook", Tone.NEWS)
        if before.notified and not now.notified:
            real = f"{ALERT} resolved: posts that within {GROUP_INTERVAL} s"
            say(self._sender, real if self._lab.real else f"posts {ALERT} as resolved", Tone.GOOD)

    def _tell_timeline(self, incident: dict[str, Any]) -> None:
        last = self._told.get(incident["id"], 0)
        for line in incident["timeline"]:
            if line["seq"] > last:
                self._stage.event(line)
                self._told[incident["id"]] = line["seq"]

    def _tell_effects(self, before: Sight, now: Sight) -> None:
        say = self._stage.say
        if now.flag != before.flag:
            say("hotel.env", f"{FLAG}={now.flag}", Tone.TITLE)
        if (now.mode, now.pid) != (before.mode, before.pid):
            words = f"process {now.pid} runs in mode {now.mode}" if now.pid else "restarts"
            say("hotel", words, Tone.TITLE)

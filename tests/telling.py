"""Telling: a contact book that remembers who was told what, and a world with a Teller, which crashes as the world does."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.world import World, rule

from stopgap.audience import DEFAULT
from stopgap.rule import Rule
from stopgap.tell import Link, Teller, no_link

__all__ = ["DEFAULT", "Company", "People", "told"]


class People:
    """Contacts that take a while, or fail: `faults` are raised one after the other, those of `dead` never take anything."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.told: list[tuple[str, str, str]] = []
        self.times: list[float] = []
        self.packs: list[str] = []
        self.faults: list[Exception] = []
        self.dead: dict[str, Exception] = {}
        self.takes = 0.0
        self.attempts = 0
        self.at_once = self.most_at_once = 0

    def find(self, pack: str, name: str) -> object | None:
        return name if name in self.names else None

    async def send(self, pack: str, name: str, title: str, body: str) -> None:
        self.attempts += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            if self.takes:
                await asyncio.sleep(self.takes)
        finally:
            self.at_once -= 1
        if self.faults:
            raise self.faults.pop(0)
        if name in self.dead:
            raise self.dead[name]
        self.told.append((name, title, body))
        self.times.append(asyncio.get_running_loop().time())
        self.packs.append(pack)

    @property
    def who(self) -> list[str]:
        return [name for name, _, _ in self.told]

    @property
    def what(self) -> list[tuple[str, str]]:
        """Return who was told what, as the end of each title."""
        return [(name, title.partition(": ")[2]) for name, title, _ in self.told]


@dataclass
class Company(World):
    """A world whose people are told."""

    people: People = field(default_factory=lambda: People(DEFAULT))
    link: Link = no_link
    documents: dict[str, Rule] = field(default_factory=dict)

    def _teller(self) -> Teller:
        def rebuild(document: Any) -> Rule:
            if not isinstance(document, str):
                raise ValueError("no document")  # noqa: TRY004 - as build_rule does
            return self.documents[document]

        contacts: Any = self.people
        teller = Teller(self.journal, contacts, self.clock, self.engine.rule_of, self.link, rebuild)
        self.engine.subscribe(teller.observe)
        return teller

    async def start(self) -> "Company":
        self.teller = self._teller()
        await super().start()
        self.teller.start()
        return self

    async def crash(self) -> None:
        """Crash, and come back with a Teller that knows nothing but the timelines."""
        await self.teller.kill()
        await super().crash()
        self.teller = self._teller()
        self.teller.start()

    async def stop(self) -> None:
        await self.teller.stop()


async def told(people: People, link: Link = no_link, **more: Any) -> Company:
    """Start a company of one rule."""
    given = {"summary": "Serve from mock data", "runbook_url": "https://runbook", **more}
    return await Company((rule(**given),), people=people, link=link).start()

"""What the leader answers is true for all daemons: letters come first, and no answer rests on what may be out of date."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from stopgap.alert import Alert
from stopgap.clock import SystemClock
from stopgap.errors import StoreError
from stopgap.explain import alert_with
from stopgap.intake import Received
from stopgap.letters import Postman
from stopgap.store import Letter, Waiting


def alert(name: str) -> Alert:
    made = alert_with({"alertname": name}, SystemClock().now())
    assert isinstance(made, Alert)
    return made


@dataclass
class Shop:
    """A store with letters, and the engine that hears them; `heard` are the names of alerts. A failure is used up."""

    waiting: list[Letter] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    failures: int = 0
    leads: bool = True
    news: int = 0
    looks: int = 0

    async def letters_waiting(self) -> Waiting:
        self.looks += 1
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise StoreError("the journal cannot be read")
        return Waiting(max((each.number for each in self.waiting), default=0))

    async def letters(self, most: int, newest: int) -> tuple[Letter, ...]:
        self.looks += 1
        await asyncio.sleep(0)
        return tuple(each for each in self.waiting if each.number <= newest)[:most]

    async def answered(self, numbers: Sequence[int]) -> None:
        self.waiting = [each for each in self.waiting if each.number not in numbers]

    async def receive(self, alerts: Sequence[Alert], by: str = "") -> Received:
        self.heard += [each.labels["alertname"] for each in alerts]
        return Received(news=self.news)


class Tally:
    def took(self, firing: int, resolved: int, taken: Received) -> None: ...

    def waiting(self, letters: int) -> None: ...

    def waiting_since(self, at: datetime | None) -> None: ...

    def unreadable(self) -> None: ...


def postman(shop: Shop) -> Postman:
    return Postman(shop, shop, Tally(), lambda *_: None)


async def test_who_waited_for_a_round_that_failed_has_one_of_its_own():
    shop = Shop([Letter("stopgap", 0, [alert("before").as_json()], 1)], failures=2)
    man = postman(shop)
    asking = (man.receive([alert(name)]) for name in ("one", "two", "three"))
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreError, StoreError, Received]
    assert shop.heard == ["before", "three"]
    assert not shop.waiting


async def test_those_who_wait_at_the_same_time_share_a_round():
    shop = Shop([Letter("stopgap", 0, [alert("before").as_json()], 1)])
    man = postman(shop)
    await asyncio.gather(*(man.receive([alert(str(number))]) for number in range(10)))
    assert shop.heard[0] == "before"
    assert len(shop.heard) == 11
    assert (
        shop.looks == 4
    )  # that there is one, the letter, and none; and none, for those who came in the middle of that


async def test_that_something_is_no_news_is_said_only_while_it_is_certain_that_nobody_else_leads():
    shop = Shop(leads=False)
    with pytest.raises(StoreError, match="not certain"):
        await postman(shop).receive([alert("one")])
    shop.news = 1  # written, so proven by the commit
    assert (await postman(shop).receive([alert("one")])).news == 1
    shop.leads, shop.news = True, 0
    assert (await postman(shop).receive([alert("one")])).news == 0

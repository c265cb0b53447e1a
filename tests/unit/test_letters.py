"""Letters are worked off so that a crash between their end and their deletion changes nothing."""

from collections.abc import Sequence
from typing import Any

from stopgap.intake import Received
from stopgap.letters import Postman, apart
from stopgap.store import Letter


def letter(number: int, *alerts: tuple[str, bool]) -> Letter:
    told = [
        {
            "labels": {"alertname": name},
            "annotations": {},
            "starts_at": "2026-11-21T09:00:00+00:00",
            "ends_at": None,
            "firing": firing,
            "generator_url": "",
            "fingerprint": name,
        }
        for name, firing in alerts
    ]
    return Letter("stopgap", 0, told, number)


class Box:
    """A store with letters, and the engine that hears them; `log` says in which order."""

    def __init__(self, *letters: Letter) -> None:
        self.waiting = list(letters)
        self.log: list[Any] = []

    async def letters(self, most: int) -> tuple[Letter, ...]:
        return tuple(self.waiting[:most])

    async def answered(self, numbers: Sequence[int]) -> None:
        self.waiting = [each for each in self.waiting if each.number not in numbers]
        self.log.append(list(numbers))

    async def receive(self, alerts: Any, by: str = "") -> Received:
        self.log += [(alert.fingerprint, alert.firing) for alert in alerts]
        return Received()


class Tally:
    def took(self, firing: int, resolved: int, taken: Received) -> None: ...

    def waiting(self, letters: int) -> None: ...


def test_neighbours_that_speak_of_different_alerts_stay_together():
    first, second, third = (
        letter(1, ("a", True)),
        letter(2, ("b", True), ("c", True)),
        letter(3, ("d", False)),
    )
    assert list(apart((first, second, third))) == [[first, second, third]]
    assert list(apart(())) == []


async def test_what_is_said_twice_of_one_alert_is_thrown_away_before_the_second_is_heard():
    box = Box(letter(1, ("a", True)), letter(2, ("b", True)), letter(3, ("a", False)), letter(4, ("c", True)))
    await Postman(box, box, Tally(), lambda *_: None).receive(())
    assert box.log == [("a", True), ("b", True), [1, 2], ("a", False), ("c", True), [3, 4]]
    assert not box.waiting

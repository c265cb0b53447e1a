"""Letters on virtual time: what a daemon that stands by leaves, and how the one that leads works it off."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from tests.virtual import virtually

from stopgap.alert import Alert
from stopgap.clock import SystemClock
from stopgap.errors import StoreError
from stopgap.explain import alert_with
from stopgap.intake import Received
from stopgap.letters import MOST, Letterbox, Postman, apart
from stopgap.store import Letter, Waiting

TRIES = 2
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def alert(name: str = "Down") -> Alert:
    made = alert_with({"alertname": name}, SystemClock().now())
    assert isinstance(made, Alert)
    return made


def letter(number: int, *names: str, **more) -> Letter:
    return Letter("stopgap", 0, [alert(name).as_json() for name in names], number, **more)


@dataclass
class Box:
    """The part of a store, and of a standby, that letters concern."""

    kept: dict[int, Letter] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    thrown: list[list[int]] = field(default_factory=list)
    leads: bool = True
    tries: dict[int, int] = field(default_factory=dict)
    error: Exception | None = None
    last: int = 0  # number that was given

    def _fails(self):
        if self.error is not None:
            raise self.error

    async def put_by(self, letter):
        self._fails()
        self.last = max(self.last, *self.kept, 0) + 1
        self.kept[self.last] = replace(letter, number=self.last)

    async def letters_waiting(self):
        self._fails()
        await asyncio.sleep(0)
        there = self.kept.keys() - self.given_up
        return Waiting(max(there), NOON + timedelta(minutes=min(there))) if there else Waiting()

    async def letters(self, most, newest):
        self._fails()
        await asyncio.sleep(0)
        there = self.kept.keys() - self.given_up
        return tuple(self.kept[number] for number in sorted(there) if number <= newest)[:most]

    async def answered(self, numbers):
        self._fails()
        self.thrown.append(list(numbers))
        for number in numbers:
            del self.kept[number]

    async def unreadable(self, number):
        self.tries[number] = self.tries.get(number, 0) + 1
        if self.tries[number] < TRIES:
            return False
        self.given_up.add(number)
        return True

    async def try_anew(self):
        self._fails()
        self.given_up.clear()


@dataclass
class Engine:
    """Takes alerts, or fails."""

    names: list[str] = field(default_factory=list)
    heard: list[tuple[str, int]] = field(default_factory=list)
    error: Exception | None = None

    async def receive(self, alerts, by=""):
        if self.error is not None:
            raise self.error
        self.names += [each.labels["alertname"] for each in alerts]
        return Received({"p/r": len(alerts)})


@dataclass
class Tally:
    matched: int = 0
    seen: list[int] = field(default_factory=list)
    since: list[datetime | None] = field(default_factory=list)
    lost: int = 0

    def took(self, firing, resolved, taken):
        assert (firing, resolved) == (0, 0)  # whoever wrote the letter counted them
        self.matched += sum(taken.matched.values())

    def waiting(self, letters):
        self.seen.append(letters)

    def waiting_since(self, at):
        self.since.append(at)

    def unreadable(self):
        self.lost += 1


class Office:
    """A postman, and what he goes between."""

    def __init__(self, *letters: Letter):
        self.box, self.engine, self.tally = Box({each.number: each for each in letters}), Engine(), Tally()
        heard = self.engine.heard
        self.postman = Postman(self.box, self.engine, self.tally, lambda *said: heard.append(said))

    async def passes(self, seconds: float) -> None:
        self.postman.begin()
        await asyncio.sleep(seconds)
        await self.postman.stop()


# --- a daemon that stands by ---


@virtually
async def test_what_a_standby_takes_is_a_letter_with_all_that_the_notification_said():
    box = Box()
    standby = Letterbox(box)
    standby.heard("stopgap", 3)
    assert await standby.receive([alert("a"), alert("b")]) == Received()
    (left,) = box.kept.values()
    assert (left.receiver, left.truncated) == ("stopgap", 3)
    assert [Alert.from_json(each).labels["alertname"] for each in left.alerts] == ["a", "b"]


@virtually
async def test_a_notification_that_says_nothing_leaves_no_letter_and_one_that_left_all_out_does():
    box = Box()
    standby = Letterbox(box)
    await standby.receive([])
    assert not box.kept
    standby.heard("stopgap", 7)
    await standby.receive([])
    assert [each.truncated for each in box.kept.values()] == [7]


@virtually
async def test_a_letter_that_is_not_on_disk_is_not_taken():
    with pytest.raises(StoreError):
        await Letterbox(Box(error=StoreError("away"))).receive([alert()])


# --- the one that leads ---


@virtually
async def test_letters_are_read_in_the_order_in_which_they_came_and_thrown_away_afterwards():
    office = Office(*(letter(number, f"a{number}") for number in range(1, MOST + 30)))
    await office.passes(1)
    assert office.engine.names == [f"a{number}" for number in range(1, MOST + 30)]
    assert not office.box.kept
    assert office.tally.seen[:3] == [MOST, 29, 0]
    assert office.tally.matched == MOST + 29
    assert office.engine.heard[0] == ("stopgap", 0)


@virtually
async def test_since_when_the_first_letter_waits_is_known_before_any_is_fetched():
    """A few large ones may keep whoever fetches them busy for long."""
    office = Office(letter(3, "a"), letter(4, "b"))

    async def never(most, newest):
        raise StoreError("too slow")

    fetched, office.box.letters = office.box.letters, never
    office.postman.begin()
    await asyncio.sleep(1)
    assert set(office.tally.since) == {NOON + timedelta(minutes=3)}
    office.box.letters = fetched
    await asyncio.sleep(2)
    await office.postman.stop()
    assert (office.engine.names, office.tally.since[-1]) == (["a", "b"], None)


@virtually
async def test_letters_that_come_later_are_read_soon():
    office = Office()
    office.postman.begin()
    await asyncio.sleep(1)
    await office.box.put_by(letter(0, "late"))
    await asyncio.sleep(0.2)
    await office.postman.stop()
    assert office.engine.names == ["late"]


@virtually
async def test_letters_of_one_alert_are_thrown_away_before_the_next_of_it_is_read():
    """Read twice after a crash, `firing` and `resolved` together would open a second incident."""
    office = Office(letter(1, "a"), letter(2, "b"), letter(3, "a"), letter(4, "c"))
    log = office.box.thrown = office.engine.names
    await office.passes(1)
    assert log == ["a", "b", [1, 2], "a", "c", [3, 4]]


def test_letters_of_different_alerts_go_together():
    assert [
        [each.number for each in some]
        for some in apart(
            [
                letter(1, "a"),
                letter(
                    2,
                    "b",
                ),
            ]
        )
    ] == [[1, 2]]
    assert list(apart([])) == []


@virtually
async def test_a_letter_that_the_store_does_not_take_stays_and_is_read_again():
    office = Office(letter(1, "a"))
    office.engine.error = StoreError("full")
    office.postman.begin()
    await asyncio.sleep(3)
    assert list(office.box.kept) == [1]
    office.engine.error = None
    await asyncio.sleep(2)
    await office.postman.stop()
    assert (office.engine.names, office.box.kept, office.tally.lost) == (["a"], {}, 0)


@pytest.mark.parametrize("alerts", [["x"], [None], [{"odd": 1}], [["x"]]])
@virtually
async def test_whatever_another_release_writes_holds_no_other_up(alerts):
    office = Office(letter(1, "a"), Letter("stopgap", 0, alerts, 2), letter(3, "c"))
    assert (await office.postman.receive([alert("now")])).matched == {"p/r": 1}
    assert office.engine.names == ["a", "c", "now"]


@virtually
async def test_nobody_waits_for_letters_that_keep_coming():
    office = Office(letter(1, "a"))
    answered = office.box.answered

    async def and_one_more_comes(numbers):
        await office.box.put_by(letter(0, f"b{len(office.engine.names)}"))
        await answered(numbers)

    office.box.answered = and_one_more_comes
    office.box.kept[2] = letter(2, "b")
    await asyncio.wait_for(office.postman.receive([alert("now")]), 1)
    assert office.engine.names == ["a", "b", "now"]


@virtually
async def test_letters_of_different_alerts_go_to_the_journal_together():
    office = Office(letter(1, "a"), letter(2, "b"), letter(3, "c"))
    at_once, most = 0, 0

    async def receive(alerts, by=""):
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        await asyncio.sleep(0.01)
        at_once -= 1
        if alerts[0].labels["alertname"] == "b":
            raise StoreError("full")
        return Received()

    office.engine.receive = receive
    with pytest.raises(StoreError, match="full"):
        await office.postman.receive([alert("now")])
    assert (most, list(office.box.kept)) == (3, [2])


@virtually
async def test_a_letter_that_nobody_can_read_holds_no_other_up_and_is_counted_when_it_is_given_up():
    office = Office(letter(1, "a"), Letter("stopgap", 0, [{"odd": 1}], 2), letter(3, "c"))
    await office.passes(2)
    assert office.engine.names == ["a", "c"]
    assert (list(office.box.kept), office.tally.lost, office.box.tries) == ([2], 1, {2: TRIES})


@virtually
async def test_who_begins_to_lead_takes_up_what_another_release_gave_up():
    office = Office(letter(1, "a"))
    office.box.given_up = {1}
    office.box.error = StoreError("away")
    office.postman.begin()
    await asyncio.sleep(3)
    office.box.error = None
    await asyncio.sleep(2)
    await office.postman.stop()
    assert office.engine.names == ["a"]


@virtually
async def test_a_look_that_goes_wrong_is_said_once_in_a_while_and_the_next_one_comes():
    office = Office(letter(1, "a"))
    office.box.error = LookupError("a defect")
    with capture_logs() as logs:
        office.postman.begin()
        await asyncio.sleep(3.5)
        office.box.error = None
        await asyncio.sleep(2)
        await office.postman.stop()
    assert [(line["event"], line["log_level"]) for line in logs] == [("letters_fault", "error")]
    assert office.engine.names == ["a"]


@virtually
async def test_what_others_were_told_before_comes_before_what_the_leader_is_told():
    office = Office(letter(1, "before"))
    assert (await office.postman.receive([alert("now")])).matched == {"p/r": 1}
    assert office.engine.names == ["before", "now"]


@virtually
async def test_many_notifications_at_once_share_a_look_into_the_box():
    office = Office()
    await asyncio.gather(*(office.postman.receive([alert(f"a{n}")]) for n in range(50)))
    assert len(office.engine.names) == 50
    assert len(office.tally.seen) <= 3


@virtually
async def test_a_notification_is_not_taken_while_nobody_knows_what_came_before():
    office = Office(letter(1, "before"))
    office.box.error = StoreError("away")
    with pytest.raises(StoreError):
        await office.postman.receive([alert("now")])
    assert office.engine.names == []


@virtually
async def test_a_postman_who_never_began_stops():
    await Office().postman.stop()

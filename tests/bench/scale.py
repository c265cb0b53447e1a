"""Scale: how much a run measures; every number that only makes it longer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """How often, how long, how many."""

    name: str
    rounds: int = 5  # of each comparison
    seconds: float = 1.2  # of one flood
    news: int = 8000  # new alerts that one flood may use up
    warm: int = 200  # alerts before the first that counts
    alerts: int = 500  # one by one
    rates: tuple[int, ...] = (200, 1000)  # alerts per second
    sustained: float = 10.0  # seconds of one rate
    patience: float = 20.0  # seconds that are waited for effects after the last alert was due
    crowds: tuple[int, ...] = (1000, 10_000)  # rules, against 10
    body: int = 10_000  # alerts in one body
    open: tuple[int, ...] = (1000, 10_000, 100_000)  # incidents
    commands: int = 100  # of each side in each round, one by one
    command_rate: int = 50  # per second
    transitions: int = 100_000  # of the backtest


FULL = Scale("full")
QUICK = Scale(
    "quick",
    rounds=3,
    seconds=0.6,
    news=4000,
    alerts=200,
    sustained=4.0,
    patience=10.0,
    crowds=(1000,),
    open=(1000, 10_000),
    commands=40,
    transitions=10_000,
)
TINY = Scale(  # for the test of the bench
    "tiny",
    rounds=1,
    seconds=0.1,
    news=100,
    warm=5,
    alerts=10,
    rates=(50,),
    sustained=0.4,
    patience=5.0,
    crowds=(),
    body=100,
    open=(20,),
    commands=5,
    command_rate=20,
    transitions=1000,
)

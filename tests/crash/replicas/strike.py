"""Strike: brings faults about, and heals them after their time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGINT, SIGQUIT

from tests.crash.replicas.fault import LEADER, Fault
from tests.crash.replicas.launcher import SNARE
from tests.crash.replicas.replica import Replica
from tests.crash.replicas.watch import Watch
from tests.crash.replicas.wire import Blow
from tests.servers import Postgres

AIM_SECONDS = 3.0  # that a moment is waited for; then the fault comes anyway
LONGEST_AIM = 0.004  # seconds after an intent's commit


class Strike:
    """Belongs to one campaign. `counted` are faults that came, by kind; `missed` those of them whose moment did not come."""

    def __init__(self, replicas: Sequence[Replica], watch: Watch, server: Postgres, folder: Path) -> None:
        self.counted: Counter[str] = Counter()
        self.missed = 0
        self._replicas = replicas
        self._watch = watch
        self._server = server
        self._folder = folder  # where daemons look for a snare
        self._restarting = asyncio.Lock()
        self._snaring = asyncio.Lock()
        self._acts: Mapping[str, Callable[[Fault, Replica], object]] = {
            "kill": self._kill,
            "hand over": self._hand_over,
            "stop": self._stop,
            "stop at an intent": self._stop_at_an_intent,
            "stop in a transaction": self._stop_in_a_transaction,
            "stop in an act": lambda fault, _: self._stop_in_an_act(fault),
            "cut": self._cut,
            "cut before a commit": lambda fault, who: self._cut_at_a_commit(who, Blow.BEFORE),
            "cut after a commit": lambda fault, who: self._cut_at_a_commit(who, Blow.AFTER),
            "silence": self._silence,
            "delay": self._delay,
            "database fast": lambda fault, who: self._restart(SIGINT),
            "database immediate": lambda fault, who: self._restart(SIGQUIT),
        }

    async def strike(self, fault: Fault) -> None:
        """Bring one about, and return when it has healed."""
        self.counted[fault.kind] += 1
        done = self._acts[fault.kind](fault, self._victim(fault))
        if asyncio.iscoroutine(done):
            await done

    def heal(self) -> None:
        """Let everything be as it should."""
        for replica in self._replicas:
            replica.wire.heal()
            replica.go_on()

    def _victim(self, fault: Fault) -> Replica:
        if fault.victim != LEADER:
            return self._replicas[fault.victim]
        leading = [each for each in self._replicas if each.name == self._watch.leader]
        return leading[0] if leading else self._replicas[fault.number % len(self._replicas)]

    # --- a process ---

    def _kill(self, fault: Fault, who: Replica) -> None:
        who.kill(fault.lasts)

    def _hand_over(self, fault: Fault, who: Replica) -> None:
        who.hand_over(fault.lasts)

    async def _stop(self, fault: Fault, who: Replica) -> None:
        who.halt()
        await asyncio.sleep(fault.lasts)
        who.go_on()

    async def _stop_at_an_intent(self, fault: Fault, _: Replica) -> None:
        """Stop whoever has just committed an intent, at once or a little later."""
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def intent(name: str) -> None:
            if not heard.done():
                heard.set_result(name)

        self._watch.on_intent = intent
        try:
            name = await asyncio.wait_for(heard, AIM_SECONDS)
        except TimeoutError:
            self.missed += 1
            name = self._watch.leader
        if fault.twist > 0.5:
            await asyncio.sleep((fault.twist - 0.5) * 2 * LONGEST_AIM)
        for replica in self._replicas:
            if replica.name == name:
                await self._stop(fault, replica)

    async def _stop_in_a_transaction(self, fault: Fault, who: Replica) -> None:
        """Stop it when it has begun a transaction: what it sends next is not sent."""

        word = b"BEGIN" if fault.twist < 0.6 else b"COMMIT"

        def sent(piece: bytes) -> Blow | None:
            if word not in piece:
                return None
            who.halt()
            return Blow.NONE

        await self._lie_in_wait(who, sent)
        await self._stop(fault, who)

    async def _stop_in_an_act(self, fault: Fault) -> None:
        """Lay a snare for whoever acts next, and let go whom it caught."""
        async with self._snaring:
            (self._folder / SNARE).touch()
            caught = await self._caught()
        if caught is None:
            self.missed += 1
        else:
            await asyncio.sleep(fault.lasts)
            caught.go_on()

    async def _caught(self) -> Replica | None:
        until = time.monotonic() + AIM_SECONDS
        while time.monotonic() < until or not (self._folder / SNARE).exists():
            for replica in self._replicas:
                with suppress(FileNotFoundError):
                    (self._folder / f"{SNARE}.{replica.name}").unlink()
                    return replica
            await asyncio.sleep(0.01)
        with suppress(FileNotFoundError):
            (self._folder / SNARE).unlink()
        return None

    # --- a wire ---

    async def _cut(self, fault: Fault, who: Replica) -> None:
        who.wire.refuses = True
        who.wire.cut()
        await asyncio.sleep(fault.lasts)
        who.wire.refuses = False

    async def _cut_at_a_commit(self, who: Replica, blow: Blow) -> None:
        await self._lie_in_wait(who, lambda piece: blow if b"COMMIT" in piece else None)

    async def _lie_in_wait(self, who: Replica, look: Callable[[bytes], Blow | None]) -> None:
        """Let the next piece that is looked for have its blow."""
        struck = asyncio.Event()

        def ambush(piece: bytes) -> Blow:
            found = look(piece)
            if found is None:
                return Blow.NONE
            struck.set()
            who.wire.ambush = None
            return found

        who.wire.ambush = ambush
        try:
            await asyncio.wait_for(struck.wait(), AIM_SECONDS)
        except TimeoutError:
            self.missed += 1
            who.wire.ambush = None

    async def _silence(self, fault: Fault, who: Replica) -> None:
        who.wire.silence()
        await asyncio.sleep(fault.lasts)
        if fault.twist < 0.4:
            who.wire.cut()
        who.wire.speak()

    async def _delay(self, fault: Fault, who: Replica) -> None:
        who.wire.delay = 0.01 + fault.twist * 0.2
        await asyncio.sleep(fault.lasts)
        who.wire.delay = 0.0

    # --- the database ---

    async def _restart(self, number: int) -> None:
        async with self._restarting:
            await asyncio.to_thread(self._server.stop, number)
            with suppress(RuntimeError):
                await asyncio.to_thread(self._server.start)

"""Patient: virtual time that waits for threads: a store on disk takes as long as it takes, and no time passes meanwhile."""

import asyncio
import selectors
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class _Patient(selectors.SelectSelector):
    """Leaps, unless something real is under way: then it waits for that, and the clock stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.busy = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.busy or timeout is None:
            return super().select(0 if timeout == 0 else 5.0)
        self.now += max(timeout, 0.0)
        return super().select(0)


class PatientLoop(asyncio.SelectorEventLoop):
    """A VirtualLoop beside which threads may work, as long as the loop is told of it."""

    def __init__(self) -> None:
        self.patient = _Patient()
        super().__init__(self.patient)

    def time(self) -> float:
        return self.patient.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for its threads for as long as they take, and no time passes meanwhile."""
        await real(super().shutdown_default_executor())


async def real(work: Awaitable[T]) -> T:
    """Await what really takes time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PatientLoop)
    loop.patient.busy += 1
    try:
        return await work
    finally:
        loop.patient.busy -= 1


class Waited:
    """A store whose every operation is waited for."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **more: Any) -> Any:
            return await real(found(*args, **more))

        return call

    def unsubscribe(self) -> None:
        self._store._delivery.observers.clear()

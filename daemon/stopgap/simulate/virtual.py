"""Virtual time: an event loop whose clock jumps to the next timer instead of sleeping."""

import asyncio
import selectors


class _Leaping(selectors.SelectSelector):
    """Never sleeps: what would have been slept is added to the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is scheduled: on virtual time this would wait for ever")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs hours in milliseconds; no threads and no sockets may take part: nobody ever looks whether one is ready."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._leaping.now

"""Virtual time for tests: an async test runs hours in milliseconds."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from stopgap.simulate.virtual import VirtualLoop


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on virtual time."""

    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]  # for what parametrize and fixtures give
    return run

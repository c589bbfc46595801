"""Event loops by name."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

_T = TypeVar("_T")

ASYNCIO, UVLOOP = "asyncio", "uvloop"
FASTEST = UVLOOP if find_spec(UVLOOP) else ASYNCIO


def run_on(loop: str, main: Coroutine[Any, Any, _T]) -> _T:
    """What `main` gives, run on that loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop != ASYNCIO:
        factory = import_module(loop).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)

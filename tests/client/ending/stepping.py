"""Something done at every single step of an event loop, one after another: counted, not sampled."""

import asyncio
import inspect
import signal
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from mesh_refresh.testing import FakeMesh
from tests.watchdog import LOOK_EVERY, Patience

WATCHDOG = 120.0
"""Seconds for the fake to answer, and for its thread to end: minutes, because other programs may need the machine."""


class Hangs(BaseException):
    """A story did not end. No `Exception`, so that nothing in the story takes it for one of its own."""


@contextmanager
def watchdog(patience: Callable[[], Patience] = Patience, look_every: float = LOOK_EVERY) -> Iterator[None]:
    """Raises `Hangs` in the main thread where no loop takes a step, also out of one that spins in a single step."""
    patient = patience()

    def bark(*_: object) -> None:
        if patient.look(_Steps.taken_by_all):
            raise Hangs

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, look_every, look_every)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Steps(deque[Any]):
    """The loop's queue of callbacks, which tells before each one that it is taken."""

    before_each: Callable[[], None] | None = None
    taken_by_all = 0

    def popleft(self) -> Any:
        _Steps.taken_by_all += 1
        if self.before_each is not None:
            self.before_each()
        return super().popleft()


class SteppingLoop(asyncio.SelectorEventLoop):
    """Calls `arm`'s callback before its k-th callback from then on. A step is one callback, the least there is."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = self._ready = _Steps()
        self.taken = 0

    def arm(self, k: int, act: Callable[[], object]) -> None:
        """Before step `k` from now on, counted from 0, `act` is called, outside of any task."""
        self.taken = 0

        def before_each() -> None:
            at, self.taken = self.taken, self.taken + 1
            if at == k:
                self.steps.before_each = None
                act()

        self.steps.before_each = before_each

    def disarm(self) -> bool:
        """Gives whether the step was not reached."""
        waiting = self.steps.before_each is not None
        self.steps.before_each = None
        return waiting


def looping() -> SteppingLoop:
    """The loop that a story runs in."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppingLoop)
    return loop


Story = Callable[[int], Coroutine[Any, Any, bool]]
"""Acts at step k of an exchange, and asserts. Gives whether the exchange had that many steps."""


def at_every_step(story: Story, *, at_least: int = 15) -> int:
    """Run `story` for k = 0, 1, 2, ... until the exchange has no step k, each in a loop of its own."""
    for k in range(5000):
        try:
            with watchdog(), asyncio.Runner(loop_factory=SteppingLoop) as runner:
                reached = runner.run(story(k))
        except (Hangs, AssertionError) as error:
            raise AssertionError(f"step {k}: {str(error) or 'it hangs'}") from error
        if not reached:
            assert k >= at_least, f"only {k} steps: the harness does not count"
            return k
    raise AssertionError("the exchange never ends")


class FarMesh:
    """A `FakeMesh` in a thread and a loop of its own, where nothing that happens to the client's loop reaches it."""

    def __init__(self, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.fake = FakeMesh(**options)

    def run(self, what: Callable[[], Any]) -> Any:
        """`what()` in the fake's loop."""

        async def inside() -> Any:
            value = what()
            return await value if inspect.isawaitable(value) else value

        return asyncio.run_coroutine_threadsafe(inside(), self._loop).result(WATCHDOG)

    def idle(self) -> None:
        """Until no request is being answered."""

        async def wait() -> None:
            while self.fake.in_flight:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0)

        self.run(wait)

    def start(self) -> None:
        self._thread.start()
        self.run(self.fake.start)

    def stop(self) -> None:
        self.run(self.fake.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WATCHDOG)
        self._loop.close()


@contextmanager
def far_mesh(**options: Any) -> Iterator[FarMesh]:
    """A `FarMesh` that runs."""
    far = FarMesh(**options)
    far.start()
    try:
        yield far
    finally:
        far.stop()

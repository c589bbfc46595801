"""Hears when another process has something for the keepers to do. Without it they find it at their next poll."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from mesh_refresh.stores.postgres.connecting import Target, connect
from mesh_refresh.stores.postgres.failures import failure
from mesh_refresh.tasks import ForeignTask

_log = logging.getLogger("mesh_refresh.stores")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


def channel_of(schema: str) -> str:
    """A channel's name is an identifier, of 63 bytes at the most, as the schema's may be already."""
    return f"mesh_refresh_{hashlib.sha256(schema.encode()).hexdigest()[:24]}"


class Ears:
    """One connection that listens, as long as there is somebody to wake."""

    def __init__(self, to: Target) -> None:
        self._to = to
        self._wakes: list[Callable[[], object]] = []
        self._task: ForeignTask | None = None
        self._connection: Any = None
        self._over = False
        self._lost = asyncio.Event()

    def add(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Call `wake` from now on, until what is given back is called."""
        self._wakes.append(wake)
        if self._task is None and not self._over:
            loop = asyncio.get_running_loop()
            self._task = ForeignTask(self._listen(), loop=loop, name="mesh_refresh store, listening")

        def remove() -> None:
            if wake in self._wakes:
                self._wakes.remove(wake)

        return remove

    async def aclose(self) -> None:
        """Hear nothing more."""
        self._over = True
        self._lost.set()
        if self._task is not None:
            self._task.end()
            await asyncio.wait((self._task,))
        if self._connection is not None:
            self._connection.terminate()

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while not self._over:
            self._lost.clear()
            try:
                self._connection = await connect(self._to)
                self._connection.add_termination_listener(lambda _: self._lost.set())
                await self._connection.add_listener(channel_of(self._to.schema), self._heard)
            except Exception as error:  # noqa: BLE001 - keepers poll meanwhile
                if pause == _FIRST_PAUSE:
                    _log.warning("not listening: %s", failure(error, self._to.shown))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                self._heard()  # what was said meanwhile was not heard
                await self._lost.wait()

    def _heard(self, *_: object) -> None:
        for wake in tuple(self._wakes):
            wake()

"""Hears when another process has something for the keepers to do. Without it they find it at their next poll."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.stores.postgres.connection.addresses import Target
from mesh_refresh.stores.postgres.connection.connecting import connect
from mesh_refresh.stores.postgres.connection.failures import failure

_log = logging.getLogger("mesh_refresh.stores")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_ASKED_EACH = 30.0


def channel_of(schema: str) -> str:
    """A channel's name is an identifier, of 63 bytes at the most, as the schema's may be already."""
    return f"mesh_refresh_{hashlib.sha256(schema.encode()).hexdigest()[:24]}"


class NotificationListener:
    """One connection that listens, from the first who wants to be woken until it is closed."""

    def __init__(self, to: Target) -> None:
        self._to = to
        self._wakes: list[Callable[[], object]] = []
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def add(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Call `wake` from now on, until what is given back is called."""
        self._wakes.append(wake)
        if (self._task is None or self._task.done()) and not self._over:
            # Unlike what verbs are done in, a task that a shutdown stops: it would never end by itself.
            self._task = asyncio.get_running_loop().create_task(self._listen(), name="mesh_refresh store, listening")

        def remove() -> None:
            if wake in self._wakes:
                self._wakes.remove(wake)

        return remove

    async def aclose(self) -> None:
        """Hear nothing more."""
        self._over = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            failed: MeshRefreshError | None = None
            try:
                connection = await connect(self._to)
                try:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _, lost=lost: lost.set())
                    await connection.add_listener(channel_of(self._to.schema), self._heard)
                    pause = _FIRST_PAUSE
                    self._heard()  # what was said meanwhile was not heard
                    await _until(lost, connection)
                finally:
                    connection.terminate()
            except Exception as error:  # noqa: BLE001 - keepers poll meanwhile
                failed = failure(error, self._to.shown)
            if failed is not None:
                # Out here: error trackers show the frames of a log line too, and the driver's error may quote the URL.
                if pause == _FIRST_PAUSE:
                    _log.warning("not listening: %s", failed)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _heard(self, *_: object) -> None:
        for wake in tuple(self._wakes):
            wake()


async def _until(lost: asyncio.Event, connection: Any) -> None:
    """Wait until the connection is lost. It is probed now and then, since it may be cut off without a sign."""
    while not lost.is_set():
        try:
            async with asyncio.timeout(_ASKED_EACH):
                await lost.wait()
        except TimeoutError:
            await connection.execute("SELECT 1")

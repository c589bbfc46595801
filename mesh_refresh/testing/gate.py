"""A place where requests wait until the test lets them on, so that no test sleeps."""

import asyncio


class Gate:
    """Where `FakeMesh.hold` keeps a request: ``await gate.entered.wait()``, look around, ``gate.release()``."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        """Set once a request has arrived at the gate."""
        self.waiting = 0
        """How many wait at it now."""
        self._open = asyncio.Event()
        self._arrived = asyncio.Condition()

    def release(self) -> None:
        """Let everything on that waits, and all that comes later."""
        self._open.set()

    async def arrivals(self, count: int) -> None:
        """Wait until `count` requests wait at the gate at once."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.waiting >= count)

    async def pass_through(self) -> None:
        """Stand at the gate until it opens. For the server."""
        self.waiting += 1
        self.entered.set()
        try:
            async with self._arrived:
                self._arrived.notify_all()
            await self._open.wait()
        finally:
            self.waiting -= 1

    def __repr__(self) -> str:
        return f"Gate({'open' if self._open.is_set() else 'closed'}, waiting={self.waiting})"

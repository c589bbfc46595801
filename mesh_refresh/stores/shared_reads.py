"""One read of a row for all callers who want it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class SharedReads(Generic[_T]):
    """Reads of rows, at most one at a time for each login.

    A caller gets what a read found that began after the caller asked: an earlier read may not have seen what another
    process wrote in between. So a caller who comes during a read waits for its end, and the callers who came meanwhile
    share the next one.
    """

    def __init__(self, read: Callable[[str], Awaitable[_T]]) -> None:
        self._read = read
        self._running: dict[str, asyncio.Future[_T]] = {}

    async def get(self, login_id: str) -> _T:
        """What is stored of this login. Raises what the read raises."""
        running = self._running.get(login_id)
        if running is not None:
            await asyncio.wait((running,))
            while (running := self._running.get(login_id)) is not None:
                await asyncio.wait((running,))
                if not running.cancelled():
                    return running.result()
        return await self._lead(login_id)

    async def _lead(self, login_id: str) -> _T:
        """Read for all that wait by the time the read ends."""
        running = self._running[login_id] = asyncio.get_running_loop().create_future()
        try:
            found = await self._read(login_id)
        except Exception as error:
            running.set_exception(error)
            running.exception()  # the other callers may be gone: asyncio must not complain
            raise
        except BaseException:
            running.cancel()
            raise
        else:
            running.set_result(found)
            return found
        finally:
            del self._running[login_id]

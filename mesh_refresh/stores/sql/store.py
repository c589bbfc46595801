"""What the stores that keep their rows by SQL have in common."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from mesh_refresh.stores.key_check import sealed_check
from mesh_refresh.stores.key_ids import KEY_PREFIX, key_id_of
from mesh_refresh.stores.outbox import Outbox
from mesh_refresh.stores.registry import Registry
from mesh_refresh.stores.resealing import reseal
from mesh_refresh.stores.row import BrokerPause, Resealed
from mesh_refresh.stores.sql.statements import SqlStatements
from mesh_refresh.stores.store import Store


class SqlStore(Store):
    """A store that is opened by ``async with`` or by ``await``, and the verbs that are one statement."""

    _statements: SqlStatements
    _outbox: Outbox
    _registry: Registry

    async def __aenter__(self) -> Self:
        return await self._opened()

    def __await__(self) -> Generator[Any, None, Self]:
        return self._opened().__await__()

    @property
    def outbox(self) -> Outbox:
        """See `Store`."""
        return self._outbox

    @property
    def registry(self) -> Registry:
        """See `Store`."""
        return self._registry

    async def release(self, login_id: str, owner: str, hold: timedelta) -> bool:
        """See `Store`."""
        return await self._statements.write("release", login_id, owner, hold, key=login_id) == 1

    async def key_usage(self) -> dict[str, int]:
        """See `Store`. It reads both tables from end to end."""
        usage = Counter[str]()
        for head, number in await self._statements.look("key_usage", KEY_PREFIX, long=True):
            usage[key_id_of(head or b"")] += number  # SQLite gives NULL for the beginning of an empty value
        return dict(usage)

    async def paused(self) -> dict[str, BrokerPause]:
        """See `Store`."""
        return {broker: BrokerPause(broker, *why) for broker, *why in await self._statements.look("paused")}

    async def resumed(self) -> dict[str, datetime]:
        """See `Store`."""
        return dict(await self._statements.look("resumed"))

    @abstractmethod
    async def find_damage(self) -> Sequence[str]:
        """What the place itself finds wrong with what it holds, one line each, without a value; empty: nothing."""

    async def ping(self) -> None:
        """See `Store`."""
        await self._statements.look("seal")

    async def reseal(self) -> Resealed:
        """Seal every login and notice anew with the cipher's first key, while the store is in use. Gives how many.

        Afterwards the store opens with that key alone. A login that no key of the cipher opens is named and left as it
        is. Give every process both keys first, and only then put the new one before the old.
        """
        done = await reseal(self)
        await self._statements.write("put_seal", sealed_check(self.cipher, self.store_id))
        return done

    async def _opened(self) -> Self:
        raise NotImplementedError

"""`Keeper` for programs without an event loop."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, TypedDict, Unpack, cast

from mesh_refresh import keeper
from mesh_refresh.client import MeshClient
from mesh_refresh.clock import Clock
from mesh_refresh.keeper import AccountState, KeeperClosed, Login, Notice, NoticeHandler, Policy, arguments
from mesh_refresh.keeper.runtime.event_queue import Handler
from mesh_refresh.observing import Observer
from mesh_refresh.stores import Store
from mesh_refresh.sync.facade import Facade, check_callables, entered, waiting

_PAGE = 200


class KeeperOptions(TypedDict, total=False):
    """The options of `Keeper` that this one takes. Each may be left out."""

    policy: Policy | None
    on_event: Handler | None
    on_notice: NoticeHandler | Callable[[Notice], object] | None
    spool: str | os.PathLike[str] | None
    clock: Clock | None
    names: Callable[[], str]
    observer: Observer | None
    role: str | None


class Keeper(Facade[keeper.Keeper]):
    """Answers and refreshes tokens of a fleet from any thread, on demand only::

        cipher = Cipher(os.environ["MESH_REFRESH_KEYS"].split(","))
        keeper = sync.Keeper(MeshClient.from_env, lambda: SqliteStore.open("fleet.db", cipher=cipher))
        fresh = keeper.tokens("user-7")

    Args:
        mesh: a callable that makes a `mesh_refresh.MeshClient`, once in each process that uses this keeper.
        store: a callable, sync or async, that opens a store, likewise.
        options: those of `mesh_refresh.keeper.Keeper`, but for `background`. Hooks may be ordinary functions: each is
            called in a thread of its own.

    Raises:
        InvalidRequest: an argument is not of its kind, or gevent or eventlet is in use. What the callables make is
            checked at the first use. Each verb raises it in an event loop.
    """

    def __init__(
        self,
        mesh: Callable[[], MeshClient],
        store: Callable[[], Store | Awaitable[Store]],
        **options: Unpack[KeeperOptions],
    ) -> None:
        super().__init__()
        check_callables(
            "Keeper", 'MeshClient.from_env and lambda: SqliteStore.open("fleet.db", cipher=cipher)', mesh, store
        )
        if unknown := options.keys() - KeeperOptions.__annotations__.keys():
            raise TypeError(f"sync.Keeper got an unexpected keyword argument {min(unknown)!r}")
        self._mesh, self._store, self._options = mesh, store, options

    tokens = waiting(keeper.Keeper.tokens)
    add = waiting(keeper.Keeper.add)
    refresh = waiting(keeper.Keeper.refresh)
    submit_mfa = waiting(keeper.Keeper.submit_mfa)
    restart_mfa = waiting(keeper.Keeper.restart_mfa)
    login = waiting(keeper.Keeper.login)
    remove = waiting(keeper.Keeper.remove)
    summary = waiting(keeper.Keeper.summary)

    def logins(
        self,
        *,
        state: AccountState | str | None = None,
        broker: str | None = None,
        changed_since: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Login]:
        """Logins in the order of their ids, read page by page: see `mesh_refresh.keeper.Keeper.logins`."""
        arguments.check_filters(state, broker, changed_since, after, limit)

        def pages() -> Iterator[Login]:
            last, left = after, limit
            while left is None or left > 0:
                size = _PAGE if left is None else min(left, _PAGE)

                async def page(of: keeper.Keeper, last: str | None = last, size: int = size) -> list[Login]:
                    found = of.logins(state=state, broker=broker, changed_since=changed_since, after=last, limit=size)
                    return [login async for login in found]

                found = self._wait_for(page)
                yield from found
                if len(found) < size:
                    return
                last, left = found[-1].login_id, None if left is None else left - size

        return pages()

    def _closed(self) -> KeeperClosed:
        return KeeperClosed()

    async def _open(self, stack: AsyncExitStack) -> keeper.Keeper:
        mesh = await entered(self._mesh(), stack)
        store = await entered(self._store(), stack)
        return await stack.enter_async_context(
            keeper.Keeper(mesh, store, background=False, **cast("Any", self._options))
        )

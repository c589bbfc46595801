"""Takes backoffs back that turned out to be no fault of the accounts: a breaker has opened instead."""

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.rules.failure import BackedOff, undo_backoff
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import row_of

_log = logging.getLogger("mesh_refresh.keeper")


async def undo_backoffs(runtime: Runtime, backoffs: Iterable[BackedOff]) -> None:
    """Write each of these accounts as it was before. Where the store fails, a backoff ends by itself."""
    runtime.undoing += 1
    try:
        for backed_off in backoffs:
            unit = runtime.units.get(backed_off.login_id)
            if unit is not None:
                await asyncio.wait((unit.done,))  # its failure may not be written yet
            try:
                await _undo(runtime, backed_off)
            except Exception as error:  # noqa: BLE001 - a store may raise anything
                _log.warning("a backoff stays", extra={"login_id": backed_off.login_id, **without_secrets(error)})
    finally:
        runtime.undoing -= 1
        runtime.wake()


async def _undo(runtime: Runtime, backed_off: BackedOff) -> None:
    written = False
    while not written:
        row = await runtime.stored(partial(runtime.store.read, backed_off.login_id))
        if row is None:
            return
        login, context = runtime.opened(row), runtime.now()
        after = undo_backoff(login, backed_off, context)
        written = after is login or await runtime.stored(
            partial(runtime.store.swap, row_of(runtime.store.cipher, after, context.now))
        )

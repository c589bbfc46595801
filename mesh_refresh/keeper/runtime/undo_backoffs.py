"""Takes backoffs back that turned out to be no fault of the accounts: a breaker has opened instead."""

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.rules.failure import BackedOff, undone
from mesh_refresh.keeper.runtime.runtime import Core
from mesh_refresh.stores import row_of

_log = logging.getLogger("mesh_refresh.keeper")


async def undo_backoffs(core: Core, backoffs: Iterable[BackedOff]) -> None:
    """Write each of these accounts as it was before. Where the store fails, a backoff ends by itself."""
    core.undoing += 1
    try:
        for backed_off in backoffs:
            unit = core.units.get(backed_off.login_id)
            if unit is not None:
                await asyncio.wait((unit.done,))  # its failure may not be written yet
            try:
                await _undo(core, backed_off)
            except Exception as error:  # noqa: BLE001 - a store may raise anything
                _log.warning("a backoff stays", extra={"login_id": backed_off.login_id, **without_secrets(error)})
    finally:
        core.undoing -= 1
        core.wake()


async def _undo(core: Core, backed_off: BackedOff) -> None:
    written = False
    while not written:
        row = await core.stored(partial(core.store.read, backed_off.login_id))
        if row is None:
            return
        login, now = core.opened(row), core.now()
        after = undone(login, backed_off, now)
        written = after is login or await core.stored(
            partial(core.store.swap, row_of(core.store.cipher, after, now.at))
        )

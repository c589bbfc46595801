"""The end of a keeper: what is under way is finished and written, whatever happens to those who wait for it."""

import asyncio
import logging
from datetime import timedelta

from mesh_refresh.keeper.runtime.late_replies import give_up
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.writer import PendingWrite
from mesh_refresh.tasks import run_foreign

_log = logging.getLogger("mesh_refresh.keeper")

_LOOK_AGAIN = 0.25
"""Seconds, while the last exchanges end at the client's deadline."""


async def drain(runtime: Runtime, claims: "asyncio.Task[None] | None", within: timedelta) -> None:
    """Until nothing is under way. What a store does not take `within` this time ends up in ``runtime.given_up``."""
    if claims is not None:
        claims.cancel()
        await asyncio.wait((claims,))
    if runtime.tasks:
        await asyncio.wait(set(runtime.tasks), timeout=within.total_seconds() / 2)
    for saving in list(runtime.saving):
        saving.spill_meanwhile()
    while runtime.tasks:
        # A reply may come as late as the client's deadline: what began late has its time, too.
        left = max(runtime.give_up_at or 0.0, runtime.patient_until) - runtime.loop.time()
        exchanging = any(unit.exchanging for unit in runtime.units.values())
        if left <= 0 and not exchanging:
            break
        await asyncio.wait(set(runtime.tasks), timeout=left if left > 0 else _LOOK_AGAIN)
    # A store that raises was given up on by now. One that does not answer at all is left to itself, and what it was to
    # take is in the spool before this ends.
    spilled: set[PendingWrite] = set()
    while unwritten := runtime.saving - spilled:
        spilled |= unwritten
        await asyncio.gather(*(saving.spilled() for saving in unwritten))
    runtime.drained = True
    for unit in list(runtime.units.values()):
        if unit.outcome is not None:
            unit.give_up(unit.outcome)
    for saving in list(runtime.late):
        give_up(runtime, saving)
    for task in list(runtime.tasks):
        _log.warning("the store does not answer; what it was asked for is left to itself")
        task.end()
    await run_foreign(lambda: runtime.event_queue.finish(within))

"""The end of a keeper: what is under way is finished and written, even if the tasks that wait for it are cancelled."""

import asyncio
import logging
from datetime import timedelta

from mesh_refresh.keeper.errors import LeftInSpool
from mesh_refresh.keeper.runtime.inflight import StoreWrite
from mesh_refresh.keeper.runtime.late_replies import give_up
from mesh_refresh.keeper.runtime.notice_delivery import NoticeDelivery
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.replies.outcomes import NotSaved
from mesh_refresh.tasks import run_foreign

_log = logging.getLogger("mesh_refresh.keeper")

_LOOK_AGAIN = 0.25
"""Seconds, while the last exchanges end at the client's deadline."""


async def drain(
    runtime: Runtime, loops: "list[asyncio.Task[None]]", delivery: NoticeDelivery | None, within: timedelta
) -> None:
    """End the `loops`, then wait until nothing is under way.

    A failing store is tried for `within`, a write that begins late for three seconds at least, and as long as a reply
    may still come. What it did not take is then in ``runtime.inflight.spilled`` or ``given_up``.
    """
    inflight = runtime.inflight
    for loop in loops:
        loop.cancel()
    if loops:
        await asyncio.wait(loops)
    if runtime.tasks:
        await asyncio.wait(set(runtime.tasks), timeout=within.total_seconds() / 2)
    for write in list(inflight.writes):
        write.spill_meanwhile()
    while runtime.tasks:
        # A reply may come as late as the client's deadline, and a write that begins late has its own time.
        left = max(runtime.give_up_at or 0.0, runtime.patient_until) - runtime.loop.time()
        if left <= 0 and not any(exchange.awaits_reply for exchange in inflight.exchanges.values()):
            break
        await asyncio.wait(set(runtime.tasks), timeout=left if left > 0 else _LOOK_AGAIN)
    # A store that raises was given up by now. A store that does not answer is left to itself, and what it was to take
    # is in the spool before this ends.
    spilled: set[StoreWrite] = set()
    while unwritten := [write for write in inflight.writes if write not in spilled]:
        spilled.update(unwritten)
        await asyncio.gather(*(write.spilled() for write in unwritten))
    runtime.drained = True
    for exchange in inflight.exchanges.values():
        if exchange.outcome is not None:
            inflight.give_up(exchange.outcome, exchange.write)
    for write in list(inflight.late):
        give_up(runtime, write)
    for task in list(runtime.tasks):
        _log.warning("the store does not answer; what it was asked for is left to itself")
        task.end()
    if delivery is not None:
        await delivery.finish()
    await run_foreign(lambda: runtime.event_queue.finish(within))


def raise_unsaved(runtime: Runtime) -> None:
    """Raises `NotSaved` or `LeftInSpool` where the store did not take new tokens."""
    spooled = len(runtime.inflight.spilled) + runtime.inflight.in_spool
    if runtime.inflight.given_up:
        more = f" Those of {spooled} more are in the spool." if spooled else ""
        what = f"The store did not take new tokens of {len(runtime.inflight.given_up)} login(s).{more}"
        raise NotSaved(what, (*runtime.inflight.given_up, *runtime.inflight.spilled))
    if spooled:
        raise LeftInSpool(f"The store did not take new tokens of {spooled} login(s).", tuple(runtime.inflight.spilled))

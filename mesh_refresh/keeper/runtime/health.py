"""What a keeper tells probes and alerts of itself, and the ping of the store that this needs."""

import asyncio
from datetime import timedelta

from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.status import Health
from mesh_refresh.observing import KeeperState, StoreFailed
from mesh_refresh.stores.store import ALL_BROKERS

_EVERY, _PATIENCE = 2.0, 1.0
"""Seconds between two pings, and the seconds that the store may take for one."""
_READY_FOR = 10.0
"""Seconds for which an answer of the store counts."""
_SLOW_CLAIM = 10.0
"""Seconds after which a claim counts as one that hangs."""
_OVERDUE_FOR = 60.0
"""Seconds for which logins may be later than `Policy.refresh_before`: a worker that has just begun catches up first."""

_NO_KEY = "nothing is claimed: several logins in a row do not open with the keys at hand"

NOT_RUNNING = Health(alive=False, ready=False, ok=False, problems=("the keeper is not running",))
"""Of a keeper that was not entered, or was left."""


async def ping(runtime: Runtime) -> None:
    """Ask the store for something small. An error shows in `Keeper.health` only."""
    limit = asyncio.timeout(_PATIENCE)
    try:
        async with limit:
            await runtime.store.ping()
    except Exception:  # noqa: BLE001 - a store may raise anything
        if limit.expired():
            runtime.tell(StoreFailed("ping"))
        return
    runtime.vitals.store_answered_at = runtime.loop.time()


async def keep_pinging(runtime: Runtime) -> None:
    """Ping the store whenever it has answered nothing else for a while, until this is cancelled."""
    while True:
        await asyncio.sleep(_EVERY)
        if runtime.loop.time() - runtime.vitals.store_answered_at >= _EVERY:
            await ping(runtime)


def health_of(runtime: Runtime, *, loop_died: bool) -> Health:
    """See `Keeper.health`."""
    has_keys = not runtime.key_mismatch.stopped
    unsaved, halted = len(runtime.inflight.unsaved_logins), runtime.limiter.breakers.halted
    problems = [
        *(["the loop has ended"] if loop_died else []),
        *_problems_of_store(runtime),
        *([f"no notices are handed out: {runtime.notices_stopped}"] if runtime.notices_stopped is not None else []),
        *([] if has_keys else [_NO_KEY]),
        *([f"everything is halted: {halted}"] if halted is not None else []),
        *([f"new tokens of {unsaved} login(s) are not in the store yet"] if unsaved else []),
    ]
    silent = runtime.loop.time() - runtime.vitals.store_answered_at
    return Health(
        alive=not loop_died,
        ready=has_keys and silent < _READY_FOR and not (loop_died or runtime.closing or runtime.inflight.reading_spool),
        ok=not problems,
        problems=tuple(problems),
        most_overdue=runtime.vitals.most_overdue,
        unsaved=unsaved,
        in_flight=runtime.limiter.in_flight,
        halted=halted,
        events_dropped=runtime.event_queue.dropped,
    )


def state_of(runtime: Runtime) -> KeeperState:
    """What the keeper does at this moment, for observers and reports. It may be asked for from any thread."""
    inflight = runtime.inflight
    return KeeperState(
        runtime.limiter.in_flight,
        len(inflight.unsaved_logins),
        None if runtime.spool is None or inflight.reading_spool else inflight.spool_files,
        {scope or ALL_BROKERS: str(fault) for scope, fault in runtime.limiter.breakers.open.items()},
        runtime.event_queue.dropped,
        runtime.vitals.last_round,
        {
            scope or ALL_BROKERS: runtime.at() + timedelta(seconds=seconds)
            for scope, seconds in runtime.limiter.breakers.next_probes(runtime.clock.monotonic()).items()
        },
        runtime.key_mismatch.unopened(runtime.clock.monotonic()),
    )


def _problems_of_store(runtime: Runtime) -> list[str]:
    vitals, now, problems = runtime.vitals, runtime.loop.time(), []
    if runtime.failed_at is not None:
        problems.append(f"the store has been failing for {runtime.clock.monotonic() - runtime.failed_at:.0f} s")
    silent = now - max(vitals.store_answered_at, vitals.entered_at)
    if silent >= _READY_FOR:
        problems.append(f"the store has not answered for {silent:.0f} s")
    if vitals.claim_since is not None and now - vitals.claim_since >= _SLOW_CLAIM:
        problems.append(f"a claim has been under way for {now - vitals.claim_since:.0f} s")
    late, since = vitals.most_overdue, vitals.overdue_since
    if late is not None and since is not None and now - since >= _OVERDUE_FOR:
        problems.append(f"the most overdue login has been due for {late.total_seconds():.0f} s")
    return problems

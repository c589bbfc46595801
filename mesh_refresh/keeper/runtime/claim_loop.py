"""The loop of a keeper: claims due logins, no more than it has permits for, and starts their exchanges."""

import logging
from collections import Counter
from datetime import datetime

from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.rules.schedule import chance_of
from mesh_refresh.keeper.rules.select import choose_due
from mesh_refresh.keeper.runtime.exchange import LoginExchange
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import ClaimRequest

_log = logging.getLogger("mesh_refresh.keeper")

_LONGEST_PAUSE = 10.0
"""Seconds between two claims at a failing store, at the most. All workers of a fleet ask it, and it may be just
starting."""

_WORTH_A_CLAIM = 0.005
"""Seconds to wait for more permits than one: a claim costs the same for one row as for many."""


class ClaimLoop:
    """Claims due logins and starts their exchanges."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._due_by: datetime | None = None
        """Claim what is due at this time; None: at the time of the claim."""
        self._places = 0
        self._claimed = 0
        self._is_full = False
        """One broker has all the permits that it may have."""
        self._failed: Exception | None = None
        self._failures = 0
        """Claims that failed in a row."""
        self._was_rated = False
        """A rate held exchanges back before the last claim, which may have found no permit for that reason."""

    async def run(self) -> None:
        """Claim until the keeper is left, or this is cancelled."""
        runtime = self._runtime
        while not runtime.closing:
            seen = runtime.wakeups.changes
            try:
                await self._once()
            except Exception as error:  # noqa: BLE001 - a store or a clock of the caller may raise anything, and the fleet must go on
                _log.error("a claim failed in an unexpected way", extra=without_secrets(error))
                self._places = self._claimed = 0
                self._failures += 1
                runtime.failed_at = runtime.failed_at or runtime.clock.monotonic()
            runtime.vitals.last_round = runtime.at()
            more = 0 < self._places <= self._claimed
            if more and runtime.limiter.free > 0:
                continue
            await runtime.change(self._pause(), since=seen)
            if self._is_full or (more and runtime.limiter.free < runtime.policy.concurrency // 4):
                await runtime.change(_WORTH_A_CLAIM)

    async def all_due(self) -> int:
        """Exchange what is due at this moment. Gives the number of claimed logins. Raises what the store raises."""
        runtime, total, counted = self._runtime, 0, False
        self._due_by = runtime.at()
        while not runtime.closing:
            # A claim without a free permit finds nothing, though permits may be free when it returns.
            busy, seen = bool(runtime.inflight.exchanges), runtime.wakeups.changes
            await self._once()
            if self._failed is not None:
                raise self._failed
            total += self._claimed
            if self._claimed:
                counted = False
                if runtime.limiter.free > 0 and not self._is_full:
                    continue
            at_work = runtime.inflight.exchanges or runtime.inflight.spool_pending or runtime.undoing
            if not self._claimed and not at_work and not busy:
                if not self._was_rated or (not counted and not await self._is_any_due()):
                    break
                counted = True
            await runtime.change(self._pause(), since=seen)
        return total

    async def _is_any_due(self) -> bool:
        """Whether to wait for the rate: a claim without permits does not tell what is due."""
        counts = await self._runtime.store.counts(self._due_by or self._runtime.at())
        return any(count.due for count in counts)

    def _pause(self) -> float:
        """Seconds to wait for a change. With a bounded rate, no longer than until the rate allows one more.

        It may allow that by now, and not at the last claim: then that is made again at once.
        """
        policy = self._runtime.policy
        rated = self._runtime.limiter.held_by_rate(self._runtime.clock.monotonic())
        if rated is None and self._was_rated:
            rated = 0.0
        usual = min(policy.poll.total_seconds(), 60.0 if rated is None else max(_WORTH_A_CLAIM, rated), 60.0)
        if self._failures < 2:
            return usual
        longest = max(usual, _LONGEST_PAUSE)
        backed_off = min(longest, policy.poll.total_seconds() * 2.0 ** min(self._failures - 1, 60))
        # Each worker at its own time.
        return max(usual, backed_off * (1 - chance_of(self._runtime.owner, self._failures) / 2))

    async def _once(self) -> None:
        """Claim as many logins as there are permits for, and start their exchanges."""
        runtime = self._runtime
        self._claimed, self._places, self._is_full = 0, 0, False
        self._was_rated = runtime.limiter.held_by_rate(runtime.clock.monotonic()) is not None
        if not runtime.closing and not runtime.inflight.spool_pending:
            # A shutdown must not cut in between the claim of a row and the start of its exchange.
            await runtime.protect(self._claim())

    async def _claim(self) -> None:
        runtime = self._runtime
        runtime.remind()
        await self._notice_resumes()
        now = runtime.clock.monotonic()
        places, each, limits = runtime.limiter.slots(now)
        if places > 0:
            places = runtime.key_mismatch.slots(places, now)
        if places <= 0:
            return
        probing = None in runtime.limiter.breakers.open
        turn = runtime.limiter.breakers.rotated(limits) if probing else limits
        claimed = await self._rows(places, each, turn)
        if not claimed and probing:
            runtime.limiter.breakers.forget_turns()
            claimed = await self._rows(places, each, limits)
        self._claimed, self._places = claimed, places

    async def _notice_resumes(self) -> None:
        runtime = self._runtime
        try:
            await runtime.notice_resumes()
        except Exception as error:  # noqa: BLE001 - a store may raise anything; the claim that follows logs it
            _log.debug("the store did not tell who was resumed", extra=without_secrets(error))

    async def _rows(self, places: int, each: int, limits: dict[str, int]) -> int:
        runtime = self._runtime
        at = runtime.at()
        demand = ClaimRequest(runtime.owner, runtime.policy.lease, self._due_by or at, places, each, limits, at)
        claimed_at = runtime.clock.monotonic()  # before the claim: the lease begins later
        runtime.limiter.reserved += places
        runtime.vitals.claim_since = runtime.loop.time()
        try:
            rows = list(await runtime.stored(lambda: runtime.store.claim(demand)))
        except Exception as error:  # noqa: BLE001 - a store may raise anything: it is asked again
            if self._failed is None:
                _log.error("the store failed at a claim; it is asked again", extra=without_secrets(error))
            self._failed = error
            self._failures += 1
            return 0
        finally:
            runtime.vitals.claim_since = None
            runtime.limiter.reserved -= places
            if runtime.limiter.asking:
                runtime.wakeups.wake_waiting()  # callers found these permits taken, and most of them may be free again
        if self._failed is not None:
            _log.warning("the store works again")  # at the level of the error that is over
        self._failed, self._failures = None, 0
        due = min((row.due_at for row in rows if row.due_at is not None), default=at)
        runtime.vitals.note_overdue(at - due, runtime.loop.time())
        taken = Counter(row.broker for row in rows)
        self._is_full = any(number >= limits.get(broker, each) for broker, number in taken.items())
        for row in rows:
            permit = runtime.limiter.enter(row.broker, runtime.clock.monotonic())
            LoginExchange(runtime, row, claimed_at, choose_due, permit).start()
        return len(rows)

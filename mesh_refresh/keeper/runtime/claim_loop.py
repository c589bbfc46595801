"""The loop: claims what is due, no more than there are places for."""

import logging
from collections import Counter
from datetime import datetime

from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.rules.schedule import chance_of
from mesh_refresh.keeper.runtime.exchange import Unit, loop_choice
from mesh_refresh.keeper.runtime.runtime import Core
from mesh_refresh.stores import Demand

_log = logging.getLogger("mesh_refresh.keeper")

_LONGEST_PAUSE = 10.0
"""Seconds between two claims at a store that fails. All workers of a fleet ask it, and it may be just starting."""

_WORTH_A_CLAIM = 0.005
"""Seconds to wait for more places than one: a claim costs the same for one row as for many."""


class Claims:
    """Claims and starts units."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._due_by: datetime | None = None
        """None: what is due when it is claimed."""
        self._places = 0
        self._claimed = 0
        self._is_full = False
        """A broker took all the places that it may."""
        self._failed: Exception | None = None
        self._failures = 0
        """Claims that failed, without one between that did not."""

    async def run(self) -> None:
        """Until the keeper is left, or this is cancelled."""
        core = self._core
        while not core.closing:
            seen = core.wakeups.changes
            try:
                await self._once()
            except Exception as error:  # noqa: BLE001 - a store or a clock of the user's: the fleet must not stand still
                _log.error("a claim failed in an unexpected way", extra=without_secrets(error))
                self._places = self._claimed = 0
                self._failures += 1
                core.failed_at = core.failed_at or core.clock.monotonic()
            more = 0 < self._places <= self._claimed
            if more and core.gate.free > 0:
                continue
            await core.change(self._pause(), since=seen)
            if self._is_full or (more and core.gate.free < core.policy.concurrency // 4):
                await core.change(_WORTH_A_CLAIM)

    async def all_due(self) -> int:
        """Exchange what is due at this moment, and give how many logins there were."""
        core, total, counted = self._core, 0, False
        self._due_by = core.at()
        while not core.closing:
            # A look while others took all the places has seen nothing, though they may be gone when it is over.
            busy, seen = bool(core.units), core.wakeups.changes
            rated = core.gate.rated(core.clock.monotonic())  # before the look: meanwhile one more may be allowed
            await self._once()
            if self._failed is not None:
                raise self._failed
            total += self._claimed
            if self._claimed:
                counted = False
                if core.gate.free > 0 and not self._is_full:
                    continue
            at_work = core.units or core.unread or core.undoing
            if not self._claimed and not at_work and not busy:
                if not rated or (not counted and not await self._is_any_due()):
                    break
                counted = True
            await core.change(self._pause(), since=seen)
        return total

    async def _is_any_due(self) -> bool:
        """Whether it is worth to wait for the rate: a claim without places does not tell what is due."""
        counts = await self._core.store.counts(self._due_by or self._core.at())
        return any(count.due for count in counts)

    def _pause(self) -> float:
        """How long to do nothing where nothing happens. With a bounded rate, no longer than until the next may go."""
        policy = self._core.policy
        rates = [rate for rate in (policy.rate, policy.rate_each) if rate is not None]
        usual = min(policy.poll.total_seconds(), *(max(0.01, 1 / rate) for rate in rates), 60.0)
        if self._failures < 2:
            return usual
        longest = max(usual, _LONGEST_PAUSE)
        backed_off = min(longest, policy.poll.total_seconds() * 2.0 ** min(self._failures - 1, 60))
        # Each worker at its own time.
        return max(usual, backed_off * (1 - chance_of(self._core.owner, self._failures) / 2))

    async def _once(self) -> None:
        """Claim as many as there are places for, and start what was claimed."""
        core = self._core
        self._claimed, self._places, self._is_full = 0, 0, False
        if not core.closing and not core.unread:
            # Between the store's word that rows are ours and their units there must be nothing that a shutdown can cut.
            await core.protect(self._claim())

    async def _claim(self) -> None:
        core = self._core
        core.remind()
        await self._notice_resumes()
        now = core.clock.monotonic()
        places, each, limits = core.gate.places(now)
        if places > 0:
            places = core.unopened.places(places, now)
        if places <= 0:
            return
        probing = None in core.gate.breakers.open
        turn = core.gate.breakers.rotated(limits) if probing else limits
        claimed = await self._rows(places, each, turn)
        if not claimed and probing:
            core.gate.breakers.forget_turns()
            claimed = await self._rows(places, each, limits)
        self._claimed, self._places = claimed, places

    async def _notice_resumes(self) -> None:
        core = self._core
        try:
            await core.notice_resumes()
        except Exception as error:  # noqa: BLE001 - a store may raise anything; the claim tells it
            _log.debug("the store did not tell who was resumed", extra=without_secrets(error))

    async def _rows(self, places: int, each: int, limits: dict[str, int]) -> int:
        core = self._core
        at = core.at()
        demand = Demand(core.owner, core.policy.lease, self._due_by or at, places, each, limits, at)
        claimed_at = core.clock.monotonic()  # before the claim: the lease cannot have begun earlier
        core.gate.reserved += places
        core.vitals.claim_since = core.loop.time()
        try:
            rows = list(await core.stored(lambda: core.store.claim(demand)))
        except Exception as error:  # noqa: BLE001 - whatever a store raises: it is asked again
            if self._failed is None:
                _log.error("the store failed at a claim; it is asked again", extra=without_secrets(error))
            self._failed = error
            self._failures += 1
            return 0
        finally:
            core.vitals.claim_since = None
            core.gate.reserved -= places
            if core.gate.asking:
                core.wakeups.wake_waiting()  # callers found those places taken, and most of them may be free again
        if self._failed is not None:
            _log.warning("the store works again")  # as loud as what is over
        self._failed, self._failures = None, 0
        due = min((row.due_at for row in rows if row.due_at is not None), default=at)
        core.vitals.note_overdue(at - due, core.loop.time())
        taken = Counter(row.broker for row in rows)
        self._is_full = any(number >= limits.get(broker, each) for broker, number in taken.items())
        for row in rows:
            place = core.gate.enter(row.broker, core.clock.monotonic())
            Unit(core, row, claimed_at, loop_choice, place).start()
        return len(rows)

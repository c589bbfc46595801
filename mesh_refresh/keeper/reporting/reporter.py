"""Writes a row about this process, and counts the fleet where this process has the duty to.

A report says what this process does, every `Policy.report_every`. One process of the fleet has the duty: it counts at
every fourth of these times at the most, and for at most a hundredth of the time.
See docs/decisions/the-contract-of-stores.md.
"""

import asyncio
import logging
import math
import os
import socket
from datetime import datetime, timedelta

from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.reporting.documents import (
    LastHour,
    Process,
    figures_of,
    open_figures,
    report_of,
    seal_figures,
)
from mesh_refresh.keeper.runtime.health import state_of
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.observing import ExchangeEnded, Figures, FleetCounted, Observation
from mesh_refresh.stores import Registry
from mesh_refresh.tasks import run_foreign
from mesh_refresh.version import VERSION

_log = logging.getLogger("mesh_refresh.keeper")

_PATIENCE = 15.0
"""Seconds that the store may take for a report."""
_DUTY = "figures"
_LEASE = timedelta(minutes=1)
"""Of the duty; it is renewed with each report, also while the fleet is being counted."""
_REPORTS, _SHARE = 4, 100
"""From one count to the next there are so many reports at the least, and so many times as long as it took."""
_LONGEST_COUNT = 600.0
"""Seconds after which a count is given up: the store hangs, and what was counted before is out of date."""
_KEPT = timedelta(days=1)
"""For how long the row of a process that has ended without deleting it is kept."""
_GOODBYE = 1.0
"""Seconds that the store may take with the end."""


def seconds_to_next(last: Figures, now: datetime, least: float) -> float:
    """How long to wait before the fleet may be counted again. A clock that was put back makes it no longer.

    `least`: the seconds between two counts at the least.
    """
    pause = max(least, last.seconds * _SHARE)
    return min(pause, pause - (now - last.at).total_seconds())


class Reporter:
    """What one keeper tells the other processes by `registry`."""

    def __init__(self, runtime: Runtime, registry: Registry, role: str) -> None:
        self._runtime, self._registry, self._role = runtime, registry, role
        self._hour = LastHour()
        self._host, self._pid, self._since = socket.gethostname(), os.getpid(), runtime.at()
        self._every = runtime.policy.report_every.total_seconds()
        self._task: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._has_duty = False
        self._next_count = math.inf
        """In seconds of the event loop's clock; infinite while another process has the duty."""

    def observe(self, told: Observation, /) -> None:
        """See `Observer`: exchanges are counted."""
        if isinstance(told, ExchangeEnded):
            self._hour.count(told, self._runtime.at())

    def start(self) -> None:
        """Begin to report and to count."""
        self._task = self._runtime.loop.create_task(self._run(), name="mesh_refresh reports")

    async def end(self) -> None:
        """Report no more, and let another process count. The row of this process goes. Raises nothing."""
        if self._counting is not None and not self._counting.done():
            self._has_duty = False  # no figures say that it began: the next process counts when the lease has run out
        tasks = [task for task in (self._task, self._counting) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await run_foreign(self._say_goodbye, timeout=_GOODBYE, again=False)
        except Exception as error:  # noqa: BLE001 - a store may raise anything; the row is deleted a day later
            _log.debug("the row of this process stays", extra=without_secrets(error))

    async def _say_goodbye(self) -> None:
        owner = self._runtime.owner
        await self._registry.delete_report(owner)
        if self._has_duty:
            await self._registry.release_duty(_DUTY, owner)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._report()
                    await self._keep_duty()
            except Exception as error:  # noqa: BLE001 - a store may raise anything, and what fails is logged elsewhere
                _log.debug("this process could not report itself", extra=without_secrets(error))
                self._forget_figures()
            await asyncio.sleep(self._every)

    def look(self) -> Process:
        """This process, as it is now."""
        runtime, now = self._runtime, self._runtime.at()
        return Process(
            runtime.owner,
            self._role,
            now,
            VERSION,
            state_of(runtime),
            self._hour.minutes(now),
            self._host,
            self._pid,
            self._since,
        )

    async def _report(self) -> None:
        await self._registry.put_report(report_of(self._runtime.store.cipher, self.look()))

    async def _keep_duty(self) -> None:
        runtime = self._runtime
        if not await self._registry.claim_duty(_DUTY, runtime.owner, _LEASE):
            self._has_duty, self._next_count = False, math.inf
            self._forget_figures()
            return
        if not self._has_duty:
            last = open_figures(runtime.store.cipher, await self._registry.figures())
            wait = 0.0 if last is None else seconds_to_next(last, runtime.at(), self._every * _REPORTS)
            self._has_duty, self._next_count = True, runtime.loop.time() + wait
        is_idle = self._counting is None or self._counting.done()
        if is_idle and not runtime.closing and runtime.loop.time() >= self._next_count:
            self._counting = runtime.loop.create_task(self._count(), name="mesh_refresh figures")

    async def _count(self) -> None:
        runtime, loop = self._runtime, self._runtime.loop
        begun = loop.time()
        try:
            async with asyncio.timeout(_LONGEST_COUNT):
                counts = await runtime.store.counts(runtime.at())
                due_by_hour = await runtime.store.due_by_hour(runtime.at())
                paused = await runtime.store.paused()
                outbox = runtime.store.outbox
                notices = None if outbox is None else await outbox.counts()
                took, at = loop.time() - begun, runtime.at()
                figures = figures_of(counts, paused, notices, at, took, due_by_hour=due_by_hour)
                await self._registry.put_figures(seal_figures(runtime.store.cipher, figures))
                runtime.tell(FleetCounted(runtime.owner, figures))
                await self._registry.purge_reports(runtime.at() - _KEPT)
        except Exception as error:  # noqa: BLE001 - a store may raise anything: it is counted again
            _log.debug("the fleet could not be counted", extra=without_secrets(error))
            self._forget_figures()
        finally:
            self._next_count = loop.time() + max(self._every * _REPORTS, (loop.time() - begun) * _SHARE)

    def _forget_figures(self) -> None:
        """What this process has counted is out of date."""
        self._runtime.tell(FleetCounted(self._runtime.owner, None))


def begin_reporting(runtime: Runtime, role: str | None) -> Reporter | None:
    """Begin to report what the keeper does. None: it has no `role`, or its store no registry."""
    registry = runtime.store.registry
    if role is None or registry is None:
        if role is not None:
            _log.info("the store has no registry: this process reports nothing, and does not count the fleet")
        return None
    reporter = Reporter(runtime, registry, role)
    runtime.watch_exchanges(reporter)
    reporter.start()
    return reporter

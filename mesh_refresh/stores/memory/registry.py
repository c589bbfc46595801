"""The registry of MemoryStore."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mesh_refresh.clock import Clock
from mesh_refresh.stores.memory.leases import MemoryLease, microseconds_of
from mesh_refresh.stores.registry import ProcessReport, Registry, StoredFigures


class MemoryRegistry(Registry):
    """In dictionaries."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reports: dict[str, ProcessReport] = {}
        self._duties: dict[str, MemoryLease] = {}
        self._figures: StoredFigures | None = None

    async def put_report(self, report: ProcessReport) -> None:
        """See `Registry`."""
        self._reports[report.process] = report

    async def reports(self) -> Sequence[ProcessReport]:
        """See `Registry`."""
        return [self._reports[process] for process in sorted(self._reports)]

    async def delete_report(self, process: str) -> bool:
        """See `Registry`."""
        return self._reports.pop(process, None) is not None

    async def purge_reports(self, before: datetime) -> int:
        """See `Registry`."""
        silent = [process for process, report in self._reports.items() if report.at < before]
        for process in silent:
            del self._reports[process]
        return len(silent)

    async def claim_duty(self, name: str, owner: str, lease: timedelta) -> bool:
        """See `Registry`."""
        duty, now = self._duties.setdefault(name, MemoryLease()), microseconds_of(self._clock)
        is_free = duty.owner == owner or not duty.is_taken(now)
        if is_free:
            duty.take(owner, lease, now)
        return is_free

    async def release_duty(self, name: str, owner: str) -> bool:
        """See `Registry`."""
        duty = self._duties.get(name)
        if duty is None or duty.owner != owner:
            return False
        duty.end()
        return True

    async def put_figures(self, figures: StoredFigures) -> None:
        """See `Registry`."""
        self._figures = figures

    async def figures(self) -> StoredFigures | None:
        """See `Registry`."""
        return self._figures

"""The registry of PostgresStore."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_text, check_time
from mesh_refresh.stores.postgres.jobs import Statements
from mesh_refresh.stores.postgres.values import moment, read, span, written
from mesh_refresh.stores.registry import ProcessReport, Registry, StoredFigures


class PostgresRegistry(Registry):
    """See `Registry`."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def put_report(self, report: ProcessReport) -> None:
        """See `Registry`."""
        check_text(report.process, report.role)
        check_time(report.at)
        values = (written(report.process), written(report.role), report.at, MaskedBytes(report.sealed))
        await self._statements.write("put_report", *values, key=("report", report.process))

    async def reports(self) -> Sequence[ProcessReport]:
        """See `Registry`."""
        found = await self._statements.look("reports")
        return [ProcessReport(read(process), read(role), moment(at), sealed) for process, role, at, sealed in found]

    async def delete_report(self, process: str) -> bool:
        """See `Registry`."""
        check_text(process)
        return bool(await self._statements.write("delete_report", written(process), key=("report", process)))

    async def purge_reports(self, before: datetime) -> int:
        """See `Registry`."""
        check_time(before)
        return len(await self._statements.write("purge_reports", before))

    async def claim_duty(self, name: str, owner: str, lease: timedelta) -> bool:
        """See `Registry`."""
        check_text(name, owner)
        return bool(
            await self._statements.write("claim_duty", written(name), written(owner), span(lease), key=("duty", name))
        )

    async def release_duty(self, name: str, owner: str) -> bool:
        """See `Registry`."""
        check_text(name, owner)
        return bool(await self._statements.write("release_duty", written(name), written(owner), key=("duty", name)))

    async def put_figures(self, figures: StoredFigures) -> None:
        """See `Registry`."""
        check_time(figures.at)
        await self._statements.write("put_figures", figures.at, MaskedBytes(figures.sealed), key="figures")

    async def figures(self) -> StoredFigures | None:
        """See `Registry`."""
        return next((StoredFigures(moment(at), sealed) for at, sealed in await self._statements.look("figures")), None)

"""The registry of a store that keeps its rows by SQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import astuple

from mesh_refresh.stores.registry import ProcessReport, Registry, StoredFigures
from mesh_refresh.stores.sql.statements import SqlStatements


class SqlRegistry(Registry):
    """See `Registry`."""

    def __init__(self, statements: SqlStatements) -> None:
        self._statements = statements

    async def put_report(self, report: ProcessReport) -> None:
        """See `Registry`."""
        await self._statements.write("put_report", *astuple(report), key=("report", report.process))

    async def reports(self) -> Sequence[ProcessReport]:
        """See `Registry`."""
        return [ProcessReport(*columns) for columns in await self._statements.look("reports")]

    async def delete_report(self, process: str) -> bool:
        """See `Registry`."""
        return await self._statements.write("delete_report", process, key=("report", process)) == 1

    async def purge_reports(self, before: datetime) -> int:
        """See `Registry`."""
        return await self._statements.write("purge_reports", before)

    async def claim_duty(self, name: str, owner: str, lease: timedelta) -> bool:
        """See `Registry`."""
        return await self._statements.write("claim_duty", name, owner, lease, key=("duty", name)) == 1

    async def release_duty(self, name: str, owner: str) -> bool:
        """See `Registry`."""
        return await self._statements.write("release_duty", name, owner, key=("duty", name)) == 1

    async def put_figures(self, figures: StoredFigures) -> None:
        """See `Registry`."""
        await self._statements.write("put_figures", *astuple(figures), key="figures")

    async def figures(self) -> StoredFigures | None:
        """See `Registry`."""
        return next((StoredFigures(*columns) for columns in await self._statements.look("figures")), None)

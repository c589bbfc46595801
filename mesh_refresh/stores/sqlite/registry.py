"""The registry of SqliteStore."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_text
from mesh_refresh.stores.registry import ProcessReport, Registry, StoredFigures
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.queries import queries
from mesh_refresh.stores.sqlite.statements import RunVerb, SqliteStatements
from mesh_refresh.stores.sqlite.values import microseconds, moment

_SQL = queries("registry.sql")


class SqliteRegistry(Registry):
    """See `Registry`."""

    def __init__(self, run: RunVerb) -> None:
        self._run = run
        self._statements = SqliteStatements(run, _SQL)

    async def put_report(self, report: ProcessReport) -> None:
        """See `Registry`."""
        check_text(report.process, report.role)
        await self._statements.write(
            "put_report", report.process, report.role, microseconds(report.at), MaskedBytes(report.sealed)
        )

    async def reports(self) -> Sequence[ProcessReport]:
        """See `Registry`."""
        found = await self._statements.look("reports")
        return [ProcessReport(process, role, moment(at), sealed) for process, role, at, sealed in found]

    async def delete_report(self, process: str) -> bool:
        """See `Registry`."""
        check_text(process)
        return await self._statements.write("delete_report", process) == 1

    async def purge_reports(self, before: datetime) -> int:
        """See `Registry`."""
        return await self._statements.write("purge_reports", microseconds(before))

    async def claim_duty(self, name: str, owner: str, lease: timedelta) -> bool:
        """See `Registry`."""
        check_text(name, owner)

        def work(session: SqliteSession) -> bool:
            length = session.clock.lease(lease, session.clock.now())
            values = {"boot": length.boot, "since": length.since, "until": length.until}
            return (
                session.connection.execute(_SQL["claim_duty"], {"name": name, "owner": owner, **values}).rowcount == 1
            )

        return await self._run(work, writes=True)

    async def release_duty(self, name: str, owner: str) -> bool:
        """See `Registry`."""
        check_text(name, owner)
        return await self._statements.write("release_duty", name, owner) == 1

    async def put_figures(self, figures: StoredFigures) -> None:
        """See `Registry`."""
        await self._statements.write("put_figures", microseconds(figures.at), MaskedBytes(figures.sealed))

    async def figures(self) -> StoredFigures | None:
        """See `Registry`."""
        return next((StoredFigures(moment(at), sealed) for at, sealed in await self._statements.look("figures")), None)

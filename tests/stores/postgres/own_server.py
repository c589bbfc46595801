"""A server of a test's own, which it may stop, and which asks for passwords."""

from pathlib import Path
from urllib.parse import urlsplit

from tests.postgres_server import made_server

ASKS_FOR_PASSWORDS = "local all postgres trust\nlocal all all scram-sha-256\n"


class OwnServer:
    """A PostgreSQL that runs."""

    def __init__(self, folder: Path) -> None:
        self._server = made_server(folder, cleanup_mode="delete")
        self._server.ensure_pgdata_inited()
        (folder / "pg_hba.conf").write_text(ASKS_FOR_PASSWORDS)
        with (folder / "postgresql.conf").open("a") as settings:
            settings.write("max_connections = 12\nsuperuser_reserved_connections = 3\nfsync = on\n")
        self._server.start()

    @property
    def url(self) -> str:
        """For its administrator, who needs no password."""
        return str(self._server.get_uri())

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(self._server.pgdata)

    def url_of(self, role: str, password: str, database: str = "postgres") -> str:
        """For somebody else."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=f"{role}:{password}@", path=f"/{database}").geturl()

    def stop(self) -> None:
        """End every connection, and take no more."""
        self._server.stop()

    def start(self) -> None:
        """As it was stopped."""
        with self._server._lock:  # noqa: SLF001 - as its library does where it starts one
            self._server.ensure_postgres_running()

    def end(self) -> None:
        """Stopped, and removed."""
        self._server.cleanup()

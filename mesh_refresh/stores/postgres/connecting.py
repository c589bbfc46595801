"""Where the database is, and a connection to it that loses nothing."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import field, frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr, masked
from mesh_refresh.stores.checks import check_text
from mesh_refresh.stores.errors import StoreRefused, package_missing
from mesh_refresh.stores.postgres.wishes import refusal

OLDEST = 140_000
"""PostgreSQL 14, as ``server_version_num`` says it."""
PATIENCE = timedelta(seconds=10)
"""How long a connection or an answer may take, where nothing else is said."""
_SETTINGS = {"application_name": "mesh_refresh", "default_transaction_isolation": "read committed", "jit": "off"}
_SCHEMES = ("postgresql://", "postgres://")
_OURS = ("schema", "transaction_pooling")
_HOST = re.compile(r"(\[[\w:.%]+\]|[^:\[\]]*)(:(?P<port>\d{1,5}))?")
_YES, _NO = ("1", "on", "true", "yes"), ("0", "off", "false", "no")


@frozen
class Target:
    """A database, and how to talk to it."""

    url: str = field(repr=masked)
    """For asyncpg; with the password in it."""
    shown: str
    """Where it is, without anything secret."""
    schema: str
    pooled: bool
    """A transaction-pooling proxy stands before it: nothing outlives a transaction."""
    patience: timedelta
    """How long to wait for a connection or an answer."""


def target(url: object, schema: str | None, patience: object, *, pooled: bool | None) -> Target:
    """What `url` and the options say. Raises `InvalidRequest` for what is no URL of PostgreSQL, without showing it."""
    if not isinstance(patience, timedelta) or patience <= timedelta():
        raise InvalidRequest("timeout must be a timedelta above zero.")
    address = _address(url)
    del url  # a traceback may be rendered with its locals
    if address is None:
        raise InvalidRequest(
            "PostgresStore takes a URL such as postgresql://user:password@host:5432/database. "
            "Percent-encode what is special in the password: @ as %40, / as %2F, ? as %3F, # as %23."
        )
    schema = address.options.get("schema", "mesh_refresh") if schema is None else schema
    check_schema(schema)
    if pooled is None:
        pooled = _flag(address.options.get("transaction_pooling", "no"))
    return Target(address.url, f"{address.place} (schema {schema})", schema, pooled, patience)


def check_schema(schema: object) -> None:
    """Raises `InvalidRequest` for what cannot be the name of a schema."""
    if not isinstance(schema, str) or not 0 < len(schema.encode(errors="replace")) <= 63 or "\0" in schema:
        raise InvalidRequest("The schema must be a name of 1 to 63 bytes.")
    check_text(schema)
    if schema.startswith("pg_"):
        raise InvalidRequest("The schema must not begin with pg_: those are PostgreSQL's own.")
    if {"{", "}"} & set(schema):
        raise InvalidRequest(
            "The schema must not have braces in its name."
        )  # the statements say with them what is filled in


@frozen
class _Address:
    url: str = field(repr=masked)
    """For asyncpg."""
    place: str
    """The hosts and the database."""
    options: Mapping[str, str]
    """Those of ours."""


_NO_ANSWER = "SELECT set_config('tcp_user_timeout', '30s', FALSE) WHERE current_setting('tcp_user_timeout') = '0'"
"""A server that gets no answer from a worker, of which the network is gone, would keep the rows of its claim locked for
as long as the system tries to send: a quarter of an hour."""


async def connect(to: Target) -> Any:
    """A connection of asyncpg's. Raises what asyncpg raises, `StoreRefused` and `InvalidRequest`."""
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
            command_timeout=seconds,
            statement_cache_size=0 if to.pooled else 100,
            server_settings={} if to.pooled else _SETTINGS,
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


async def _check(connection: Any, to: Target) -> None:
    """What is written is on the disk when it is committed, and texts are what they were."""
    async with connection.transaction():
        version, encoding, commits, syncs = await connection.fetchrow(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), "
            "current_setting('synchronous_commit'), current_setting('fsync')"
        )
    if version < OLDEST:
        raise StoreRefused(f"The store {to.shown} needs PostgreSQL {OLDEST // 10_000} or newer.")
    if encoding != "UTF8":
        raise StoreRefused(
            f"The store {to.shown} needs a database with the encoding UTF8: "
            "make one by CREATE DATABASE ... WITH ENCODING 'UTF8' TEMPLATE template0."
        )
    if syncs == "off":
        raise StoreRefused(f"The store {to.shown} could lose what was written: its server runs with fsync=off.")
    if commits == "off":
        if to.pooled:
            raise StoreRefused(
                f"The store {to.shown} could lose what was written: synchronous_commit is off. "
                "Set it on for this role: ALTER ROLE ... SET synchronous_commit = on."
            )
        await connection.execute("SET synchronous_commit = on")
    if not to.pooled:
        with suppress(Exception):  # not every system can
            await connection.execute(_NO_ANSWER)


def _address(url: object) -> _Address | None:
    """None for what is no URL of PostgreSQL, or may be read in two ways: part of a password would pass for a host."""
    if not isinstance(url, str) or not url.startswith(_SCHEMES):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    hosts = parts.netloc.rpartition("@")[2]
    asked = parse_qsl(parts.query, keep_blank_values=True)
    if (
        not all(map(_is_host, hosts.split(",")))
        or parts.netloc.count("@") > 1
        or "@" in parts.path
        or not all(name.isidentifier() for name, _ in asked)
        or parts.fragment
    ):
        return None
    ours = {name: value for name, value in asked if name in _OURS}
    left = urlencode([pair for pair in asked if pair[0] not in _OURS])
    place = (hosts or dict(asked).get("host", "localhost")) + parts.path
    return _Address(MaskedStr(parts._replace(query=left).geturl()), place, ours)


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found["port"] or 0) < 65_536


def _flag(text: str) -> bool:
    if text.lower() in _YES or text.lower() in _NO:
        return text.lower() in _YES
    raise InvalidRequest("transaction_pooling in the URL of a store must be yes or no.")

"""The rows about PostgreSQL: claims and settles against hand-written SQL, and workers in one to four processes.

The server is a real one, from a wheel or the one that ``MESH_REFRESH_TEST_POSTGRES`` names, beside the load on the
same machine: on a core of its own for claims and settles, on all of them for workers. What is compared runs in turns.
"""

import asyncio
import gc
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from mesh_refresh.stores import Cipher, ClaimRequest, Page, PlainText, Row
from mesh_refresh.stores.postgres import PostgresStore
from tests.benchmarks.cores import cores, pin
from tests.benchmarks.figures import ratios, spread
from tests.benchmarks.grown_fleet import insert
from tests.benchmarks.report import How, Report, Target, at_least, at_most, shown, target_table
from tests.benchmarks.serving import answering
from tests.postgres_server import server_url
from tests.stores.postgres import at_scale
from tests.stores.postgres.postgres_handles import OpenPostgres

DELAY = timedelta(milliseconds=200)
_LEASE = timedelta(minutes=1)
_FAR = datetime(2200, 1, 1, tzinfo=UTC)
_SEALED = b"s" * 400
_BATCH = 200

Exchange = Callable[[], Awaitable[None]]

# SQL by hand, on the store's own table: the same columns, revisions and leases, and nothing around it. It knows of one
# broker and of no limits, pauses or clocks that were put back, and is told of no other caller.
_CLAIM = """
UPDATE {schema}.login AS login
SET revision = login.revision + 1, attempt = login.attempt + 1, owner = $3, until = clock_timestamp() + $4
FROM (
    SELECT login_id FROM {schema}.login
    WHERE broker = 'coinbase' AND due_at <= $1 AND (until IS NULL OR until <= clock_timestamp())
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
) AS due
WHERE login.login_id = due.login_id
RETURNING login.login_id, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
"""
_SETTLE = """
UPDATE {schema}.login AS login
SET state = new.state, due_at = new.due_at, expires_at = new.expires_at, changed_at = new.changed_at,
    revision = login.revision + 1, sealed = new.sealed, owner = NULL, until = NULL
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::bigint[],
    $8::bytea[]) AS new (login_id, states, due_at, expires_at, changed_at, epoch, revision, sealed)
WHERE login.login_id = new.login_id AND login.epoch = new.epoch AND login.revision = new.revision AND login.owner = $9
"""

# The least that somebody writes in an hour: one index, and nothing that tells whose lease it is, or what came since.
_BARE = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.account (
    id text PRIMARY KEY, due_at timestamptz NOT NULL, leased_until timestamptz, sealed bytea NOT NULL
);
CREATE INDEX ON {schema}.account (due_at);
INSERT INTO {schema}.account
SELECT 'login-' || number, '2026-01-01'::timestamptz + number * interval '1 ms', NULL,
    convert_to(repeat('s', 400), 'UTF8')
FROM generate_series(1, {many}) AS number;
"""
_BARE_CLAIM = """
UPDATE {schema}.account SET leased_until = now() + interval '1 minute'
WHERE id IN (
    SELECT id FROM {schema}.account
    WHERE due_at <= $1 AND (leased_until IS NULL OR leased_until < now())
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING id, sealed
"""
_BARE_SETTLE = """
UPDATE {schema}.account SET due_at = new.due_at, sealed = new.sealed, leased_until = NULL
FROM unnest($1::text[], $2::timestamptz[], $3::bytea[]) AS new (id, due_at, sealed)
WHERE account.id = new.id
"""


def _schema() -> str:
    return f"benchmark_{secrets.token_hex(4)}"


@asynccontextmanager
async def _store(url: str, cipher: Any = None) -> AsyncIterator[OpenPostgres]:
    """An empty one, gone afterwards."""
    schema = _schema()
    async with OpenPostgres.open(url, cipher=cipher or PlainText(), schema=schema, migrate=True) as store:
        yield store
    await _execute(url, f"DROP SCHEMA {schema} CASCADE")


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


# Claims and settles.


async def by_hand(connection: Any, store: OpenPostgres, rounds: int, exchange: Exchange | None = None) -> float:
    """Logins a second, in the store's own table; `exchange` comes between, in a task for each login."""
    claim, settle = (text.format(schema=store.schema) for text in (_CLAIM, _SETTLE))
    done, begun = 0, time.perf_counter()
    for _ in range(rounds):
        found = await connection.fetch(claim, _FAR, _BATCH, "benchmark", _LEASE)
        if exchange is not None:
            await asyncio.gather(*(exchange() for _ in found))
        now = datetime.now(UTC)
        later = [now + timedelta(days=1)] * len(found)
        names, states, epochs = ([it[name] for it in found] for name in ("login_id", "states", "epoch"))
        ends, revisions = ([it[name] for it in found] for name in ("expires_at", "revision"))
        changed, sealed = [now] * len(found), [_SEALED] * len(found)
        await connection.execute(settle, names, states, later, ends, changed, epochs, revisions, sealed, "benchmark")
        done += len(found)
    return done / (time.perf_counter() - begun)


async def nothing() -> None:
    """An exchange that takes no time: a fleet's logins are refreshed beside one another, whoever keeps them."""
    await asyncio.sleep(0)


async def barely(connection: Any, schema: str, rounds: int) -> float:
    """Logins a second, in a table with one index."""
    claim, settle = (text.format(schema=schema) for text in (_BARE_CLAIM, _BARE_SETTLE))
    done, begun = 0, time.perf_counter()
    for _ in range(rounds):
        found = await connection.fetch(claim, _FAR, _BATCH)
        later = datetime.now(UTC) + timedelta(days=1)
        await connection.execute(settle, [it["id"] for it in found], [later] * len(found), [_SEALED] * len(found))
        done += len(found)
    return done / (time.perf_counter() - begun)


async def by_store(store: PostgresStore, rounds: int) -> float:
    """Logins a second. Each is settled by the task that had its exchange, and what comes of that is told there."""
    done, begun = 0, time.perf_counter()
    for _ in range(rounds):
        rows = await store.claim(ClaimRequest("benchmark", _LEASE, _FAR, _BATCH))
        now = datetime.now(UTC)
        settled = await asyncio.gather(*(_settle(store, row, now, now + timedelta(days=1)) for row in rows))
        assert all(settled)
        done += len(rows)
    return done / (time.perf_counter() - begun)


async def _settle(store: PostgresStore, row: Row, now: datetime, later: datetime) -> bool:
    await nothing()
    new = Row(row.login_id, row.broker, row.states, later, row.expires_at, now, _SEALED, row.epoch, row.revision)
    return await store.swap(new, owner="benchmark")


async def claims_and_settles(url: str, *, many: int, rounds: int, batches: int) -> list[Target]:
    """A claim of 200, and a settle of each of them, in one process."""
    schema = _schema()
    await _execute(url, _BARE.format(schema=schema, many=many))
    connection = await asyncpg.connect(url)
    async with _store(url) as store:
        rows = [_row(number) for number in range(many)]
        for start in range(0, many, 5_000):
            await asyncio.gather(*(store.insert(row) for row in rows[start : start + 5_000]))
        del rows
        await connection.execute("VACUUM ANALYZE")
        ours: list[float] = []
        with_tasks: list[float] = []
        alone: list[float] = []
        bare: list[float] = []
        for _ in range(rounds):
            gc.collect()
            bare.append(await barely(connection, schema, batches))
            alone.append(await by_hand(connection, store, batches))
            with_tasks.append(await by_hand(connection, store, batches, nothing))
            ours.append(await by_store(store, batches))
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()
    what = f"claim + settle, PostgreSQL, {many:,} logins"
    return [
        at_least(what, 11_000, spread(ours), digits=0, unit="/s"),
        at_least(f"{what}, x SQL by hand on the same table, a task for each login", 0.8, ratios(ours, with_tasks)),
        shown(f"{what}, x the same SQL, nothing between", ratios(ours, alone)),
        shown(f"{what}, x SQL on a table with one index, nothing between", ratios(ours, bare)),
    ]


def _row(number: int) -> Row:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    due_at = begun + number * timedelta(milliseconds=1)
    return Row(f"login-{number}", "coinbase", frozenset({"active"}), due_at, due_at, begun, _SEALED, f"{number:032x}")


async def _keep_server(url: str, *wanted: int) -> None:
    """Let it run on these cores, with all that it starts from now on; one on another machine stays where it is."""
    connection = await asyncpg.connect(url)
    data = Path(await connection.fetchval("SHOW data_directory"))
    await connection.close()
    for process in await asyncio.to_thread(_processes, data):
        pin(*wanted, process=process)


def _processes(data: Path) -> list[int]:
    if not (pid_file := data / "postmaster.pid").exists():
        return []
    server = int(pid_file.read_text().split()[0])
    children = Path(f"/proc/{server}/task/{server}/children")
    return [server, *map(int, children.read_text().split() if children.exists() else ())]


async def beside_a_snapshot(url: str, rows: int, settles: int) -> Target:
    """A claim while another program has looked at the database since so many settles."""
    begun = datetime.now(UTC)
    async with at_scale.filled(url, rows, begun) as fleet:
        held = await at_scale.beside_a_snapshot(fleet, rows, settles, begun)
    what = f"one claim, PostgreSQL, {rows:,} logins, beside a snapshot held for {settles:,} settles, x before"
    return at_most(what, 2, spread([held.after / held.before]))


# Workers.


async def workers(url: str, base_url: str, *, seconds: int, rounds: int) -> list[Target]:
    """Refreshes a second of four processes against those of one, 25 in flight in each."""
    cipher_key = Cipher.generate_key()
    alone: list[float] = []
    together: list[float] = []
    twice = 0
    for _ in range(rounds):
        for processes, speeds in ((1, alone), (4, together)):
            many = int(processes * seconds * 25 / DELAY.total_seconds())
            async with _store(url, Cipher([cipher_key])) as store:
                await insert(store, range(many), due=True)
                speeds.append(many / await _work(url, base_url, store, cipher_key, processes))
                rows = await store.rows(Page(many + 1))
                assert len(rows) == many
                twice += sum(row.attempt != 1 for row in rows)
    what = "keepers on PostgreSQL, 200 ms"
    return [
        at_least(f"{what}, 4 processes, x 1 process, refreshes/s", 3.6, ratios(together, alone)),
        Target(f"{what}, logins refreshed twice", "0", str(twice), twice == 0),
    ]


async def _work(url: str, base_url: str, store: PostgresStore, key: str, processes: int) -> float:
    """Seconds that so many workers take together for all that is due."""
    schema = repr(store).rpartition("schema ")[2].rstrip(")>")
    command = [sys.executable, "-m", "tests.benchmarks.postgres_worker", url, schema, base_url]
    pipe = subprocess.PIPE
    started = [
        await asyncio.to_thread(subprocess.Popen, command, stdin=pipe, stdout=pipe, text=True) for _ in range(processes)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(f"{key}\n")
        process.stdin.flush()
    for process in started:
        await asyncio.to_thread(_said, process, "ready")
    begun = time.perf_counter()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        await asyncio.to_thread(_said, process, "done")
    taken = time.perf_counter() - begun
    for process in started:
        process.communicate(timeout=60)
    return taken


def _said(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == f"{word}\n", line


def section(how: How) -> Report:
    """The rows of the keeper on PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder, answering(how.server_core, DELAY) as base_url:
        found = asyncio.run(_targets(server_url(Path(folder) / "postgres"), base_url, how))
        return Report([target_table(found)], found)


async def _targets(url: str, base_url: str, how: How) -> list[Target]:
    many, rounds, batches = (20_000, 9, 10) if how.quick else (200_000, 9, 40)
    all_cores = cores()
    pin(how.client_core)
    await _keep_server(url, how.server_core)
    claimed = await claims_and_settles(url, many=many, rounds=rounds, batches=batches)
    pin(*all_cores)
    await _keep_server(url, *all_cores)
    rows, settles = (20_000, 2_000) if how.quick else (1_000_000, 100_000)
    held = await beside_a_snapshot(url, rows, settles)
    return [*claimed, held] + await workers(url, base_url, seconds=3 if how.quick else 8, rounds=1 if how.quick else 5)

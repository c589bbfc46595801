"""The section on moving a fleet: `import` of Link's payloads into SQLite, and `copy` from there to PostgreSQL.

Beside each, in turns, runs the least that is written by hand: the same logins, sealed and in one table, with no look at
what is there already and no step that may be interrupted.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import asyncpg
import orjson
from attrs import frozen

from mesh_refresh import Tokens
from mesh_refresh.cli.fleet.logins.import_logins import import_logins
from mesh_refresh.keeper import copy_fleet
from mesh_refresh.stores import Page
from mesh_refresh.stores.postgres import PostgresStore
from tests.benchmarks.cores import apart
from tests.benchmarks.figures import ratios, spread
from tests.benchmarks.grown_fleet import Fleet, name_of
from tests.benchmarks.hand_keeper import Box, Table
from tests.benchmarks.report import How, Report, Target, at_least, shown, target_table
from tests.postgres_server import server_url

_AT_A_TIME = 500
_BARE = "CREATE SCHEMA {0}; CREATE TABLE {0}.login (id text PRIMARY KEY, due_at timestamptz, sealed bytea NOT NULL)"


@frozen
class Round:
    """Logins a second."""

    imported: float
    imported_by_hand: float
    copied: float
    copied_by_hand: float


def section(how: How) -> Report:
    """The rows of `import` and `copy`."""
    many, rounds = (2_000, 3) if how.quick else (200_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        url = server_url(Path(folder) / "postgres")
        found = [apart(one_round, how.disk / f"moved-{number}", how.key, url, many) for number in range(rounds)]
    targets = list(_targets(found, many))
    return Report([target_table(targets)], targets)


def _targets(found: Sequence[Round], many: int) -> list[Target]:
    imported, copied = [each.imported for each in found], [each.copied for each in found]
    what = f"import of {many:,} payloads into SQLite"
    other = f"copy of {many:,} logins from SQLite to PostgreSQL"
    return [
        at_least(what, 10_000, spread(imported), digits=0, unit="/s"),
        shown(f"{what}, x the least by hand", ratios(imported, [each.imported_by_hand for each in found])),
        at_least(other, 3_000, spread(copied), digits=0, unit="/s"),
        shown(f"{other}, x the least by hand", ratios(copied, [each.copied_by_hand for each in found])),
    ]


def one_round(folder: Path, key: str, url: str, many: int) -> Round:
    """All of it once, in this process."""
    folder.mkdir()
    lines, store = folder / "payloads.jsonl", folder / "fleet.db"
    write_payloads(lines, many)
    begun = time.perf_counter()
    with patch.dict("os.environ", MESH_REFRESH_KEYS=key):
        import_logins.main([str(lines), "--store", str(store), "--quiet"], standalone_mode=False)
    imported = time.perf_counter() - begun
    by_hand, copied, copied_by_hand = asyncio.run(_others(folder, Fleet(store, key, many), url))
    return Round(many / imported, many / by_hand, many / copied, many / copied_by_hand)


def write_payloads(path: Path, many: int) -> None:
    """A line for each of so many logins, for ``mesh-refresh import``."""
    path.touch(mode=0o600)
    with path.open("wb") as file:
        for number in range(many):
            account = {
                "account": {"accountId": f"account-{number}", "accountName": "Spot", "fund": 1.5, "cash": 2.5},
                "accessToken": f"benchmark-access-{number}-" + "a" * 300,
                "refreshToken": f"benchmark-refresh-{number}-" + "r" * 40,
            }
            payload = {"accountTokens": [account], "brokerType": "coinbase", "expiresInSeconds": 2_592_000}
            line = {"login": name_of(number), "obtained_at": datetime.now(UTC), "payload": payload}
            file.write(orjson.dumps(line) + b"\n")


async def _others(folder: Path, fleet: Fleet, url: str) -> tuple[float, float, float]:
    """Seconds for the import by hand, the copy, and the copy by hand."""
    begun = time.perf_counter()
    await _import_by_hand(folder)
    by_hand = time.perf_counter() - begun
    schema, bare = (f"benchmark_{secrets.token_hex(4)}" for _ in range(2))
    connection = await asyncpg.connect(url)
    await connection.execute(_BARE.format(bare))
    async with fleet.opened() as source:
        target = PostgresStore.open(url, cipher=source.cipher, schema=schema, migrate=True)
        begun = time.perf_counter()
        page = Page(_AT_A_TIME)
        while rows := await source.rows(page):
            values = [(row.login_id, row.due_at, row.sealed) for row in rows]
            await connection.copy_records_to_table("login", records=values, schema_name=bare)
            page = Page(_AT_A_TIME, after=rows[-1].login_id)
        copied_by_hand = time.perf_counter() - begun
        async with target:
            begun = time.perf_counter()
            done = await copy_fleet(source, target)
            copied = time.perf_counter() - begun
    assert done.moved == fleet.size, done
    await connection.execute(f"DROP SCHEMA {schema} CASCADE; DROP SCHEMA {bare} CASCADE")
    await connection.close()
    return by_hand, copied, copied_by_hand


async def _import_by_hand(folder: Path) -> None:
    """Parse, seal, insert in groups: tokens are made by hand too, with what the payload is known to have."""
    box, table = Box(), Table(folder / "by-hand.db")
    await table.fill([])
    with (folder / "payloads.jsonl").open("rb") as file:
        rows: list[tuple[str, float, bytes]] = []
        for text in file:
            line = orjson.loads(text)
            (entry,) = line["payload"]["accountTokens"]
            tokens = Tokens(
                line["payload"]["brokerType"],
                entry["refreshToken"],
                access_token=entry["accessToken"],
                account_id=entry["account"]["accountId"],
            )
            rows.append((line["login"], 0.0, box.seal(line["login"], tokens)))
            if len(rows) == _AT_A_TIME:
                await table.insert(rows)
                rows = []
    await table.insert(rows)
    await table.aclose()

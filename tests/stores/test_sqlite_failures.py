"""What can be wrong with the file: each gives an error that says which and what to do, and loses nothing."""

# ruff: noqa: ASYNC240 - nobody else is held up in a test's loop

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from mesh_refresh.stores import Page, PlainText, StoreDamaged, StoreRefused, StoreUnavailable
from mesh_refresh.stores.registry import ProcessReport, StoredFigures
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_row, fill, kept, take
from tests.stores.sqlite_files import a_store
from tests.stores.stopping import Opened

pytestmark = pytest.mark.once

_NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are for one user alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def refused(path: Path, error: type[Exception], text: str) -> None:
    """Opening raises that error when it is entered, and leaves the file as it is."""
    before = path.read_bytes() if path.is_file() else None
    store = a_store(path)
    with pytest.raises(error, match=text):
        _ = await store
    with pytest.raises(error, match=text):
        async with a_store(path):
            pytest.fail("it was opened")
    assert before is None or path.read_bytes() == before


async def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """`StoreDamaged`."""
    (tmp_path / "fleet.db").write_bytes(b"something else\n" * 1_000)
    await refused(tmp_path / "fleet.db", StoreDamaged, "not a database")


async def test_an_emptied_file_with_a_log_beside_it_is_left_alone(tmp_path: Path) -> None:
    """SQLite would take it for a new one, and throw away what the log has."""
    (tmp_path / "fleet.db").touch()
    (tmp_path / "fleet.db-wal").write_bytes(b"log")
    await refused(tmp_path / "fleet.db", StoreDamaged, "fleet.db-wal")
    assert (tmp_path / "fleet.db-wal").read_bytes() == b"log"


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """As SQLite itself takes it."""
    (tmp_path / "fleet.db").touch()
    async with a_store(tmp_path / "fleet.db") as store:
        await fill(store, a_row())


async def test_malformed_pages_are_told(path: Path) -> None:
    """`StoreDamaged` for what touches them, and the thread goes on."""
    async with a_store(path) as store:
        await fill(store, *(a_row(str(number), sealed=b"x" * 3_000) for number in range(50)))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)

    async def use() -> None:
        async with a_store(path) as store:
            await store.read("1")

    with pytest.raises(StoreDamaged, match="malformed"):
        await use()


async def test_a_store_that_lacks_its_tables_is_told(path: Path) -> None:
    """`StoreDamaged`, and nothing of SQLite's own message."""
    async with a_store(path) as store:
        await store.execute("DROP TABLE login")
        for verb in (store.read("a"), store.insert(a_row()), store.rows(Page(1)), store.counts(NOW)):
            with pytest.raises(StoreDamaged, match="lacks tables"):
                await verb


@pytest.mark.parametrize(
    "change",
    [
        "due_at = '2026-11-29'",
        "due_at = 9000000000000000000",
        "expires_at = x'00'",
        "changed_at = 'now'",
        "changed_at = NULL",
        "epoch = x'00'",
        "login_id = x'00'",
        "broker = x'00'",
        "revision = 'x'",
        "revision = 9223372036854775807",
        "attempt = 1.5",
        "attempt = 9223372036854775807",
        "until = 'x'",
        "since = 'x'",
        "sealed = 'text'",
    ],
)
async def test_a_value_that_would_stop_every_claim_is_refused_where_it_is_written(path: Path, change: str) -> None:
    """A person who helps with SQL writes a time as text, say."""
    with closing(sqlite3.connect(path)) as hand:
        with pytest.raises(sqlite3.IntegrityError):
            hand.execute(f"UPDATE login SET {change}")  # noqa: S608 - the test's own
        hand.execute("UPDATE login SET due_at = NULL, expires_at = -1, until = 5, since = 4")


@pytest.mark.parametrize(
    "change",
    [
        "pause SET at = 9000000000000000000",
        "resumed SET at = 'now'",
        "report SET at = 1e300",
        "report SET sealed = 'text'",
        "figures SET at = x'00'",
        "figures SET sealed = 5",
        "seal SET sealed = 'text'",
    ],
)
async def test_what_keepers_ask_for_beside_logins_is_of_its_type_too(path: Path, change: str) -> None:
    """Else every exchange, which looks for pauses, would fail, or the page of the fleet."""
    async with a_store(path) as store:
        await store.pause("kraken")
        await store.pause("etoro", paused=False)
        await store.registry.put_report(ProcessReport("worker-1", "worker", NOW, b"sealed"))
        await store.registry.put_figures(StoredFigures(NOW, b"sealed"))
    with closing(sqlite3.connect(path)) as hand, pytest.raises(sqlite3.IntegrityError):
        hand.execute(f"UPDATE {change}")


async def test_text_that_is_not_unicode_is_told(path: Path) -> None:
    """`StoreDamaged`."""
    with closing(sqlite3.connect(path)) as hand, hand:
        hand.execute("UPDATE login SET states = CAST(x'C328' AS TEXT)")
    async with a_store(path) as store:
        with pytest.raises(StoreDamaged, match="holds a text that is not in Unicode"):
            await store.rows(Page(1))


async def test_any_patience_will_do(path: Path) -> None:
    """SQLite has room for 24 days; more would be none at all."""
    for patience in (timedelta.max, timedelta(days=30), timedelta(0)):
        async with Opened.open(path, cipher=PlainText(), busy_timeout=patience) as store:
            assert await store.execute("PRAGMA busy_timeout") == [(2**31 - 1 if patience else 0,)]


@pytest.mark.parametrize("name", ["missing/fleet.db", "file/fleet.db", ""])
async def test_where_no_file_can_be_is_told(tmp_path: Path, name: str) -> None:
    """`StoreRefused` for a folder that is missing, a file in its place, and a folder in the file's."""
    (tmp_path / "file").touch()
    await refused(tmp_path / name, StoreRefused, "cannot be opened")


async def test_a_locked_file_is_told_and_works_again(path: Path) -> None:
    """Writes fail after the patience, all that wait together after one; reads go on, and nothing is lost."""
    async with a_store(path) as store:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        verbs: list[Any] = [store.insert(a_row(str(number))) for number in range(1_000)]
        found = await asyncio.wait_for(asyncio.gather(*verbs, store.read("a"), return_exceptions=True), 40)
        assert found.pop() == a_row(sealed=b"kept", revision=1)
        assert {str(error) for error in found} == {str(found[0])}
        assert isinstance(found[0], StoreUnavailable)
        assert "locked by another program, for longer than 0.05 s" in str(found[0])
        assert found[0].retryable
        assert await kept(store) == a_row(sealed=b"kept", revision=1)
        blocker.execute("ROLLBACK")
        blocker.close()
        await fill(store, a_row("b"))
        assert len(await store.rows(Page(1_000))) == 2


async def test_a_file_that_is_locked_when_it_is_opened_is_told(path: Path) -> None:
    """`StoreUnavailable`; once it is free, it opens."""
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        _ = await a_store(path)
    blocker.close()
    async with a_store(path) as store:
        assert await kept(store) == a_row(sealed=b"kept", revision=1)


async def test_a_full_disk_is_told_and_works_again(path: Path) -> None:
    """What does not fit fails, what does fit beside it is done, and once there is room all works."""

    async with a_store(path) as store:
        row = await take(store)
        await store.execute("PRAGMA max_page_count = 1")  # no more than there are
        found = await asyncio.gather(
            store.insert(a_row("big", sealed=b"x" * 1_000_000)), store.swap(row, owner="me"), return_exceptions=True
        )
        assert isinstance(found[0], StoreUnavailable)
        assert "full" in str(found[0])
        assert found[1] is True
        assert await store.read("big") is None
        await store.execute("PRAGMA max_page_count = 1000000")
        await fill(store, a_row("big", sealed=b"x" * 1_000_000))
        assert (await take(store)).open_attempt is False


async def test_a_file_that_was_moved_is_told_and_works_again(path: Path) -> None:
    """Nothing is written to a file that nobody would find; put back, it goes on."""
    async with a_store(path) as store:
        path.rename(path.with_name("moved"))
        with pytest.raises(StoreUnavailable, match="moved, removed or replaced"):
            await store.insert(a_row("b"))
        path.touch()
        with pytest.raises(StoreUnavailable, match="moved, removed or replaced"):
            await store.insert(a_row("b"))
        path.with_name("moved").rename(path)
        await fill(store, a_row("b"))
        assert await store.delete("b") is True


async def test_a_limit_on_file_sizes_is_told_and_works_again(path: Path) -> None:
    """An I/O error of the system itself, in a process of its own."""
    _ran(
        """
        import resource
        row = a_row("big", sealed=b"x" * 500_000)
        async with a_store(path) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
            with pytest.raises(StoreUnavailable, match="limits? on file sizes|full"):
                await store.insert(row)
            assert (await store.read("a")).sealed == b"kept"
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert await store.insert(row)
            assert await store.read("big") == evolve(row, revision=1)
        """,
        path,
    )


@pytest.mark.parametrize("mode", [0o444, 0o000])
async def test_a_file_that_may_not_be_written_is_told(open_folder: Path, mode: int) -> None:
    """By a person without the right to: read-only, or not to be opened at all. It stays as it is."""
    path = open_folder / "fleet.db"
    async with a_store(path) as store:
        await fill(store, a_row(sealed=b"kept"))
    before = path.read_bytes()
    path.chmod(mode)
    open_folder.chmod(0o555)
    text = "read-only|cannot be opened" if mode else "cannot be opened|may not be opened"
    _ran(
        f"""
        with pytest.raises(StoreUnavailable, match="{text}"):
            _ = await a_store(path)
        """,
        path,
        as_nobody=True,
    )
    open_folder.chmod(0o755)
    path.chmod(0o600)
    assert path.read_bytes() == before
    async with a_store(path) as store:
        assert (await take(store, lease=LEASE)).sealed == b"kept"


async def test_a_store_that_becomes_read_only_is_told_and_works_again(path: Path) -> None:
    """`StoreUnavailable` for writes; reads go on."""

    async with a_store(path) as store:
        await store.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreUnavailable, match="read-only"):
            await store.insert(a_row("b"))
        assert await kept(store) == a_row(sealed=b"kept", revision=1)
        await store.execute("PRAGMA query_only = OFF")
        await fill(store, a_row("b"))


def _ran(body: str, path: Path, *, as_nobody: bool = False) -> None:
    """Run `body` in a process of its own; without rights, where this one has those of root."""
    head = f"""
import asyncio, os
from attrs import evolve
import pytest
from pathlib import Path
from mesh_refresh.stores import StoreUnavailable
from mesh_refresh.testing.conformance.store_kit import a_row
from tests.stores.sqlite_files import a_store
from tests.stores.stopping import Opened
path = Path({str(path)!r})
async def main():
    # Everything is loaded before the rights are given up: the interpreter may lie in a folder of root's.
    async with a_store(path.with_name("other.db")):
        with pytest.raises(StoreUnavailable, match="."):
            _ = await a_store(path.parent)
    if {as_nobody} and os.geteuid() == 0:
        os.setuid({_NOBODY})
"""
    code = head + indent(dedent(body), "    ") + "\nasyncio.run(main())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

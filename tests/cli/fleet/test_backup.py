"""`mesh-refresh backup`: a whole copy of a file, which only its owner can read, or none."""

import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.stores.sqlite import backup
from tests.cli.conftest import mode
from tests.cli.fleet.conftest import OpenFleet

pytestmark = pytest.mark.once

WRITER = """
import sqlite3
fleet = sqlite3.connect("fleet.db", isolation_level=None)
fleet.execute("PRAGMA synchronous = OFF")
number = 0
while True:
    number += 1
    with fleet:
        fleet.execute("BEGIN IMMEDIATE")
        fleet.execute("UPDATE login SET changed_at = ?", (number,))
        fleet.execute("COMMIT")
    if number == 5:
        print("writing", flush=True)
"""


def names() -> list[str]:
    """What lies in the folder of the test."""
    return sorted(path.name for path in Path().iterdir())


def test_a_backup_is_the_store_and_private(fleet: OpenFleet) -> None:
    """Whatever the umask. No key is needed, and the store is not changed."""
    fleet.add("user-7")
    fleet.add("user-8")
    listed, before = fleet.listed(), fleet.file.read_bytes()
    umask = os.umask(0)
    with fleet.cli.monkeypatch.context() as without:
        without.delenv("MESH_REFRESH_KEYS")
        ran = fleet("backup", "backup.db")
    os.umask(umask)
    assert (ran.code, ran.err) == (0, "mesh-refresh: backed up: 2 logins, in backup.db.\n")
    assert mode(Path("backup.db")) == 0o600
    assert fleet.file.read_bytes() == before
    assert names() == ["backup.db", "fleet.db"]
    assert fleet.listed("--store", "backup.db") == listed
    assert fleet("check", "--store", "backup.db").code == 0


def test_it_is_one_moment_of_a_store_that_is_written(fleet: OpenFleet) -> None:
    """A process writes all rows again and again: in the backup, all are of one of its writes."""
    fleet.add("user-7")
    fleet.add("user-8")
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        fleet.cli.monkeypatch.setattr(backup, "_STEP", 1)
        ran = fleet("backup", "backup.db")
        assert writer.poll() is None
        writer.kill()
    assert (ran.code, "2 logins" in ran.err) == (0, True)
    with closing(sqlite3.connect("backup.db")) as copy:
        assert copy.execute("SELECT count(DISTINCT changed_at) FROM login").fetchone() == (1,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_nothing_is_replaced(fleet: OpenFleet) -> None:
    """Neither a file, nor what a link names; nor is a file made beside the store that SQLite would take for its log."""
    fleet.add("user-7")
    Path("old").write_text("the only copy of something")
    Path("link").symlink_to("nowhere")
    Path("fleet.link").symlink_to("fleet.db")
    for name in ("old", "link", ".", "fleet.db", "fleet.link"):
        ran = fleet("backup", name)
        assert (ran.code, ran.err.count("\n")) == (Exit.INVALID, 1)
        assert "FILE exists" in ran.err
    for name in ("-", "fleet.db-wal", "fleet.db-shm", "fleet.db-journal", "./fleet.db-wal"):
        assert "FILE must be the path of a new file" in fleet("backup", name).err
    assert "FILE cannot be written: No such file or directory" in fleet("backup", "missing/backup.db").err
    assert "looks like" in fleet("backup", "https://somewhere.example/x").err
    assert Path("old").read_text() == "the only copy of something"
    assert names() == ["fleet.db", "fleet.link", "link", "old"]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Exit.INVALID, "FILE cannot be written: No space left"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted. There is no backup."),
    ],
    ids=["disk full", "Ctrl-C"],
)
def test_half_a_backup_is_removed(fleet: OpenFleet, error: BaseException, code: Exit, says: str) -> None:
    def fails(_: Path) -> None:
        raise error

    fleet.add("user-7")
    fleet.cli.monkeypatch.setattr(backup, "_sync", fails)
    ran = fleet("backup", "backup.db")
    assert (ran.code, says in ran.err) == (code, True), ran.err
    assert names() == ["fleet.db"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a limit of the system")
def test_a_file_that_may_not_grow_is_no_backup(fleet: OpenFleet) -> None:
    import resource

    fleet.add("user-7")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        ran = fleet("backup", "backup.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (ran.code, "FILE cannot be written" in ran.err) == (Exit.INVALID, True), ran.err
    assert names() == ["fleet.db"]


def test_what_is_no_store_is_not_backed_up(fleet: OpenFleet) -> None:
    with closing(sqlite3.connect("other.db")) as other:
        other.execute("CREATE TABLE other (n)")
    assert fleet("backup", "backup.db", "--store", "other.db").code == Exit.STORE
    assert fleet("backup", "backup.db", "--store", "nosuch.db").code == Exit.INVALID
    ran = fleet("backup", "backup.db", "--store", "postgresql://fleet@localhost:1/fleet")
    assert (ran.code, "pg_dump" in ran.err, ran.err.count("\n")) == (Exit.INVALID, True, 1)
    assert names() == ["other.db"]


def test_what_waits_in_the_spool_is_said(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    Path("fleet.db.spool").mkdir()
    Path("fleet.db.spool/one.settlement").touch()
    ran = fleet("backup", "backup.db")
    assert ran.code == 0
    assert "1 file in the spool" in ran.err
    assert "Copy that folder, and then back up again." in ran.err

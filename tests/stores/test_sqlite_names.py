"""A store's file has one name: by another one SQLite does not find what was committed last."""

# ruff: noqa: ASYNC240 - nobody else is held up in a test's loop

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_refresh.stores import Page, PlainText, StoreDamaged, StoreRefused, StoreUnavailable
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.stores.sqlite.connection import mounts
from mesh_refresh.testing.conformance.store_kit import a_row, fill, kept
from tests.stores.sqlite_files import a_store

pytestmark = pytest.mark.once

MOUNTS = pytest.mark.skipif(
    sys.platform != "linux"
    or os.geteuid() != 0
    or subprocess.run(("unshare", "-m", "true"), check=False).returncode != 0,
    reason="NOT RUN: only root may mount, in a mount namespace of its own (unshare -m)",
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: only Linux tells who has a file open")


async def refused(path: Path, text: str, error: type[Exception] = StoreRefused) -> None:
    """It does not open, which changes nothing."""
    before = path.stat()  # reading it here would drop the locks that this process has on it
    with pytest.raises(error, match=text):
        _ = await a_store(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


async def test_a_file_with_two_names_opens_by_neither(path: Path, tmp_path: Path) -> None:
    """Once the other name is gone, it opens with all that it had."""
    other = tmp_path / "other.db"
    os.link(path, other)
    for name in (path, other):
        await refused(name, r"has 2 names \(hard links\).* Mount the folder")
    other.unlink()
    async with a_store(path) as store:
        assert await kept(store) == a_row(sealed=b"kept", revision=1)


async def test_a_name_that_is_made_while_it_is_open_opens_nothing(path: Path, tmp_path: Path) -> None:
    """Who has it open goes on; nobody opens it by the other name."""
    async with a_store(path) as store:
        os.link(path, tmp_path / "other.db")
        await fill(store, a_row("b"))
        await refused(tmp_path / "other.db", "hard links")
        await refused(path, "hard links")
        assert await store.read("b") == a_row("b", revision=1)


@pytest.mark.parametrize("side", ["-wal", "-shm"])
async def test_the_files_beside_it_have_one_name_too(path: Path, tmp_path: Path, side: str) -> None:
    """As a hard link, or as a link to somewhere else."""
    beside = Path(f"{path}{side}")
    (tmp_path / "elsewhere").touch()
    os.link(tmp_path / "elsewhere", beside)
    await refused(path, f"fleet.db{side}, which belongs to the store, has 2 names")
    beside.unlink()
    beside.symlink_to(tmp_path / "elsewhere")
    await refused(path, f"fleet.db{side}, which belongs to the store, is a link")


async def test_a_link_to_the_file_is_followed(path: Path, tmp_path: Path) -> None:
    """It is no second name: the files beside it are named after what it leads to."""
    (tmp_path / "link.db").symlink_to(path)
    async with a_store(path) as store, a_store(tmp_path / "link.db") as other:
        await fill(store, a_row("b"))
        assert await other.read("b") == a_row("b", revision=1)


async def test_what_is_no_file_is_no_store(tmp_path: Path) -> None:
    """What is written to a device is gone."""
    os.mkfifo(tmp_path / "pipe")
    for path in (Path(os.devnull), tmp_path / "pipe"):
        with pytest.raises(StoreRefused, match="should be a file"):
            _ = await a_store(path)


async def test_a_log_without_its_file_is_left_alone(path: Path) -> None:
    """A new file beside it would make SQLite remove it."""
    path.unlink()
    log = Path(f"{path}-wal")
    log.write_bytes(b"what was committed last")
    with pytest.raises(StoreDamaged, match="empty or gone"):
        _ = await a_store(path)
    assert log.read_bytes() == b"what was committed last"
    assert not path.exists()


async def test_a_file_is_made_only_where_that_was_asked_for(tmp_path: Path) -> None:
    """One that is empty is no store either, and stays as it is."""
    path = tmp_path / "fleet.db"
    for _ in range(2):
        with pytest.raises(StoreRefused, match=r"There is no store at .*fleet\.db"):
            _ = await SqliteStore.open(path, cipher=PlainText(), create=False)
        assert not path.exists() or path.stat().st_size == 0
        path.touch()
    async with a_store(path):
        pass
    async with SqliteStore.open(path, cipher=PlainText(), create=False) as store:
        await fill(store, a_row())


# What happens to the names while it is open.


@LINUX
async def test_a_file_that_was_moved_while_it_is_open_is_not_opened_by_its_new_name(path: Path, tmp_path: Path) -> None:
    """Its log is where it was. Closed there, the file has all that was committed."""
    moved = tmp_path / "moved.db"
    async with a_store(path) as store:
        await fill(store, a_row("b"))
        path.rename(moved)
        await refused(moved, f"in use by another name.* process {os.getpid()}", StoreUnavailable)
    async with a_store(moved) as store:
        assert len(await store.rows(Page(9))) == 2


@LINUX
async def test_a_file_that_took_the_place_of_one_that_is_open_is_not_opened(path: Path, tmp_path: Path) -> None:
    """A backup, say: the log beside it is the other one's."""
    shutil.copy(path, tmp_path / "backup.db")
    async with a_store(path) as store:
        await fill(store, a_row("b"))
        path.rename(tmp_path / "old.db")
        (tmp_path / "backup.db").rename(path)
        await refused(path, "in use by another name, or was moved or replaced", StoreUnavailable)
    async with a_store(path) as store, a_store(tmp_path / "old.db") as old:
        assert await store.read("b") is None
        assert await old.read("b") == a_row("b", revision=1)


@LINUX
@pytest.mark.parametrize("sides", [("-wal",), ("-shm",), ("-wal", "-shm")])
async def test_a_log_that_is_removed_while_it_is_open_loses_nothing(path: Path, sides: tuple[str, ...]) -> None:
    """Nothing more is written, nobody else opens the file, and what was committed is in it once it is closed."""
    async with a_store(path) as store:
        await fill(store, a_row("b"))
        for side in sides:
            Path(f"{path}{side}").unlink()
        await refused(path, "a file beside it removed", StoreUnavailable)
        if "-wal" in sides:
            with pytest.raises(StoreUnavailable, match="-wal file beside it, was moved, removed"):
                await store.insert(a_row("c"))
    async with a_store(path) as store:
        assert await store.read("b") == a_row("b", revision=1)


@LINUX
async def test_locks_of_others_tell_nothing(path: Path) -> None:
    """As ``flock fleet.db mesh-refresh run --once`` takes one, or an editor."""
    code = f"""
import fcntl, sys
with open({str(path)!r}, "r+b") as file, open({str(path)!r}, "r+b") as other:
    fcntl.flock(file, fcntl.LOCK_EX)
    fcntl.lockf(other, fcntl.LOCK_EX, 10)
    print("locked", flush=True)
    sys.stdin.read()
"""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"locked\n"
    async with a_store(path) as store:
        await fill(store, a_row("b"))
    await process.communicate(b"")


async def test_many_processes_that_open_and_close_it_are_no_strangers(path: Path) -> None:
    """Each has one of its two locks for a moment."""
    code = f"""
import asyncio
from mesh_refresh.stores import PlainText
from mesh_refresh.stores.sqlite import SqliteStore
async def main():
    for _ in range(30):
        async with SqliteStore.open({str(path)!r}, cipher=PlainText()) as store:
            await store.read("a")
asyncio.run(main())
"""
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", code) for _ in range(3)]
    assert [await process.wait() for process in processes] == [0, 0, 0]


# Mounts.


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse", "fuse.sshfs", "fuse.bindfs"]
)
async def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """By its type, which the error names, before anything is made there."""
    lie(monkeypatch, kind)
    await refused(path, rf"on a network file system.*\({kind}\).* Put it on a local disk .*or use PostgreSQL")
    with pytest.raises(StoreRefused, match="network"):
        _ = await a_store(path.with_name("new.db"))
    assert not path.with_name("new.db").exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "fuse.fuse-overlayfs"])
async def test_a_local_file_system_is_not(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    lie(monkeypatch, kind)
    async with a_store(path) as store:
        assert await kept(store) == a_row(sealed=b"kept", revision=1)


async def test_where_the_system_tells_nothing_it_opens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without /proc."""
    monkeypatch.setattr(mounts, "_lines", lambda _: [])
    async with a_store(path) as store:
        assert await kept(store) == a_row(sealed=b"kept", revision=1)


@MOUNTS
@pytest.mark.parametrize("side", ["", "-wal"])
def test_a_file_that_is_mounted_by_itself_is_refused(path: Path, side: str) -> None:
    """As a container mounts it: it has another name where it comes from."""
    other = path.parent / "mnt" / "fleet.db"
    mounted(
        f"""
mkdir mnt && touch mnt/fleet.db fleet.db{side} mnt/fleet.db{side}
mount --bind fleet.db{side} mnt/fleet.db{side}
""",
        f"""
with pytest.raises(StoreRefused, match="mounted as a single file.* Mount the folder that holds it instead"):
    _ = await a_store(Path({str(other)!r}))
""",
        path,
    )


@MOUNTS
@pytest.mark.parametrize("kind", ["bind", "tmpfs", "overlay"])
def test_a_folder_that_is_mounted_is_one_name_for_all(path: Path, kind: str) -> None:
    """The files beside it are the same by each path."""
    how = {
        "bind": "mount --bind . mnt",
        "tmpfs": "mount -t tmpfs none mnt && cp fleet.db mnt",
        "overlay": "mkdir low up work && cp fleet.db low\n"
        "mount -t overlay -o lowerdir=low,upperdir=up,workdir=work none mnt",
    }
    mounted(
        f"mkdir mnt again\n{how[kind]}\nmount --bind mnt again",
        f"""
one, other = Path({str(path)!r}).parent / "mnt/fleet.db", Path({str(path)!r}).parent / "again/fleet.db"
async with a_store(one) as store, a_store(other) as there:
    await fill(store, a_row("b"))
    assert await there.read("b") == a_row("b", revision=1)
""",
        path,
    )


def lie(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Every mount is of this type."""

    def told(path: str) -> list[str]:
        if not path.endswith("mountinfo"):
            return Path(path).read_text().splitlines()
        return [f"{number} 1 8:1 / / rw shared:1 - {kind} none rw" for number in range(10_000)]

    monkeypatch.setattr(mounts, "_lines", told)


def mounted(shell: str, body: str, path: Path) -> None:
    """Run `body` where the commands of `shell` have been run, in a mount namespace that ends with it."""
    head = """
import asyncio
from pathlib import Path
import pytest
from mesh_refresh.stores import StoreRefused
from mesh_refresh.testing.conformance.store_kit import a_row, fill
from tests.stores.sqlite_files import a_store
async def main():
"""
    code = head + "\n".join(f"    {line}" for line in body.splitlines()) + "\nasyncio.run(main())\n"
    script = f'set -e\ncd "$1"\n{shell}\ncd "$2"\nexec "$3" -c "$4"'
    command = ("unshare", "-m", "sh", "-c", script, "sh", path.parent, Path(__file__).parents[2], sys.executable, code)
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

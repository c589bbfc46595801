"""The spool is tried when a keeper is entered, and one bad file in it stops no fleet."""

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mesh_refresh import InvalidRequest, NotSaved
from mesh_refresh.keeper.runtime import spool
from mesh_refresh.keeper.runtime.spool import files
from mesh_refresh.stores import Cipher, MemoryStore, WrongKey
from mesh_refresh.stores.errors import StoreDamaged, StoreRefused
from tests.keeper.stage import MINUTE, FaultyStore, Stage

pytestmark = pytest.mark.once

CIPHER = Cipher([Cipher.generate_key()])


@pytest.fixture
def folder(stage: Stage, tmp_path: Path) -> Path:
    """Where a spool may be, and a store that may have one."""
    stage.store = MemoryStore(cipher=CIPHER, clock=stage.clock)
    return tmp_path / "spool"


async def enter(stage: Stage, folder: Path) -> None:
    async with stage.keeper(spool=folder):
        pass


async def spilled(stage: Stage, folder: Path) -> Path:
    """A file of a keeper that was left while the store was gone."""
    store = FaultyStore(stage.store)
    await add(stage)
    store.lose("swap")

    async def refresh_and_leave() -> None:
        async with stage.keeper(store=store, spool=folder, drain=timedelta(milliseconds=200)) as keeper:
            asking = asyncio.gather(keeper.refresh("a"), return_exceptions=True)
            await store.has_failed("swap", 2)  # the second try comes after the spilling
        await asking

    with pytest.raises(NotSaved):
        await refresh_and_leave()
    (file,) = files(folder)
    return file


def seen(path: Path) -> os.stat_result | None:
    """What the system knows of a path."""
    return path.stat() if path.exists() else None


async def add(stage: Stage) -> None:
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").tokens)


async def test_a_missing_folder_is_made_before_anything_is_sent(stage: Stage, folder: Path) -> None:
    """With the folders above it; for its owner alone, and nothing of the trial is left in it."""
    deep = folder / "of" / "worker-1"
    async with stage.keeper(spool=deep):
        assert stat.S_IMODE(deep.stat().st_mode) == 0o700
        assert not list(deep.iterdir())


async def test_new_folders_are_synced_into_those_above(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not take the folder away together with what is in it."""
    synced: list[Path] = []
    monkeypatch.setattr(spool, "sync_folder", synced.append)
    await enter(stage, folder / "inner")
    assert {folder.parent, folder, folder / "inner"} <= set(synced)


def _file(path: Path) -> Path:
    path.write_text("in the way")
    return path


def _open_to(mode: int) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.mkdir()
        path.chmod(mode)
        return path

    return make


BAD: dict[str, Callable[[Path], Path]] = {
    "a file in its place": _file,
    "a file above it": lambda path: _file(path) / "inner",
    "open to others": _open_to(0o777),
    "open to a group": _open_to(0o750),
    "open to others like /tmp": _open_to(0o1777),
    "not a disk": lambda _: Path("/proc/x"),
    "no name of a folder": lambda path: path.with_name("x" * 300),
    "with a zero byte": lambda path: path.with_name("a\0b"),
}


@pytest.mark.parametrize("how", BAD)
async def test_a_bad_spool_is_refused_at_entering(stage: Stage, folder: Path, how: str) -> None:
    """In words, with its path; what was there is as it was, and nothing is sent."""
    path = BAD[how](folder)
    before = seen(folder)
    await add(stage)
    with pytest.raises((InvalidRequest, StoreRefused)) as refused:
        await enter(stage, path)
    assert str(path) in str(refused.value)
    assert seen(folder) == before
    assert not stage.sent()


async def test_the_message_says_where_a_spool_may_be_instead(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume's mount point belongs to another user, or is open to a group: a folder inside it will do."""
    await enter(stage, folder)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(InvalidRequest, match=f"belongs to another user; name a folder inside it, such as {folder}/"):
        await enter(stage, folder)


async def test_a_folder_that_takes_no_file_is_refused(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full, or is read-only: it shows now, and not when the store is gone."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreRefused, match=f"{folder} cannot be used: No space left on device"):
        await enter(stage, folder)
    assert not os.listdir(folder)  # noqa: PTH208 - of pathlib, the linter fears that it blocks


def _content(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def _instead(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


DAMAGE: dict[str, Callable[[Path], None]] = {
    "garbage": _content(lambda _: b"garbage"),
    "empty": _content(lambda _: b""),
    "cut short": _content(lambda whole: whole[:-10]),
    "one bit": _content(lambda whole: whole[:-1] + bytes([whole[-1] ^ 1])),
    "in its checksum": _content(lambda whole: whole[:25] + bytes([whole[25] ^ 1]) + whole[26:]),
    "none of ours": _content(lambda _: CIPHER.seal("{}", "spool")),
    "a folder": _instead(Path.mkdir),
    "a pipe": _instead(os.mkfifo),
    "a link to nowhere": _instead(lambda path: path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("how", DAMAGE)
async def test_a_damaged_file_is_set_aside_loudly(
    stage: Stage, folder: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """The fleet goes on. The file stays, under another name, and every start tells of it."""
    file = await spilled(stage, folder)
    DAMAGE[how](file)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "mesh_refresh.keeper"):
        async with stage.keeper(spool=folder) as keeper:
            await keeper.add("b", stage.fake.login("coinbase").tokens)
            await keeper.refresh("b")
        aside = file.with_suffix(".damaged")
        assert files(folder) == [aside]
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert str(aside) in record.getMessage()
        caplog.clear()
        await enter(stage, folder)
    assert str(aside) in caplog.text


async def test_a_file_of_another_key_waits_for_it(stage: Stage, folder: Path) -> None:
    """There may be newer tokens in it than in the store, so nothing is sent before the key is back."""
    file = await spilled(stage, folder)
    sent, right = stage.sent(), stage.store
    stage.store = MemoryStore(cipher=Cipher([Cipher.generate_key()]), clock=stage.clock)
    with pytest.raises(WrongKey, match=f"{file} of the spool is not sealed with any of these keys"):
        await enter(stage, folder)
    assert (files(folder), stage.sent()) == ([file], sent)
    stage.store = right
    await enter(stage, folder)
    assert not files(folder)
    await stage.assert_whole()


async def test_a_file_of_a_newer_version_waits_for_that(stage: Stage, folder: Path) -> None:
    """Nothing is wrong with it."""
    file = await spilled(stage, folder)
    content = '{"format": "mesh_refresh.settlement", "version": 1000}'
    file.write_bytes(CIPHER.seal(content, "spool"))
    with pytest.raises(StoreDamaged, match="newer version"):
        await enter(stage, folder)
    assert files(folder) == [file]


async def test_a_file_that_was_set_aside_is_taken_up_once_it_is_whole(stage: Stage, folder: Path) -> None:
    """From a backup, say: every start looks at what was set aside too."""
    file = await spilled(stage, folder)
    whole = file.read_bytes()
    file.write_bytes(b"garbage")
    await enter(stage, folder)
    file.with_suffix(".damaged").write_bytes(whole)
    stage.clock.advance(MINUTE)
    await enter(stage, folder)
    assert not files(folder)
    await stage.assert_whole()

"""The access file: what is read of it as it changes, and how it is written."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.service.access import Access, AccessKey, Scope, file
from mesh_refresh.service.access.changes import add_key, change_keys, revoke_key
from mesh_refresh.service.access.keys import write_keys

pytestmark = pytest.mark.once

LONG_AGO = 1_000_000_000


def make(name: str) -> tuple[AccessKey, str]:
    return AccessKey.generate(name, [Scope.READ])


def put(path: Path, *keys: AccessKey, text: str | None = None) -> None:
    """Replace the file, as `mesh-refresh access` and deployments do."""
    new = path.with_name("new")
    new.write_text(write_keys(keys) if text is None else text)
    new.chmod(0o600)
    new.replace(path)


def names(access: Access) -> list[str]:
    return [key.name for key in access.keys]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.toml"


def test_each_change_is_seen_at_once(path: Path) -> None:
    (first, text), (second, other) = make("first"), make("second")
    put(path, first)
    access = Access.open(path)
    assert access.find(text) == first
    put(path, first, second)
    assert access.find(other) == second
    put(path, second)
    assert access.find(text) != first
    assert access.by_name("first", first.hash) is None
    assert access.by_name("second", second.hash) == second
    assert access.by_name("second", first.hash) is None


def test_a_change_in_place_and_of_the_same_size_is_seen(path: Path) -> None:
    """Two of them within a tick of the file system's clock have equal times."""
    put(path, make("aaa")[0])
    access = Access.open(path)
    for name in ("bbb", "ccc", "ddd"):
        before = path.stat()
        path.write_text(write_keys([make(name)[0]]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert names(access) == [name]


def test_a_file_that_has_not_changed_for_long_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, make("a")[0])
    monkeypatch.setattr(file, "_SETTLED", 0.0)
    access, reads = Access.open(path), []

    def read(*_: object, **__: object) -> tuple[AccessKey, ...]:
        reads.append(1)
        return ()

    monkeypatch.setattr(file, "read_file", read)
    assert names(access) == names(access) == ["a"]
    assert not reads
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert names(access) == []
    assert len(reads) == 1


def test_a_broken_file_leaves_the_keys_as_they_were(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(path, make("a")[0])
    access = Access.open(path)
    put(path, text="[broken")
    assert names(access) == names(access) == ["a"]
    (record,) = caplog.records  # once, and not at each request
    assert record.levelname == "ERROR"
    assert "no TOML" in vars(record)["reason"]
    put(path, make("b")[0])
    assert names(access) == ["b"]
    put(path, text="[broken")
    assert names(access) == ["b"]
    assert len(caplog.records) == 2


def test_a_file_that_is_gone_has_no_keys(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(path, make("a")[0])
    access = Access.open(path)
    path.unlink()
    assert names(access) == names(access) == []
    assert "gone" in vars(caplog.records[0])["reason"]
    assert len(caplog.records) == 1
    put(path, make("b")[0])
    assert names(access) == ["b"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(mode: int, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(path, make("a")[0])
    path.chmod(mode)
    with pytest.raises(InvalidRequest, match="chmod 600"):
        Access.open(path)
    path.chmod(0o640)
    access = Access.open(path)
    put(path, make("b")[0])
    path.chmod(mode)
    assert names(access) == ["a"]
    assert "chmod 600" in vars(caplog.records[0])["reason"]


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, make("a")[0])
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    if path.stat().st_uid == 0:  # root may write it in any case
        assert names(Access.open(path)) == ["a"]
        os.chown(path, 4711, 4711)
    with pytest.raises(InvalidRequest, match="another user"):
        Access.open(path)


def test_links_are_followed(path: Path) -> None:
    """Kubernetes changes a mounted secret by changing a link to its folder."""
    for number in range(2):
        folder = path.parent / f"{number}"
        folder.mkdir()
        put(folder / "access.toml", make(f"key-{number}")[0])
    data = path.parent / "data"
    data.symlink_to("0")
    path.symlink_to("data/access.toml")
    access = Access.open(path)
    assert names(access) == ["key-0"]
    other = path.parent / "other"
    other.symlink_to("1")
    other.replace(data)
    assert names(access) == ["key-1"]
    change_keys(path, add_key(make("more")[0]))
    assert path.is_symlink()
    assert names(access) == ["key-1", "more"]


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "large"])
def test_what_is_no_access_file_is_refused(kind: str, path: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "large":
        put(path, text="#" * (1 << 20) + "\n")
    with pytest.raises(InvalidRequest, match="The access file"):
        Access.open(path)


def test_two_keys_with_one_name_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="one name"):
        Access([make("a")[0], make("a")[0]])


# Writing.


def test_what_is_written_is_for_its_owner_alone(path: Path) -> None:
    change_keys(path, add_key(make("a")[0]))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    change_keys(path, add_key(make("b")[0]))
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(Access.open(path)) == ["a", "b"]
    change_keys(path, revoke_key("a"))
    assert names(Access.open(path)) == ["b"]
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_change_that_cannot_be_leaves_all_as_it_was(path: Path) -> None:
    change_keys(path, add_key(make("a")[0]))
    for change in (add_key(make("a")[0]), revoke_key("b")):
        with pytest.raises(InvalidRequest, match="Nothing was changed"):
            change_keys(path, change)
    put(path, text="[broken")
    with pytest.raises(InvalidRequest, match="no TOML"):
        change_keys(path, add_key(make("b")[0]))
    assert path.read_text() == "[broken"
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_two_changes_at_a_time_are_both_made(path: Path) -> None:
    writers = [threading.Thread(target=change_keys, args=(path, add_key(make(f"k{n}")[0]))) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(names(Access.open(path))) == [f"k{n}" for n in range(8)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_stays_that_users(path: Path) -> None:
    change_keys(path, add_key(make("a")[0]))
    os.chown(path, 4711, 4712)
    change_keys(path, add_key(make("b")[0]))
    assert (path.stat().st_uid, path.stat().st_gid) == (4711, 4712)


def test_expired_keys_open_nothing(path: Path) -> None:
    late, text = AccessKey.generate("late", [Scope.READ], expires=datetime(2020, 1, 1, tzinfo=UTC))
    put(path, late)
    access = Access.open(path)
    assert access.find(text) != late
    assert access.by_name("late", late.hash) is None

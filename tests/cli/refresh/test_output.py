"""The output: claimed before anything is sent, replaced as a whole, and finished by the next run."""

import asyncio
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import FakeMesh, Fault, Gate, Replies, Sharing
from tests.cli.conftest import Cli, held, mode
from tests.cli.refresh.hostile.hostile_os import Step, install

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files of POSIX")


def no_room(_step: Step | None = None) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def meets(cli: Cli, where: Callable[[Step], bool], then: Callable[[Step], object] = no_room) -> None:
    """Let `then` happen at every step that `where` is true of, once something has been sent."""
    install(lambda step: then(step) if cli.served.fake.requests and where(step) else None, put=cli.monkeypatch.setattr)


def last_line(err: str) -> str:
    return err.splitlines()[-1]


# Where the output does not take the tokens.


def test_a_full_disk_leaves_the_journal_and_the_next_run_finishes_it(cli: Cli) -> None:
    """In place, as a cron job does it, without anybody looking."""
    fake = cli.served.fake
    source = cli.payload(*(fake.login("coinbase", revokes_on_reuse=True) for _ in range(2)))
    with cli.monkeypatch.context() as patch:
        install(lambda step: no_room(step) if fake.requests and step.is_on(".new") else None, put=patch.setattr)
        ran = cli("refresh", source, "-o", source)
    assert ran.code == Exit.NOT_SAVED
    journal = cli.folder / "payload.json.journal"
    assert f"(No space left on device). They are in {journal} (mode 0600)" in last_line(ran.err)
    assert "written" not in ran.err.replace("could not be written", "")
    fake.hold_body(journal.read_bytes())
    assert not fake.lost()
    ran = cli("refresh", source, "-o", source)
    assert ran.code == Exit.REFRESHED
    assert "an earlier run was interrupted" in ran.err
    assert not fake.reuses
    assert not cli.served.lost(source)
    assert [path.name for path in cli.folder.iterdir()] == [source.name]


def test_where_neither_output_nor_journal_takes_them_another_file_does(cli: Cli) -> None:
    first, second = (cli.served.fake.login("coinbase") for _ in range(2))
    payload = cli.payload(first, second)
    meets(cli, lambda step: step.name == "write" or (step.name == "open" and step.is_on(".new")))
    cli.monkeypatch.setattr("mesh_refresh.cli.refresh.rescue.write_new", in_full_folders(cli.folder / "spare"))
    cli.monkeypatch.setattr("tempfile.tempdir", str(cli.folder / "spare"))
    (cli.folder / "spare").mkdir()
    ran = cli("refresh", payload, "-o", "out.json")
    assert ran.code == Exit.NOT_SAVED
    (kept,) = (cli.folder / "spare").iterdir()
    assert f"They are in {kept} (mode 0600). Take them from there." in last_line(ran.err)
    assert mode(kept) == 0o600
    assert not cli.served.lost(kept)
    assert sorted(path.name for path in cli.folder.iterdir()) == ["out.json.journal", "payload.json", "spare"]
    assert "on_outcome" not in ran.err


@pytest.mark.parametrize("person", ["does nothing", "takes them", "loses them", "writes something else"])
def test_the_next_run_after_a_rescue_sends_no_spent_token(cli: Cli, person: str) -> None:
    """A cron job runs again whether or not somebody has read its last line."""
    fake = cli.served.fake
    source = cli.payload(*(fake.login("coinbase", revokes_on_reuse=True) for _ in range(2)))
    with cli.monkeypatch.context() as patch:
        install(lambda step: no_room(step) if fake.requests and step.is_on(".new") else None, put=patch.setattr)
        patch.setattr("mesh_refresh.cli.refresh.rescue.write_new", in_full_folders(cli.folder))
        patch.setattr("mesh_refresh.cli.refresh.journal.Journal.append", lambda *_: no_room())
        assert cli("refresh", source, "-o", source).code == Exit.NOT_SAVED
    kept, sent = cli.folder / "mesh-refresh-rescued-1.json", len(fake.requests)
    assert not cli.served.lost(kept)
    if person == "takes them":
        kept.replace(source)
    if person == "loses them":
        kept.rename("elsewhere")
    if person == "writes something else":
        source.write_text("[]")
    ran = cli("refresh", source, "-o", source)
    if person in ("does nothing", "takes them"):
        assert ran.code == Exit.REFRESHED
        assert not cli.served.lost(source)
        assert [path.name for path in cli.folder.iterdir()] == [source.name]
    else:
        assert ran.code == Exit.INVALID
        assert str(kept) in ran.err
        assert len(fake.requests) == sent
    assert not fake.reuses


def in_full_folders(spare: Path | None) -> Callable[..., Path]:
    def write_new(folder: Path, prefix: str, suffix: str, data: bytes, owner: object = None) -> Path:
        if folder != spare:
            raise OSError(errno.ENOSPC, "No space left on device")
        path = folder / f"{prefix}1{suffix}"
        path.touch(0o600)
        path.write_bytes(data)
        return path

    return write_new


@pytest.mark.parametrize("broken", [RuntimeError, KeyError, FileNotFoundError, ValueError])
def test_every_place_may_fail_in_any_way(cli: Cli, broken: type[Exception]) -> None:
    """No working directory, no home, no temporary folder, no disk: standard output has them."""

    def fail(*_: object) -> Path:
        raise broken

    login = cli.served.fake.login("coinbase")
    payload = cli.payload(login)
    meets(cli, lambda step: step.name == "write" or (step.name == "open" and step.is_on(".new")))
    cli.monkeypatch.setattr("mesh_refresh.cli.refresh.rescue._FOLDERS", (fail,) * 3)
    cli.monkeypatch.setattr("mesh_refresh.cli.refresh.rescue.write_new", fail)
    ran = cli("refresh", payload, "-o", cli.folder / "out.json")
    assert ran.code == Exit.NOT_SAVED
    assert "They are on standard output" in last_line(ran.err)
    assert not cli.served.fake.lost(held(ran.documents))


def test_an_unreadable_reply_finds_another_folder_too(cli: Cli) -> None:
    fake = cli.served.fake
    fake.login("coinbase")
    fake.fail(Fault.broken_json())
    payload = cli.payload(*fake.logins.values())
    meets(cli, lambda step: step.name == "open" and step.is_on(str(cli.folder / "gone")))
    (cli.folder / "gone").mkdir()
    ran = cli("refresh", payload, "-o", "gone/out.json")
    assert ran.code == Exit.UNREADABLE
    (kept,) = cli.folder.glob("*.body")
    assert str(kept) in last_line(ran.err)
    fake.hold_body(kept.read_bytes())
    assert not fake.lost()


# What is found before anything is sent.


def refused(cli: Cli, *arguments: str | Path, says: str, code: int = Exit.INVALID) -> None:
    ran = cli("refresh", *arguments)
    assert says in ran.err
    assert ran.code == code
    assert not cli.served.fake.requests


def test_two_runs_into_one_output(cli: Cli) -> None:
    """From two inputs: both would say that they had written it, and one would be gone."""
    fake = cli.served.fake
    first, second = fake.login("coinbase"), fake.login("kraken")
    gate = fake.hold()
    with cli.start("refresh", cli.payload(first), "-o", "out.json") as process:
        cli.served.wait(gate.entered.wait())
        payload = cli.write("other.json", second.link_payload())
        ran = cli("refresh", payload, "-o", "out.json", "--overwrite")
        assert ran.code == Exit.TRY_AGAIN
        assert "Another mesh-refresh works on this file" in ran.err
        cli.served.release(gate)
        process.communicate(timeout=90)
    assert process.returncode == Exit.REFRESHED
    assert len(fake.requests) == 1
    assert not [it for it in cli.served.lost(Path("out.json")) if it.login != second.id]


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    target = str(arguments[-1])
    ran = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"DID NOT RUN: this user may not mount ({ran.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


@pytest.mark.once
def test_a_mount_point(cli: Cli) -> None:
    """One file of the host in a container: it cannot be replaced, only written to."""
    payload = cli.payload(cli.served.fake.login("coinbase"))
    mount = cli.write("mount.json", "")
    with mounted("--bind", cli.write("host.json", ""), mount):
        refused(cli, payload, "-o", mount, says="it is a mount point; mount its folder")


@pytest.mark.once
def test_a_small_disk(cli: Cli) -> None:
    """Without room for what may come, nothing is sent; with it, all is written."""
    disk, payload = cli.folder / "disk", cli.payload(cli.served.fake.login("coinbase"))
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=32k", "tmpfs", disk):
        (disk / "full").write_bytes(b"0" * 28_000)
        refused(cli, payload, "-o", disk / "out.json", says="No space left on device). Nothing was sent.")
        assert [path.name for path in disk.iterdir()] == ["full"]
        (disk / "full").unlink()
        assert cli("refresh", payload, "-o", disk / "out.json").code == Exit.REFRESHED
        assert not cli.served.lost(disk / "out.json")


@pytest.mark.parametrize(
    ("call", "number", "says"),
    [
        ("replace", errno.EBUSY, "it is a mount point"),
        ("replace", errno.EPERM, "the system lets no program replace it"),
        ("replace", errno.EROFS, "Read-only file system"),
        ("write", errno.EIO, "Input/output error"),
        ("fsync", errno.EDQUOT, "Disk quota exceeded"),
        ("posix_fallocate", errno.ENOSPC, "No space left on device"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_what_would_fail_later_fails_before(cli: Cli, call: str, number: int, says: str, exists: bool) -> None:
    def meet(step: Step) -> None:
        if step.name == call:
            raise OSError(number, os.strerror(number))

    payload = cli.payload(cli.served.fake.login("coinbase"))
    if exists:
        cli.write("out.json", "older").chmod(0o640)
    install(meet, put=cli.monkeypatch.setattr)
    refused(cli, payload, "-o", "out.json", "--overwrite", says=says)
    if exists:
        assert Path("out.json").read_text() == "older"
    assert sorted(path.name for path in cli.folder.iterdir()) == ["out.json"] * exists + ["payload.json"]


def test_trying_out_changes_nothing_that_can_be_seen(cli: Cli) -> None:
    """Lifetimes in a payload count from when its file was written."""
    fake = cli.served.fake
    source = cli.payload(fake.login("coinbase"))
    os.utime(source, ns=(10**18, 10**18))
    source.chmod(0o640)
    before = source.read_bytes()
    fake.fail(Fault.throttle(), times=None)
    assert cli("refresh", source, "-o", source, "--max-requests", "1").code == Exit.TRY_AGAIN
    assert (source.read_bytes(), source.stat().st_mtime_ns, mode(source)) == (before, 10**18, 0o640)


def test_one_file_under_two_names(cli: Cli) -> None:
    """Replaced under one of them, it would stay under the other with a spent token."""
    source = cli.payload(cli.served.fake.login("coinbase"))
    Path("other.json").hardlink_to(source)
    refused(cli, source, "-o", "other.json", says="two names of one file")


@pytest.mark.parametrize("name", ["loop.json", "\0", "/proc/self/mem", "/proc/nowhere/out.json", ""])
def test_names_that_are_no_files(cli: Cli, name: str) -> None:
    Path("loop.json").symlink_to("loop.json")
    refused(cli, cli.payload(cli.served.fake.login("coinbase")), "-o", name, says="--output")


def test_a_link_to_nothing_becomes_a_link_to_the_output(cli: Cli) -> None:
    Path("link.json").symlink_to("real.json")
    assert cli("refresh", cli.payload(cli.served.fake.login("coinbase")), "-o", "link.json").code == Exit.REFRESHED
    assert Path("link.json").is_symlink()
    assert not cli.served.lost(Path("real.json"))


# Who else touches it.


def test_what_another_program_has_put_there_stays(cli: Cli) -> None:
    """Neither is it replaced, nor are the new tokens lost."""
    fake = cli.served.fake
    fake.login("coinbase")
    payload = cli.payload(*fake.logins.values())
    gate = fake.hold(after_rotation=True)
    with cli.start("refresh", payload, "-o", "out.json") as process:
        cli.served.wait(gate.entered.wait())
        Path("out.json").unlink()
        Path("out.json").write_text("of another program")
        cli.served.release(gate)
        _, err = process.communicate(timeout=90)
    assert process.returncode == Exit.NOT_SAVED
    assert "another program has replaced or changed it meanwhile" in last_line(err)
    assert Path("out.json").read_text() == "of another program"
    (kept,) = cli.folder.glob("mesh-refresh-rescued-*.json")
    assert str(kept) in last_line(err)
    assert not cli.served.lost(kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_stays_its_owners(cli: Cli) -> None:
    """Root refreshes a service's file; the service reads it, its journal and its bodies as before."""
    fake = cli.served.fake
    source = cli.payload(*(fake.login("coinbase") for _ in range(2)))
    os.chown(source, 12345, 12346)
    fake.fail(Fault.none(), Fault.broken_json())
    made = set[tuple[str, int, int]]()

    def meet(step: Step) -> None:
        if step.name == "close":
            status = os.fstat(step.arguments[0])
            made.add((Path(f"/proc/self/fd/{step.arguments[0]}").readlink().suffix, status.st_uid, status.st_gid))

    install(meet, put=cli.monkeypatch.setattr)
    assert cli("refresh", source, "-o", source).code == Exit.UNREADABLE
    assert (source.stat().st_uid, source.stat().st_gid) == (12345, 12346)
    assert {suffix for suffix, user, group in made if (user, group) == (12345, 12346)} >= {".json", ".journal", ".body"}
    assert {(user, group) for _, user, group in made} == {(12345, 12346)}


def test_a_file_that_could_not_stay_its_owners_is_refused(cli: Cli) -> None:
    def meet(step: Step) -> None:
        if step.name == "fchown":
            raise PermissionError(errno.EPERM, "Operation not permitted")

    cli.monkeypatch.setattr("mesh_refresh.cli.refresh.files.os.geteuid", lambda: 12345)
    source = cli.payload(cli.served.fake.login("coinbase"))
    install(meet, put=cli.monkeypatch.setattr)
    refused(cli, source, "-o", source, says="only with a file of another owner")


# What an earlier run has left.


def leave_a_journal(cli: Cli) -> Path:
    """A run that had renewed an account when it could do no more, and has not touched its output."""
    fake = cli.served.fake
    source = cli.payload(*(fake.login("etoro", revokes_on_reuse=True) for _ in range(2)))
    with cli.monkeypatch.context() as patch:
        install(lambda step: no_room(step) if fake.requests and step.is_on(".new") else None, put=patch.setattr)
        assert cli("refresh", source, "-o", source).code == Exit.NOT_SAVED
    return source


def test_a_spent_token_is_not_sent_to_another_output(cli: Cli) -> None:
    source = leave_a_journal(cli)
    sent = len(cli.served.fake.requests)
    for output in (("-o", "out.json"), ()):
        ran = cli("refresh", source, *output)
        assert ran.code == Exit.INVALID
        assert f"the new ones are in {source}.journal" in ran.err
    assert len(cli.served.fake.requests) == sent
    assert cli("refresh", source, "-o", source).code == Exit.REFRESHED
    assert not cli.served.fake.reuses
    assert not cli.served.lost(source)


def test_an_output_that_has_changed_since_is_not_replaced(cli: Cli) -> None:
    source = leave_a_journal(cli)
    source.write_text("of another program")
    ran = cli("refresh", source, "-o", source)
    assert ran.code == Exit.INVALID
    assert f"The new tokens of that run are in {source}.journal" in ran.err
    assert source.read_text() == "of another program"
    assert Path(f"{source}.journal").exists()


def test_a_torn_end_of_a_journal_is_kept(cli: Cli) -> None:
    """Only a power cut makes one, and a token may be whole in it."""
    source = leave_a_journal(cli)
    journal = Path(f"{source}.journal")
    with journal.open("r+b") as file:
        content = file.read().rstrip(b"\0")
        file.seek(len(content))
        file.write(b'{"changed": [[1, {"refresh_token": "fake-torn')
    ran = cli("refresh", source, "-o", source)
    (torn,) = cli.folder.glob("*.journal-torn-*")
    assert str(torn) in ran.err
    assert b"fake-torn" in torn.read_bytes()
    assert ran.code == Exit.REFRESHED


@pytest.mark.parametrize("content", ["", '{"format":"mesh_refr', '{"format":"mesh_refresh.journal","version":1,"out'])
def test_a_journal_of_a_run_that_had_sent_nothing_is_removed(cli: Cli, content: str) -> None:
    source = cli.payload(cli.served.fake.login("coinbase"))
    cli.write("payload.json.journal", content)
    assert cli("refresh", source, "-o", source).code == Exit.REFRESHED
    assert [path.name for path in cli.folder.iterdir()] == [source.name]


def test_another_file_by_the_name_of_the_journal_stays(cli: Cli) -> None:
    source = cli.payload(cli.served.fake.login("coinbase"))
    other = cli.write("payload.json.journal", "a diary\n")
    refused(cli, source, "-o", source, says=f"{other} is in the way")
    assert other.read_text() == "a diary\n"


def test_copies_of_a_run_that_was_killed_are_removed_and_others_named(cli: Cli) -> None:
    source = cli.payload(cli.served.fake.login("coinbase"))
    copy = cli.write(".payload.json.0123abcd.new", source.read_text()[:20])
    other = cli.write(".payload.json.0123abce.new", "something else")
    ran = cli("refresh", source, "-o", source)
    assert ran.code == Exit.REFRESHED
    assert not copy.exists()
    assert other.exists()
    assert str(other) in ran.err


# How much is written.


@pytest.mark.parametrize("are_one_login", [False, True])
def test_what_is_written_grows_with_the_accounts_and_not_with_their_square(cli: Cli, are_one_login: bool) -> None:
    """All of the output after each of 10,000 accounts took an hour."""
    written = dict[int, int]()
    for number in (10, 80):
        sizes = list[int]()
        install(lambda step: sizes.append(len(step.arguments[1])) if step.name == "write" else None)  # noqa: B023
        one: dict[str, Any] = {"accounts": number, "sharing": Sharing.PAIR_EACH, "replies_with": Replies.ASKED}
        each = one if are_one_login else {}
        cli.payload(*(cli.served.fake.login("etoro", **each) for _ in range(1 if are_one_login else number)))
        assert cli("refresh", "payload.json", "-q", "-o", f"{number}.json").code == Exit.REFRESHED
        assert not cli.served.lost(*cli.folder.glob("?0.json"))
        written[number] = sum(sizes) // number
    install(lambda step: None)
    assert written[80] < 1.5 * written[10]


def test_outcomes_that_come_together_share_a_sync(cli: Cli) -> None:
    """Twenty exchanges at once do not wait for twenty syncs one after the other."""
    synced = list[Step]()
    fake = cli.served.fake
    cli.payload(*(fake.login("coinbase") for _ in range(20)))
    gate = fake.hold(times=20)
    releasing = asyncio.run_coroutine_threadsafe(_release_when_full(gate, fake), cli.served.loop)
    meets(cli, lambda step: step.name == "fsync", synced.append)
    assert cli("refresh", "payload.json", "-o", "out.json").code == Exit.REFRESHED
    assert len(json.loads(Path("out.json").read_text())) == 20
    releasing.result(90)
    assert len(synced) < 20


async def _release_when_full(gate: Gate, fake: FakeMesh) -> None:
    while fake.max_in_flight < 20:  # noqa: ASYNC110 - the fake has no event for it
        await asyncio.sleep(0)
    gate.release()

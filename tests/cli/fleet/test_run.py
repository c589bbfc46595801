"""`mesh-refresh run`: a worker that ends in order, and says with its exit code what `--once` left."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import NotSaved
from mesh_refresh.cli.fleet.worker.summary import ExchangeCounts
from mesh_refresh.cli.fleet.worker.tally import Tally
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper import BreakerFault as Faults
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.observing import ExchangeEnded, TokensAnswered
from mesh_refresh.stores import Cipher, Row, StoreUnavailable
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import Fault
from mesh_refresh.version import VERSION
from tests.cli.conftest import Process as CliProcess
from tests.cli.fleet.conftest import OpenFleet, read_until
from tests.cli.test_codes import person


def test_once_refreshes_what_is_due(fleet: OpenFleet) -> None:
    for number in range(60):
        fleet.add(f"user-{number}")
    ran = fleet.once()
    assert ran.code == 0
    assert ran.err.endswith("mesh-refresh: 60 accounts refreshed.\n")
    assert not fleet.lost()
    assert fleet.once("-q").err == ""
    assert fleet.once().err.endswith("mesh-refresh: nothing was left to refresh.\n")
    assert len(fleet.fake.requests) == 60


def test_once_finishes_under_a_bounded_rate(fleet: OpenFleet) -> None:
    for number in range(12):
        fleet.add(f"user-{number}")
    assert fleet.once("--rate", "50", "--concurrency", "2").code == 0
    assert len(fleet.fake.requests) == 12
    assert fleet.fake.max_in_flight <= 2


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        (Fault.throttle(), Exit.TRY_AGAIN, "exchanges held back (throttled)"),
        (Fault.server_error(), Exit.TRY_AGAIN, "1 to be retried"),
        (Fault.refuse(), Exit.TRY_AGAIN, "1 to be retried"),
        (Fault.client_refused(), Exit.KEYS_REFUSED, "exchanges held back (client_refused)"),
        (Fault.all()["status 403"], Exit.KEYS_REFUSED, "1 to be retried"),
        (Fault.all()["redirect 302"], Exit.REJECTED, "exchanges held back (redirected)"),
        (Fault.all()["problem 400"], Exit.REJECTED, "1 to be retried"),
        (Fault.all()["broken json"], Exit.UNREADABLE, "1 with an unreadable reply"),
    ],
)
def test_what_once_left_is_an_exit_code(fleet: OpenFleet, fault: Fault, code: Exit, told: str) -> None:
    fleet.add("user-7")
    fleet.fake.fail(fault)
    ran = fleet.once()
    assert ran.code == code
    assert told in ran.err


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (
            Fault.client_refused(),
            "client_refused: Mesh refuses the keys. No token was spent.",
        ),
        (
            Fault.all()["redirect 302"],
            "redirected: the server redirects to another address. No token was spent.",
        ),
        (Fault.all()["status 403"], "ask Mesh which permissions the keys have"),
        (Fault.all()["problem 400"], "Check MESH_BASE_URL and proxies"),
        (Fault.throttle(), "Run it again later, perhaps with --rate"),
    ],
)
def test_all_that_a_fault_held_back_is_counted_and_it_is_said_what_to_do(
    fleet: OpenFleet, fault: Fault, advice: str
) -> None:
    """Those with a request out when it came are put off for some seconds, and still to be refreshed."""
    for number in range(17):
        fleet.add(f"user-{number}")
    fleet.fake.fail(fault, times=None)
    ran = fleet.once()
    assert "0 accounts refreshed" in ran.err
    assert "17 logins still due." in ran.err
    assert advice in ran.err.splitlines()[-1]


def test_the_help_has_every_code_that_it_ends_with(fleet: OpenFleet) -> None:
    """That of a store that does not open, of tokens that could not be written, and of a wrong command line, too."""
    told = {int(code) for code in re.findall(r"^ {2,}(\d+)  ", fleet("run", "--help").out, re.MULTILINE)}
    waits_by_itself, beside_130 = {Exit.UNKNOWN, Exit.NOT_IN_REPLY}, {Exit.HUNG_UP, Exit.TERMINATED}
    assert told == {*Exit} - waits_by_itself - beside_130
    ends = {fleet.once("--store", "a:b").code, fleet.once("--plaintext").code, fleet.once("--store", "no/such.db").code}
    for name, fault in Fault.all().items():
        if "delay" not in name:
            login = fleet.add(f"user {name}")
            fleet.fake.fail(fault, login=login.id)
            ends.add(fleet.once("-q").code)
    assert ends <= told
    assert len(ends) > 5


def test_every_fault_has_its_advice() -> None:
    tally = Tally(faults=set(Faults))
    assert [line.partition(":")[0] for line in tally.advise()] == [fault.value for fault in Faults]


def test_what_is_still_due_is_not_counted_twice() -> None:
    """A login that was claimed and given back untouched is due as it was."""
    tally = Tally(faults={Faults.THROTTLED}, told={"user-0", "user-1"})
    tally.count_claimed(5)
    assert tally.count_still_due(before=10, left=5) == 8
    assert tally.count_still_due(before=10, left=8) == 8
    assert tally.count_still_due(before=2, left=0) == 0, "somebody else has refreshed them meanwhile"
    assert Tally().count_still_due(before=10, left=3) == 3


def test_a_code_that_is_needed_is_an_exit_code(fleet: OpenFleet) -> None:
    fleet.add("user-7", "vanguard", mfa=True)
    fleet.add("user-8")
    ran = fleet.once()
    assert ran.code == Exit.CODE_NEEDED
    assert "1 account refreshed, 1 waiting for a code" in ran.err
    assert fleet.once().code == 0, "it is told once: now nothing is due"


def test_tokens_that_are_refused_for_good_are_an_exit_code(fleet: OpenFleet) -> None:
    """Asked twice: the first time was a while ago."""
    fleet.add("user-7").revoke()

    async def refused_once(store: SqliteStore) -> None:
        policy = Policy(resend_after=timedelta(), confirm_after=timedelta(), backoff=timedelta(microseconds=1))
        async with fleet.fake.client() as mesh, Keeper(mesh, store, policy=policy, background=False) as keeper:
            await keeper.refresh_due()

    fleet.store(refused_once)
    ran = fleet.once()
    assert ran.code == Exit.RECONNECT
    assert "1 to be logged in again by the person" in ran.err
    assert fleet.listed()[0]["reason"] == "refused"
    assert "To be logged in again by the person: 1." in fleet("status").out


def test_what_is_paused_is_left(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    fleet("pause", "coinbase")
    ran = fleet.once()
    assert ran.code == Exit.TRY_AGAIN
    assert "1 login still due" in ran.err
    assert ran.err.endswith("mesh-refresh: coinbase is paused: mesh-refresh resume coinbase\n")
    fleet("pause", "--all")
    assert fleet.once().err.endswith("mesh-refresh: all brokers are paused: mesh-refresh resume --all\n")
    fleet("resume", "--all")
    fleet("resume", "coinbase")
    assert fleet.once().code == 0


def test_a_lease_is_made_to_fit_a_long_deadline(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert fleet.once("--deadline", "10m").code == 0
    ran = fleet.once("--deadline", "10s", "--lease", "5s")
    assert ran.code == Exit.INVALID
    assert "--lease must be longer than the client's --deadline" in ran.err


# Signals.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_a_worker(fleet: OpenFleet, number: int) -> None:
    """What was sent is finished and written; that is how it is meant to end."""
    fleet.add("user-7")
    gate = fleet.fake.hold(after_rotation=True)
    with fleet.start() as process:
        fleet.cli.served.wait(gate.entered.wait())
        for told in (signal.Signals(number).name, "still waiting", "still waiting"):
            process.send_signal(number)
            read_until(process, told)
        fleet.cli.served.release(gate)
        _, err = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "the worker has stopped; all results are in the store" in err
    assert not fleet.lost()


def test_once_tells_a_signal_in_its_exit_code(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    gate = fleet.fake.hold(after_rotation=True)
    with fleet.start("--once") as process:
        fleet.cli.served.wait(gate.entered.wait())
        for told in ("interrupted", "still waiting"):
            process.send_signal(signal.SIGTERM)
            read_until(process, told)
        fleet.cli.served.release(gate)
        process.communicate(timeout=90)
    assert process.returncode == Exit.TERMINATED
    assert not fleet.lost()


def test_a_worker_takes_up_what_is_imported_beside_it(fleet: OpenFleet) -> None:
    assert fleet("migrate").code == 0
    with fleet.start() as process:
        read_until(process, "the worker has started")
        fleet.add("user-7")
        read_until(process, "AccountRefreshed of login user-7")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)
    assert process.returncode == 0
    assert not fleet.lost()


@pytest.mark.once
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_worker_that_was_killed_is_followed_by_another(fleet: OpenFleet) -> None:
    """Killed with a request out that the broker never worked on: after lease and settling it is sent again."""
    fleet.add("user-7")
    gate = fleet.fake.hold()
    fast = ("--deadline", "500ms", "--lease", "1s", "--resend-after", "100ms")
    with fleet.start(*fast) as process:
        fleet.cli.served.wait(gate.entered.wait())
        process.kill()
        process.communicate(timeout=90)
    fleet.fake.heal()
    with fleet.start(*fast) as process:
        read_until(process, "AccountRefreshed of login user-7")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)
    fleet.cli.served.release(gate)
    assert not fleet.lost()


# The spool.


class Failing(SqliteStore):
    """Takes no new tokens."""

    tries = 0
    tried_again: asyncio.Event

    async def swap(self, row: Row, **options: Any) -> bool:
        self.tries += 1
        if self.tries == 2:
            self.tried_again.set()
        raise StoreUnavailable


def spool_something(fleet: OpenFleet) -> None:
    """A keeper's life in which the store takes no new tokens."""

    async def life() -> None:
        policy = Policy(drain=timedelta())
        store = Failing.open(fleet.file, cipher=Cipher([fleet.key]))
        store.tried_again = asyncio.Event()
        async with store, fleet.fake.client() as mesh:
            with pytest.raises(NotSaved):
                async with Keeper(mesh, store, policy=policy, spool="fleet.db.spool"):
                    await store.tried_again.wait()

    asyncio.run(life())


def in_spool() -> list[str]:
    return sorted(path.suffix for path in Path("fleet.db.spool").iterdir())


def test_what_an_earlier_life_could_not_write_is_taken_up(fleet: OpenFleet) -> None:
    """From the folder beside the store."""
    fleet.add("user-7")
    spool_something(fleet)
    assert fleet.lost()
    assert in_spool() == [".settlement"]
    assert fleet.once().code == 0
    assert not fleet.lost()
    assert not in_spool()


def test_a_removed_login_leaves_nothing_in_the_spool(fleet: OpenFleet) -> None:
    """Its new tokens are live: forgotten means there too. Those of others stay."""
    fleet.add("user-7")
    spool_something(fleet)
    fleet.add("user-8")
    assert "removed: user-8." in fleet("remove", "user-8", "--yes").err
    assert in_spool() == [".settlement"]
    assert "removed: user-7, with 1 file of the spool." in fleet("remove", "user-7", "--yes").err
    assert not in_spool()
    assert "does not have" not in fleet.once().err


def test_nor_does_it_leave_what_a_crash_left_under_its_first_name(fleet: OpenFleet) -> None:
    """It was whole, and not renamed yet: the next start would have read it."""
    fleet.add("user-7")
    spool_something(fleet)
    (whole,) = Path("fleet.db.spool").iterdir()
    whole.rename(whole.with_name(".new-abc"))
    assert "with 1 file of the spool." in fleet("remove", "user-7", "--yes").err
    assert not list(Path("fleet.db.spool").iterdir())


def test_what_was_set_aside_can_be_removed_later(fleet: OpenFleet) -> None:
    """The login went by another way, and a worker found no place for its new tokens."""
    fleet.add("user-7")
    spool_something(fleet)
    fleet.store(lambda store: store.delete("user-7"))
    assert "new tokens are of a login that the store does not have" in fleet.once().err
    assert in_spool() == [".orphan"]
    assert fleet("remove", "user-8", "--yes").code == Exit.INVALID
    with person(fleet.cli, "remove", "user-7") as somebody:
        somebody.sees(r"Delete user-7 \(in the spool only\) and its tokens\?")
        somebody.types("y")
        somebody.leaves()
        assert somebody.process.returncode == 0
    assert not in_spool()
    assert fleet("remove", "user-7", "--yes").code == Exit.INVALID


def test_what_was_set_aside_is_taken_up_by_the_right_store(fleet: OpenFleet) -> None:
    """Renamed, as the docs say: the login that it belongs to is back, from a backup say."""
    fleet.add("user-7")
    spool_something(fleet)
    row = fleet.store(lambda store: store.read("user-7"))
    assert row is not None
    fleet.store(lambda store: store.delete("user-7"))
    fleet.once()
    (orphan,) = Path("fleet.db.spool").iterdir()
    orphan.rename(orphan.with_suffix(".settlement"))
    fleet.store(lambda store: store.insert(row))
    assert fleet.lost()
    assert fleet.once().code == 0
    assert not fleet.lost()
    assert not in_spool()


def test_files_of_the_spool_that_do_not_open_are_told(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    Path("fleet.db.spool").mkdir()
    Path("fleet.db.spool/one.orphan").write_bytes(Cipher([Cipher.generate_key()]).seal("something", "spool"))
    Path("fleet.db.spool/two.orphan").write_bytes(Cipher([fleet.key]).seal("something", "spool"))
    ran = fleet("remove", "user-7", "--yes")
    assert ran.code == 0
    assert "2 files of the spool cannot be opened with these keys" in ran.err
    assert in_spool() == [".orphan", ".orphan"]


# What it logs.


def test_the_log_in_json(fleet: OpenFleet) -> None:
    """All of standard error, and nothing secret in it."""
    fleet.add("user-7")
    fleet.add("user-8", "vanguard", mfa=True)
    ran = fleet.once("--log-json")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    told = {(line["event"], line["login_id"], line["broker"]) for line in lines if "event" in line}
    assert told == {("AccountRefreshed", "user-7", "coinbase"), ("MfaNeeded", "user-8", "vanguard")}
    assert lines[-1]["message"] == "1 account refreshed, 1 waiting for a code."


def test_the_log_for_a_person_is_a_line_an_event(fleet: OpenFleet) -> None:
    fleet.add("user\n7")
    ran = fleet.once()
    _, first, last = ran.err.splitlines()
    assert "INFO AccountRefreshed of login user 7" in first
    assert "broker=coinbase" in first
    assert last == "mesh-refresh: 1 account refreshed."


def test_a_worker_says_first_what_it_works_with(fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the store is opened, and without a password. Of the policy: what differs from the defaults."""
    fleet.add("user-7")
    first, *_ = fleet.once("--rate", "5", "--lease", "4m").err.splitlines()
    host = fleet.fake.base_url.removeprefix("http://")
    assert f"mesh-refresh {VERSION} begins role=run host={socket.gethostname()} pid={os.getpid()}" in first
    assert f" store={fleet.file} mesh={host} spool={fleet.file}.spool policy=lease=240s, rate=5.0 " in first
    first, *_ = fleet.once("--log-json").err.splitlines()
    assert json.loads(first)["policy"] is None
    monkeypatch.setenv("MESH_REFRESH_STORE", "postgresql://me:fake-secret@127.0.0.1:9/fleet")
    ran = fleet.once()
    assert "fake-secret" not in ran.err
    assert re.search(r"store=\S*127.0.0.1\S*", ran.err)


def test_summaries_are_of_what_came_since() -> None:
    """And of nothing where nothing came; at the end of all, also of nothing."""
    counts = ExchangeCounts(100.0)
    assert counts.sum_up(160.0) is None
    assert counts.sum_up_all(160.0) == ("no exchange in the 60 s of this run", {})
    for outcome in ("throttled", "refreshed", "refreshed"):
        counts.observe(ExchangeEnded("coinbase", outcome, 1.0, 1))
    counts.observe(TokensAnswered("store", 0.0))
    assert counts.sum_up(220.0) == ("exchanges of the last 60 s", {"refreshed": 2, "throttled": 1})
    assert counts.sum_up(280.0) is None
    counts.observe(ExchangeEnded("etoro", "refreshed", 1.0, 1))
    assert counts.sum_up(370.0) == ("exchanges of the last 90 s", {"refreshed": 1})
    assert counts.sum_up_all(7300.0) == ("exchanges in the 2 h of this run", {"refreshed": 3, "throttled": 1})


@pytest.mark.once
def test_a_quiet_worker_sums_up_now_and_then_and_at_its_end(fleet: OpenFleet) -> None:
    """In place of a line an account."""
    fleet.add("user-7")
    fleet.add("user-8", "vanguard", mfa=True)
    program = "import sys; from mesh_refresh.cli.fleet.worker import run; from mesh_refresh.cli import main; "
    program += "run._EVERY = 0.05; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, "run", "-q", "--poll", "20ms"]
    with CliProcess(command, cwd=fleet.cli.folder, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        seen = read_until(worker, "mfa_required=1")
        worker.send_signal(signal.SIGTERM)
        assert worker.stderr is not None
        last = worker.stderr.read()
    assert worker.returncode == 0
    assert re.search(r"INFO exchanges of the last \d+ s ", seen)
    assert "user-" not in seen + last
    (line,) = last.splitlines()
    assert "of this run refreshed=1 mfa_required=1" in line


def test_quiet_leaves_the_warnings(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    fleet.fake.fail(Fault.throttle())
    ran = fleet.once("-q")
    assert "WARNING exchanges of coinbase are held back" in ran.err
    fleet.add("user-8")
    assert "INFO" not in fleet.once("-q").err


def test_logging_is_as_it_was_afterwards(fleet: OpenFleet) -> None:
    import logging

    before = (list(logging.getLogger().handlers), logging.getLogger("mesh_refresh").level)
    fleet.once()
    assert (list(logging.getLogger().handlers), logging.getLogger("mesh_refresh").level) == before


def test_an_error_in_the_log_is_its_class_and_place(fleet: OpenFleet) -> None:
    import logging

    from mesh_refresh.cli.fleet.support.logs import logging_to_stderr

    for as_json in (True, False):
        with logging_to_stderr(as_json=as_json, quiet=False):
            try:
                raise RuntimeError("planted-secret\n")
            except RuntimeError:
                logging.getLogger("anybody").exception("it failed")
        err = fleet.cli.capsys.readouterr().err
        assert err.count("\n") == 1
        assert "RuntimeError" in err
        assert "test_run.py:" in err
        assert "planted-secret" not in err
    assert sys.stderr is not None

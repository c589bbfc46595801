"""`mesh-refresh status` and `mesh-refresh logins`: what a fleet is like, and nothing secret."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import pytest

from mesh_refresh.cli.fleet.support.tables import show
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper import Process
from mesh_refresh.keeper.reporting.documents import report_of
from mesh_refresh.stores import Cipher
from mesh_refresh.testing import Fault
from mesh_refresh.version import VERSION
from tests.cli.fleet.conftest import OpenFleet

pytestmark = pytest.mark.once
DISK = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
SHELL = pytest.mark.skipif(os.name != "posix", reason="a shell that closes it")

SPREAD = {"obtained_at": datetime.now(UTC).isoformat()}


@pytest.fixture
def mixed(fleet: OpenFleet) -> OpenFleet:
    """Of each state one, and three that are well."""
    for number in range(3):
        fleet.add(f"well-{number}", "etoro", accounts=2 if number == 0 else 1)
    fleet.add("code", "vanguard", mfa=True)
    odd = fleet.add("odd")
    fleet.fake.fail(Fault.all()["broken json"], login=odd.id)
    link = {"brokerType": "coinbase", "expiresInSeconds": 3600, "accountTokens": [{"accessToken": "fake-access-only"}]}
    fleet("import", "-q", "-", stdin=json.dumps({"login": "short", "payload": link, **SPREAD}))
    assert fleet.once("-q").code == Exit.UNREADABLE
    return fleet


def test_counts_by_broker_and_state(mixed: OpenFleet) -> None:
    ran = mixed("status")
    assert ran.code == 0
    table = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines() if line}
    assert table["broker"] == (
        [
            "logins",
            "active",
            "mfa_required",
            "reconnect_required",
            "unreadable",
            "not_refreshable",
            "managed",
            "expired",
            "due",
        ]
    )
    assert table["coinbase"][:7] == ["2", "0", "0", "0", "1", "1", "0"]
    assert table["etoro"][:7] == ["3", "3", "0", "0", "0", "0", "0"]
    assert table["vanguard"][:7] == ["1", "0", "1", "0", "0", "0", "0"]
    assert table["all"][:7] == ["6", "3", "1", "0", "1", "1", "0"]
    assert "Waiting for an MFA code: 1. Next: mesh-refresh mfa LOGIN" in ran.out
    assert "With an unreadable reply: 1. Next: mesh-refresh salvage LOGIN" in ran.out


def test_managed_logins_are_imported_counted_and_listed(fleet: OpenFleet) -> None:
    """What Mesh manages is neither due nor expired, whatever end it was imported with, and a worker sends nothing."""
    link = {"brokerType": "coinbase", "expiresInSeconds": 1, "accountTokens": [{"tokenId": "fake-id"}]}
    line = {"login": "managed", "payload": link, "obtained_at": "2020-01-01T00:00:00Z"}
    assert fleet("import", "-q", "-", stdin=json.dumps(line)).code == 0
    assert fleet.once("-q").code == 0
    assert not fleet.fake.requests
    document = json.loads(fleet("status", "--json").out)
    assert (document["states"]["managed"], document["expired"], document["due"]) == (1, 0, 0)
    assert "Next:" not in fleet("status").out
    found = json.loads(fleet("logins", "--state", "managed", "--json").out)
    assert (found["login"], found["state"], found["due_at"]) == ("managed", "managed", None)


def test_status_in_json(mixed: OpenFleet) -> None:
    document = json.loads(mixed("status", "--json").out)
    assert document["logins"] == 6
    assert document["states"]["active"] == 3
    assert document["brokers"]["vanguard"]["states"]["mfa_required"] == 1
    assert document["paused"] == []
    assert document["due"] == 0
    assert document["leased"] == 0


def test_status_tells_what_is_late_and_paused(fleet: OpenFleet) -> None:
    assert "no logins" in fleet("import", "-", stdin="").out + fleet("status").out
    fleet.add("user-7")
    fleet("pause", "coinbase")
    ran = fleet("status")
    assert "Paused: coinbase." in ran.out
    assert "Most overdue:" in ran.out
    document = json.loads(fleet("status", "--json").out)
    assert document["due"] == 1
    assert document["expired"] == 1
    assert document["paused"] == ["coinbase"]
    assert document["late_seconds"] > timedelta(days=365).total_seconds()
    fleet("pause", "--all")
    assert "All brokers are paused" in fleet("status").out


def test_status_names_the_processes_of_the_fleet(fleet: OpenFleet) -> None:
    """A worker that runs, and one that has told nothing for two minutes, as after kill -9."""
    fleet.add("user-7")
    assert "No worker runs now. Next: mesh-refresh run" in fleet("status").out
    assert json.loads(fleet("status", "--json").out)["processes"] == []
    with fleet.start("-q") as worker:
        while not (found := json.loads(fleet("status", "--json").out)["processes"]):
            assert worker.poll() is None
        (process,) = found
        assert (process["host"], process["pid"], process["role"]) == (socket.gethostname(), worker.pid, "run")
        assert (process["silent"], process["version"]) == (False, VERSION)
        assert process["since"] <= process["last_report"]
        gone = Process("gone", "serve", datetime.now(UTC) - timedelta(minutes=2), "0.0.9", host="old\nhost", pid=7)
        fleet.store(lambda store: store.registry.put_report(report_of(store.cipher, gone)))
        listed = [line.split() for line in fleet("status").out.splitlines()]
        assert ["host", "pid", "role", "since", "last_report", "version", "state"] in listed
        alive, silent = (line for line in listed if line[-1:] in (["alive"], ["silent"]))
        assert (alive[1], alive[-1]) == (str(worker.pid), "alive")
        assert (silent[:4], silent[-2:]) == (["old", "host", "7", "serve"], ["0.0.9", "silent"])
        worker.send_signal(signal.SIGTERM)
    assert [it["pid"] for it in json.loads(fleet("status", "--json").out)["processes"]] == [7]


def test_a_process_of_other_keys_is_listed_as_far_as_it_can_be_read(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    other = report_of(Cipher([Cipher.generate_key()]), Process("other", "serve", datetime.now(UTC), "1.0", host="h"))
    fleet.store(lambda store: store.registry.put_report(other))
    (process,) = json.loads(fleet("status", "--json").out)["processes"]
    assert (process["role"], process["silent"], process["host"], process["pid"]) == ("serve", False, None, None)
    assert "No worker runs now" in fleet("status").out


WRITING = [
    ("status",), ("status", "--json"), ("logins",), ("logins", "--json"), ("key", "generate"), ("--help",),
    ("--version",), ("sandbox", "--port", "0"),
]  # fmt: skip
NOT_WRITTEN = "mesh-refresh: Standard output cannot be written: {}. What the command has done stays done.\n"


def written_to(output: TextIO | None, fleet: OpenFleet, *command: str) -> tuple[int, str]:
    """How `command` ends in this process with `output` for its standard output, and what it says."""
    with fleet.cli.monkeypatch.context() as instead:
        instead.setattr(sys, "stdout", output)
        ran = fleet(*command)
    return ran.code, ran.err


@pytest.fixture(params=["buffered", "unbuffered"])
def full(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    """A disk that is always full, as Python opens it for standard output, and with ``PYTHONUNBUFFERED``."""
    unbuffered = request.param == "unbuffered"
    raw = io.FileIO("/dev/full", "w")
    output = io.TextIOWrapper(raw if unbuffered else io.BufferedWriter(raw), write_through=unbuffered)
    yield output
    with suppress(OSError):
        output.close()  # writes once more


@DISK
@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_is_full_is_no_bug(fleet: OpenFleet, command: tuple[str, ...], full: TextIO) -> None:
    fleet.add("user-7")
    assert written_to(full, fleet, *command) == (Exit.FAILED, NOT_WRITTEN.format("No space left on device"))


@DISK
@pytest.mark.parametrize(("command", "unbuffered"), [(("status",), ""), (("sandbox", "--port", "0"), "1")])
def test_python_does_not_complain_of_it_at_its_end(fleet: OpenFleet, command: tuple[str, ...], unbuffered: str) -> None:
    """In a process of its own."""
    fleet.add("user-7")
    fleet.cli.monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("w") as output, fleet.cli.start(*command, stdout=output) as process:
        _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (Exit.FAILED, NOT_WRITTEN.format("No space left on device"))


def test_a_table_that_says_it_all_is_all(fleet: OpenFleet) -> None:
    """An empty line parts it from sentences, where there are any."""
    fleet.add("user-7")
    assert fleet("status").out.count("\n\n") == 1
    fleet.once()
    ran = fleet("status")
    assert [line.split()[0] for line in ran.out.removesuffix("\n").split("\n")] == ["broker", "coinbase"]


def closed_output(*command: str) -> tuple[int, str]:
    """How `command` ends in a process of its own whose standard output is closed, and what it says."""
    ran = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -m mesh_refresh "$@" >&-', sys.executable, *command],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, timeout=90,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_is_closed_is_told(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    """A key that nobody got is no success."""
    fleet.add("user-7")
    assert written_to(None, fleet, *command) == (Exit.FAILED, NOT_WRITTEN.format("standard output is closed"))


@SHELL
@pytest.mark.parametrize("command", [("status",), ("key", "generate")])
def test_a_file_does_not_take_the_place_of_a_closed_output(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    """In a process of its own, where the next file that is opened would be standard output."""
    fleet.add("user-7")
    assert closed_output(*command) == (Exit.FAILED, NOT_WRITTEN.format("standard output is closed"))


def test_a_body_that_nobody_gets_is_no_success(mixed: OpenFleet) -> None:
    """It may hold the only live token; the store still has it."""
    with mixed.cli.monkeypatch.context() as closed:
        closed.setattr(sys, "stdout", None)
        ran = mixed("salvage", "odd", "--show")
    assert ran.code == Exit.FAILED
    assert "Standard output cannot be written: standard output is closed." in ran.err
    assert mixed("salvage", "odd", "--show", secret=True).out


@SHELL
def test_what_writes_nothing_needs_no_output(fleet: OpenFleet) -> None:
    """As a service's manager may start it."""
    fleet.add("user-7")
    assert closed_output("run", "--once")[0] == Exit.REFRESHED
    for command in (("pause", "coinbase"), ("resume", "coinbase"), ("key", "reseal")):
        assert written_to(None, fleet, *command)[0] == Exit.REFRESHED
    assert fleet.fake.requests
    assert not fleet.lost()
    assert closed_output("remove", "user-7", "--yes")[0] == Exit.REFRESHED


def test_an_output_that_is_only_read_is_told(fleet: OpenFleet) -> None:
    """As with ``1</dev/null``: Python takes it for open."""
    fleet.add("user-7")
    with Path(os.devnull).open() as unwritable, fleet.cli.start("status", stdout=unwritable) as process:
        _, err = process.communicate(timeout=90)
    assert process.returncode == Exit.FAILED
    assert "Standard output cannot be written: Bad file descriptor." in err


def test_a_line_for_each_account(mixed: OpenFleet) -> None:
    ran = mixed("logins")
    assert ran.code == 0
    head, *lines = ran.out.splitlines()
    assert head.split() == ["login", "broker", "account", "state", "reason", "expires", "due", "failures", "changed"]
    assert [line.split()[0] for line in lines] == ["code", "odd", "short", "well-0", "well-0", "well-1", "well-2"]
    assert "unreadable" in lines[1]


def test_logins_in_json(mixed: OpenFleet) -> None:
    by_id = {it["login"]: it for it in mixed.listed()}
    assert by_id["code"]["pending_id"]
    assert by_id["code"]["needs_code"]
    assert by_id["odd"]["reason"] == "unreadable"
    assert by_id["short"]["state"] == "not_refreshable"
    well = by_id["well-1"]
    assert (well["broker"], well["state"], well["failures"]) == ("etoro", "active", 0)
    assert datetime.fromisoformat(well["due_at"]) < datetime.fromisoformat(well["expires_at"])
    assert "fake-access-only" not in mixed("logins", "--json").out


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--state", "mfa_required"], ["code"]),
        (["--state", "active"], ["well-0", "well-0", "well-1", "well-2"]),
        (["--broker", "coinbase"], ["odd", "short"]),
        (["--broker", "coinbase", "--state", "unreadable"], ["odd"]),
        (["--after", "short"], ["well-0", "well-0", "well-1", "well-2"]),
        (["--after", "short", "--limit", "1"], ["well-0", "well-0"]),
        (["--changed-since", "1h", "--limit", "2"], ["code", "odd"]),
        (["--changed-since", "2100-01-01T00:00:00Z"], []),
        (["--state", "reconnect_required"], []),
    ],
)
def test_filters(mixed: OpenFleet, options: list[str], ids: list[str]) -> None:
    assert [it["login"] for it in mixed.listed(*options)] == ids


def test_with_a_state_only_the_accounts_in_it_are_listed(fleet: OpenFleet) -> None:
    fleet.add("user-7", "vanguard", accounts=3, mfa=True)
    fleet.once("-q")
    assert len(fleet.listed("--state", "mfa_required")) < len(fleet.listed()) == 3


def test_a_table_that_is_cut_says_how_to_go_on(mixed: OpenFleet) -> None:
    ran = mixed("logins", "--limit", "2")
    assert len(ran.out.splitlines()) == 3
    assert "there are more: --after odd" in ran.err
    assert mixed("logins", "--limit", "6").err == ""
    assert "no login matches" in mixed("logins", "--after", "z").err


def test_a_terminal_gets_whole_ids_however_narrow_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is cut could not be copied; and rich's markup in an id is text like any other."""
    long = "[bold]user-" + "7" * 120
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    show(["login", "not_refreshable"], [[long, 3], ["user-8", None]], numbers=["not_refreshable"])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert [line.split() for line in lines] == [["not"], ["login", "refreshable"], [long, "3"], ["user-8", "-"]]


def test_pages_are_put_together(fleet: OpenFleet) -> None:
    fleet.cli.monkeypatch.setattr("mesh_refresh.cli.fleet.logins.list_logins._PAGE", 2)
    for number in range(5):
        fleet.add(f"user-{number}")
    assert [it["login"] for it in fleet.listed()] == [f"user-{number}" for number in range(5)]
    assert [it["login"] for it in fleet.listed("--limit", "3")] == ["user-0", "user-1", "user-2"]


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00", "planted-secret", "99999999d"])
def test_what_is_no_time_is_refused(fleet: OpenFleet, since: str) -> None:
    ran = fleet("logins", "--changed-since", since)
    assert ran.code == Exit.INVALID
    assert "planted-secret" not in ran.err


def test_ids_cannot_steer_a_terminal(fleet: OpenFleet) -> None:
    fleet.add("user\x1b[2J\n7")
    for command in (("logins",), ("logins", "--json"), ("status",)):
        assert "\x1b" not in fleet(*command).out
    assert len(fleet("logins").out.splitlines()) == 2
    assert fleet.listed()[0]["login"] == "user\x1b[2J\n7"

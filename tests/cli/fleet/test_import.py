"""`mesh-refresh import`: repeatable, resumable, and nothing of what it reads is shown."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mesh_refresh import Tokens
from mesh_refresh.cli.terminal.exit_codes import Exit
from tests.cli.fleet.conftest import LONG_AGO, OpenFleet, read_until


def test_links_payloads_become_logins_that_a_worker_refreshes(fleet: OpenFleet) -> None:
    text = "".join(fleet.line(f"user-{it}", fleet.fake.login("coinbase")) for it in range(3))
    text += fleet.line("user-w", fleet.fake.login("weBull")) + fleet.line(
        "user-e", fleet.fake.login("etoro", accounts=3)
    )
    ran = fleet("import", "-", stdin=text)
    assert ran.code == 0
    assert ran.err == "mesh-refresh: 5 logins read: 5 added, 0 already known.\n"
    assert ran.out == ""
    assert fleet.once("-q").code == 0
    assert not fleet.lost()
    assert set(fleet.states().values()) == {"active"}
    assert len(fleet.login("user-e").accounts) == 3


def test_importing_again_changes_nothing(fleet: OpenFleet) -> None:
    """Also after the worker has spent what the file holds."""
    text = fleet.line("user-7", fleet.fake.login("coinbase"))
    fleet("import", "-", stdin=text)
    assert fleet.once("-q").code == 0
    before = fleet.login("user-7")
    ran = fleet("import", "-", stdin=text)
    assert ran.code == 0
    assert "0 added, 1 already known" in ran.err
    assert fleet.login("user-7") == before
    assert not fleet.lost()


def test_a_bad_line_is_told_with_its_number_and_stops_nothing(fleet: OpenFleet) -> None:
    fleet.add("user-2")
    good = fleet.line("user-1", fleet.fake.login("coinbase"))
    other = fleet.line("user-2", fleet.fake.login("etoro"))
    last = fleet.line("user-3", fleet.fake.login("coinbase"))
    ran = fleet("import", "-", stdin=good + '{"login": "planted-secret"}\nplanted-secret\n' + other + last)
    assert ran.code == Exit.INVALID
    told = re.findall(r"line (\d)", ran.err)
    assert told == ["2", "3", "4"]
    assert "planted-secret" not in ran.err
    assert "2 added, 0 already known, 3 bad" in ran.err
    assert set(fleet.states()) == {"user-1", "user-2", "user-3"}


def test_strict_stops_at_the_first_bad_line(fleet: OpenFleet) -> None:
    """What stands before it is in the store, and what stands behind it is not."""
    text = (
        fleet.line("user-1", fleet.fake.login("coinbase")) + "bad\n" + fleet.line("user-2", fleet.fake.login("etoro"))
    )
    ran = fleet("import", "-", "--strict", stdin=text)
    assert ran.code == Exit.INVALID
    assert "line 2: it is not JSON" in ran.err
    assert set(fleet.states()) == {"user-1"}


def test_many_bad_lines_do_not_fill_the_screen(fleet: OpenFleet) -> None:
    ran = fleet("import", "-", stdin="bad\n" * 1000)
    assert ran.code == Exit.INVALID
    assert ran.err.count("\n") < 30
    assert "1000 bad" in ran.err


def test_a_later_line_of_a_login_counts_more(fleet: OpenFleet) -> None:
    """Exports are often journals."""
    logins = [fleet.fake.login("coinbase") for _ in range(5)]
    fleet("import", "-", stdin="".join(fleet.line("user-7", login) for login in logins))
    assert fleet.account("user-7").tokens.refresh_token == logins[-1].token.refresh_token


def test_accounts_of_one_login_may_come_in_lines_of_their_own(fleet: OpenFleet) -> None:
    login = fleet.fake.login("etoro", accounts=3)
    text = "".join(json.dumps({"login": "user-7", **it.to_document()}) + "\n" for it in login.tokens)
    assert fleet("import", "-", stdin=text).code == 0
    assert len(fleet.login("user-7").accounts) == 3


def test_what_refresh_wrote_is_read(fleet: OpenFleet) -> None:
    login = fleet.fake.login("etoro", accounts=2)
    assert fleet("refresh", fleet.cli.payload(login), "-o", "out.json").code == 0
    assert fleet("import", "out.json").code == 0
    assert len(fleet.listed()) == 2
    assert not fleet.lost()


def test_several_files_and_their_names_in_numbers(fleet: OpenFleet) -> None:
    """The name of what is no file is not repeated: somebody may have pasted a token there."""
    one = fleet.cli.write("one.jsonl", fleet.line("user-1", fleet.fake.login("coinbase")))
    two = fleet.cli.write("two.jsonl", "bad\n" + fleet.line("user-2", fleet.fake.login("coinbase")))
    ran = fleet("import", one, two)
    assert f"line 1 of file 2 ({two}): it is not JSON" in ran.err
    assert set(fleet.states()) == {"user-1", "user-2"}
    for files, which in ([("planted-secret.jsonl",), "The file"], [(one, "planted-secret.jsonl"), "File 2"]):
        ran = fleet("import", *files)
        assert ran.code == Exit.INVALID
        assert f"{which} cannot be read: No such file" in ran.err
        assert "planted-secret" not in ran.err
    two.chmod(0o644)
    assert "other users can read input file 2" in fleet("import", one, two).err


def test_all_files_are_opened_before_anything_is_added(fleet: OpenFleet) -> None:
    one = fleet.cli.write("one.jsonl", fleet.line("user-1", fleet.fake.login("coinbase")))
    assert fleet("import", one, "missing").code == Exit.INVALID
    assert not fleet.file.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_file_that_others_can_read_is_remarked_on(fleet: OpenFleet) -> None:
    file = fleet.cli.write("one.jsonl", fleet.line("user-1", fleet.fake.login("coinbase")))
    assert "chmod" not in fleet("import", file).err
    file.chmod(0o644)
    assert "chmod 600" in fleet("import", file).err


# When they are due.


def test_with_a_time_a_login_is_due_before_it_ends(fleet: OpenFleet) -> None:
    now = datetime.now(UTC)
    fleet("import", "-", stdin=fleet.line("user-7", fleet.fake.login("coinbase"), obtained_at=now.isoformat()))
    account = fleet.account("user-7")
    assert account.tokens.obtained_at == now
    assert account.tokens.expires_at is not None
    assert account.due_at is not None
    assert now < account.due_at < account.tokens.expires_at


def test_without_a_time_it_is_due_at_once_and_its_tokens_are_not_handed_out(fleet: OpenFleet) -> None:
    login = fleet.fake.login("coinbase")
    begin = datetime.now(UTC)
    fleet("import", "-", stdin=json.dumps({"login": "user-7", "payload": login.link_payload()}))
    account = fleet.account("user-7")
    end = datetime.now(UTC)
    assert account.due_at is not None
    assert begin <= account.due_at <= end
    assert account.tokens.expires_at is not None
    assert account.tokens.expires_at <= end
    assert fleet.once("-q").code == 0
    assert len(fleet.fake.requests) == 1


def test_logins_of_a_broker_can_wait_until_somebody_asks(fleet: OpenFleet) -> None:
    """So that moving in asks nobody for a code at night; a misspelt broker is told."""
    lines = [fleet.line(f"user-{name}", fleet.fake.login(name)) for name in ("vanguard", "coinbase")]
    ran = fleet("import", "-", "--on-demand", "Vanguard", "--on-demand", "vangard", stdin="".join(lines))
    assert ran.code == 0
    assert "note: --on-demand vangard: no login of this broker was read." in ran.err
    assert "Vanguard" not in ran.err
    assert fleet.account("user-vanguard").due_at is None
    assert fleet.account("user-vanguard").needs_code
    assert fleet.account("user-coinbase").due_at is not None


def test_all_brokers_can_be_left_to_callers(fleet: OpenFleet) -> None:
    """As with `Keeper.add_many`, the star means every broker, and is no misspelt name."""
    line = fleet.line("user-7", fleet.fake.login("coinbase"))
    ran = fleet("import", "-", "--on-demand", "*", stdin=line)
    assert (ran.code, ran.err) == (0, "mesh-refresh: 1 login read: 1 added, 0 already known.\n")
    assert fleet.once().code == 0
    assert not fleet.fake.requests
    assert fleet("import", "-", "--on-demand", " ", stdin="").code == Exit.INVALID


def test_delayed_authentication_waits_for_its_day(fleet: OpenFleet) -> None:
    login = fleet.fake.login("interactiveBrokers", delayed=True)
    fleet("import", "-", stdin=json.dumps({"login": "user-7", "payload": login.link_payload()}))
    account = fleet.account("user-7")
    assert account.due_at == account.tokens.not_before
    assert fleet.once("-q").code == 0
    assert not fleet.fake.requests


@pytest.mark.parametrize("aged", [True, False])
def test_what_is_due_at_once_is_spread(fleet: OpenFleet, aged: bool) -> None:
    time = {"obtained_at": LONG_AGO} if aged else {"obtained_at": None}
    text = "".join(fleet.line(f"user-{it}", fleet.fake.login("coinbase"), **time) for it in range(60))
    begin = datetime.now(UTC)
    fleet("import", "-", "--spread", "10h", stdin=text)
    hours = {(datetime.fromisoformat(it["due_at"]) - begin) // timedelta(hours=1) for it in fleet.listed()}
    assert hours == set(range(10))


@pytest.mark.parametrize("span", ["1x", "h", "", "-1h", "1h and more", "planted-secret", "9" * 30 + "d"])
def test_a_span_that_is_none_is_refused_without_being_shown(fleet: OpenFleet, span: str) -> None:
    ran = fleet("import", "-", f"--spread={span}")
    assert ran.code == Exit.INVALID
    assert "planted-secret" not in ran.err
    assert not fleet.file.exists()


# Interrupted.


def test_an_interrupted_import_says_where_to_go_on(fleet: OpenFleet) -> None:
    """Standard input is a pipe that does not end: Ctrl-C works there too, and what was read is in the store."""
    lines = "".join(fleet.line(f"user-{it}", fleet.fake.login("coinbase")) for it in range(500))
    more = fleet.line("user-500", fleet.fake.login("coinbase"))
    with fleet.cli.start("import", "-", "-q", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(lines + more + "a bad line\n")
        process.stdin.flush()
        read_until(process, "line 502: ")  # those before are in the store, and it knows
        process.send_signal(signal.SIGINT)
        told = read_until(process, "logins read")
        process.communicate(timeout=90)
    assert process.returncode == Exit.INTERRUPTED
    assert "interrupted after line 500; the store has them so far. Import again, or go on with --from-line 501" in told
    assert "Traceback" not in told
    file = fleet.cli.write("all.jsonl", lines + more)
    ran = fleet("import", file, "--from-line", "501")
    assert "1 login read: 1 added" in ran.err
    assert len(fleet.states()) == 501
    assert fleet("import", file, "--from-line", "502").code == 0, "where an interruption came after the last line"
    ran = fleet("import", file, "--from-line", "503")
    assert ran.code == Exit.INVALID
    assert "--from-line 503 is past the end of the input, which has 501 lines." in ran.err


def test_progress_is_told_by_line(fleet: OpenFleet) -> None:
    fleet.cli.monkeypatch.setattr("mesh_refresh.cli.fleet.logins.import_logins._PROGRESS", 1000)
    documents = (
        {"login": f"user-{it}", "tokens": Tokens("coinbase", f"fake-r-{it}").to_document()} for it in range(2500)
    )
    ran = fleet("import", "-", stdin="".join(json.dumps(it) + "\n" for it in documents))
    assert re.findall(r"line (\d+): (\d+) logins added", ran.err) == [("1000", "1000"), ("2000", "2000")]
    assert "2500 added" in ran.err


def test_a_terminal_is_not_waited_for(fleet: OpenFleet) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    fleet.cli.monkeypatch.setattr(sys, "argv", ["mesh-refresh", "import"])
    fleet.cli.monkeypatch.setattr(sys, "stdin", Terminal())
    from mesh_refresh.cli import main

    assert main() == Exit.INVALID
    assert not Path("fleet.db").exists()

"""The group, and the sandbox."""

import json
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import click
import pytest

import mesh_refresh.cli.app
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import EdgeFault
from tests.cli.conftest import Cli, held


def test_alone_it_prints_its_help(cli: Cli) -> None:
    ran = cli()
    assert ran.code == 0
    assert ran.out == cli("--help").out
    for command in ("demo", "refresh", "sandbox"):
        assert f"mesh-refresh {command}" in ran.out


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """The names of `command` and of every command below it, as they are typed."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):  # what is imported when it is asked for too
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, *names, name)


@pytest.mark.parametrize("names", list(commands(mesh_refresh.cli.app.cli)), ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(cli: Cli, names: tuple[str, ...]) -> None:
    """No line is wider, and no summary of a command is cut."""
    cli.monkeypatch.setenv("COLUMNS", "80")
    ran = cli(*names, "-h")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines[1:] if line.endswith("...")] == []


def test_the_version(cli: Cli) -> None:
    assert re.fullmatch(r"mesh-refresh \S.*\n", cli("--version").out)


def test_a_bug_is_one_line_without_the_text_of_the_exception(cli: Cli) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("fake-refresh-1")

    cli.monkeypatch.setattr("mesh_refresh.cli.refresh.command.read_accounts", broken)
    ran = cli("refresh", "-", stdin="{}")
    assert ran.code == Exit.FAILED
    assert ran.err.startswith("mesh-refresh: RuntimeError at test_app.py:")
    assert "fake-refresh-1" not in ran.err
    assert ran.err.count("\n") == 1


def test_a_bug_after_an_exchange_does_not_cost_its_tokens(cli: Cli) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    cli.monkeypatch.setattr("mesh_refresh.cli.refresh.session.RefreshRun._came", broken)
    ran = cli("refresh", cli.payload(cli.served.fake.login("coinbase")))
    assert ran.code == Exit.FAILED
    assert not cli.served.fake.lost(held(ran.documents))


def test_an_outcome_that_the_book_cannot_place_is_not_lost(cli: Cli) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    cli.monkeypatch.setattr("mesh_refresh.cli.refresh.accounts.Accounts.record", broken)
    ran = cli("refresh", cli.payload(cli.served.fake.login("coinbase")))
    assert ran.code == Exit.NOT_SAVED
    assert not cli.served.fake.lost(held(ran.documents))


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data) as reply:  # noqa: S310 - of a sandbox that this test has started
        return json.load(reply)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_sandbox_serves_until_it_is_told_to_stop(cli: Cli, number: int) -> None:
    """What it prints is enough to make a login, refresh it with this command line, and look at the ledger."""
    with cli.start("sandbox", "--port", "0") as process:
        assert process.stdout is not None
        printed = ""
        while "/sandbox/ledger" not in printed:
            printed += process.stdout.readline()
        found = dict(re.findall(r"^  (MESH_\w+)=(\S+)$", printed, re.MULTILINE))
        for name, value in found.items():
            cli.monkeypatch.setenv(name, value)
        url = found["MESH_BASE_URL"]
        payload = cli.write("payload.json", ask(f"{url}/sandbox/logins", {"broker": "weBull", "accounts": 2}))
        ran = cli("refresh", payload)
        assert ran.code == Exit.REFRESHED
        holding = {"refreshTokens": [tokens.refresh_token for tokens in held(ran.documents)]}
        assert ask(f"{url}/sandbox/lost", holding) == {"lost": []}
        assert ask(f"{url}/sandbox/ledger")["exchanges"] == {"succeeded": 1}
        process.send_signal(number)
        _, err = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "Traceback" not in err


def test_the_sandbox_behind_edges(cli: Cli) -> None:
    """Refreshes meet the faults in turn, by the address that is printed; the sandbox's own routes are not damaged."""
    faults = ("--edge", "no reason", "--edge", "status of two digits + segments of 7")
    with cli.start("sandbox", "--port", "0", *faults) as process:
        assert process.stdout is not None
        printed = ""
        while "/sandbox/ledger" not in printed:
            printed += process.stdout.readline()
        url = re.findall(r"MESH_BASE_URL=(\S+)", printed)[0]
        starts = [begin_of_reply(url) for _ in range(3)]
        assert starts == [b"HTTP/1.1 401\r\n", b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 401\r\n"]
        assert ask(f"{url}/sandbox/ledger")["requests"] == 3
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (0, "Stopped after 3 requests.\n")


def begin_of_reply(url: str) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as reader:
        connection.sendall(b"POST /api/v1/token/refresh HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        return reader.readline()


def test_the_edges_of_the_sandbox_are_listed_by_name(cli: Cli) -> None:
    ran = cli("sandbox", "--edge", "list")
    assert ran.code == 0
    assert [re.split(r"  +", line)[0] for line in ran.out.splitlines()] == list(EdgeFault.all())
    assert "cut at 0".ljust(57) + "gone\n" in ran.out


def test_an_unknown_edge_is_refused_with_names_that_are_close(cli: Cli) -> None:
    ran = cli("sandbox", "--edge", "ICY", "--edge", "folded heder")
    assert ran.code == Exit.INVALID
    assert "'folded heder'. Close to it: folded header" in ran.err


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::1", "mesh.example"])  # noqa: S104 - it is refused
def test_the_sandbox_stays_on_loopback(cli: Cli, host: str) -> None:
    ran = cli("sandbox", "--host", host)
    assert ran.code == Exit.INVALID
    assert "loopback only" in ran.err


def test_a_port_in_use_is_one_line(cli: Cli) -> None:
    ran = cli("sandbox", "--port", str(cli.served.fake.server.port))
    assert ran.code == Exit.FAILED
    assert ran.err.count("\n") == 1
    assert "in use" in ran.err


def test_broken_pipes_are_no_bug(cli: Cli) -> None:
    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    cli.monkeypatch.setattr(mesh_refresh.cli.app.cli, "main", gone)
    stdout = sys.stdout
    try:
        code = mesh_refresh.cli.app.run()
    finally:
        sys.stdout = stdout
    assert code == Exit.FAILED

"""What cannot work is said in one line, before anything is sent."""

import json
import os
from pathlib import Path

import pytest

from mesh_refresh import Tokens
from mesh_refresh.cli.terminal.exit_codes import Exit
from tests.cli.conftest import Cli

GOOD = json.dumps(Tokens("coinbase", "fake-refresh-1").to_document())


def refused(cli: Cli, *arguments: str | Path, stdin: str | bytes = b"", says: str, code: int = Exit.INVALID) -> None:
    ran = cli("refresh", *arguments, stdin=stdin)
    assert ran.code == code
    assert ran.err.count("\n") == 1
    assert says in ran.err
    assert ran.out == ""
    assert not cli.served.fake.requests


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "The input is empty"),
        ("  \n", "The input is empty"),
        ("not json fake-refresh-1", "The input is not JSON"),
        (b"\xff\xfe\x00", "The input is not JSON"),
        ("[" * 100_000, "The input is not JSON"),
        ("17", "it is not a JSON object"),
        ("[]", "The input is an empty array"),
        ("[17]", "(number 1 of the array)"),
        ("{}", "brokerType is missing"),
        ('{"brokerType": "coinbase"}', "holds no token"),
        ('{"brokerType": "coinbase", "accountTokens": []}', "holds no token"),
        ('{"brokerType": "coinbase", "accountTokens": [{"accessToken": ""}]}', "holds no token"),
        ('{"format": "mesh_refresh.tokens", "version": 99}', "update it"),
        ('{"format": "other", "version": 1}', '"format" says otherwise'),
        ('{"format": "mesh_refresh.tokens", "version": 1}', "The broker must be"),
        ('{"format": "mesh_refresh.tokens", "version": 1, "broker": "x", "refresh_token": 7}', "must be a string"),
        ('{"format": "mesh_refresh.mfa_required", "version": 1}', "damaged"),
        (f"[{GOOD}, {{}}]", "(number 2 of the array)"),
        ('{"brokerType": "weBull", "accountTokens": [{"refreshToken": "fake-refresh-1"}]}', "wants the access token"),
        ('{"brokerType": "eTrade", "accountTokens": [{"accessToken": "fake-a"}]}', "no refresh token"),
    ],
)
def test_input_that_will_not_do(cli: Cli, text: str | bytes, says: str) -> None:
    ran = cli("refresh", "-", stdin=text)
    assert ran.code == Exit.INVALID
    assert says in ran.err.splitlines()[0]
    assert len(ran.err.splitlines()) == 1
    assert "fake-" not in ran.err
    assert ran.out == ""
    assert not cli.served.fake.requests


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MESH_CLIENT_ID", "", "MESH_CLIENT_ID must be set"),
        ("MESH_CLIENT_SECRET", "", "MESH_CLIENT_SECRET must be set"),
        ("MESH_CLIENT_SECRET", " padded", "blanks around it"),
        ("MESH_CLIENT_ID", "id\n", "blanks around it"),
        ("MESH_BASE_URL", "ftp://mesh.example", "must begin with https://"),
        ("MESH_BASE_URL", "http://mesh.example", "would show every token"),
    ],
)
def test_an_environment_that_will_not_do(cli: Cli, name: str, value: str, says: str) -> None:
    cli.monkeypatch.setenv(name, value)
    refused(cli, stdin=GOOD, says=says)


def test_a_sandbox_secret_does_not_go_to_production(cli: Cli) -> None:
    cli.monkeypatch.setenv("MESH_CLIENT_SECRET", "sk_sand_1")
    refused(cli, "--base-url", "https://integration-api.meshconnect.com", stdin=GOOD, says="sandbox client secret")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("missing/out.json", "No such file or directory"),
        (".", "is a directory"),
        ("full.json", "only copy of live tokens"),
        ("full.json/out.json", "Not a directory"),
        ("/dev/null", "no ordinary file"),
    ],
)
def test_an_output_that_cannot_be_written_is_found_first(cli: Cli, output: str, says: str) -> None:
    cli.write("full.json", "tokens of others")
    refused(cli, "-o", output, stdin=GOOD, says=says)
    assert Path("full.json").read_text() == "tokens of others"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_protected_folder_is_found_first(cli: Cli) -> None:
    (cli.folder / "shut").mkdir(mode=0o500)
    refused(cli, "-o", "shut/out.json", stdin=GOOD, says="Permission denied")


def test_a_file_that_is_not_there_is_not_named(cli: Cli) -> None:
    """What stands where a file should may be a token, pasted by mistake."""
    refused(cli, "fake-refresh-1", says="cannot be read: No such file")
    assert "fake-refresh-1" not in cli.runs[-1].err


@pytest.mark.parametrize(
    "arguments",
    [
        ("a.json", "fake-refresh-1"),
        ("--refresh-token", "fake-refresh-1"),
        ("--refresh-token=fake-refresh-1",),
        ("--code-stdin",),
        ("--sandbox", "--base-url", "https://mesh.example", "-"),
        ("-", "--obtained-at", "yesterday"),
    ],
)
def test_a_wrong_command_line_repeats_no_token(cli: Cli, arguments: tuple[str, ...]) -> None:
    ran = cli("refresh", *arguments, stdin=GOOD)
    assert ran.code == Exit.INVALID
    assert "fake-refresh-1" not in ran.err
    assert not cli.served.fake.requests


def test_a_directory_is_no_input(cli: Cli) -> None:
    refused(cli, ".", says="is a directory")


@pytest.mark.parametrize("command", ["refresh", "import"])
def test_others_who_can_read_the_input_are_told_of(cli: Cli, command: str) -> None:
    """With -q too, whose help says that warnings stay."""
    payload = cli.payload(cli.served.fake.login("coinbase"))
    payload.chmod(0o644)
    assert "chmod 600" in cli(command, "-q", payload).err
    assert "Print errors and warnings only." in cli(command, "--help").out

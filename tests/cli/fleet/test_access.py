"""`mesh-refresh access`: keys of callers in a file."""

import json
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.service import Access, AccessKey, Scope
from tests.cli.conftest import Cli


@pytest.fixture
def path(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MESH_REFRESH_ACCESS", "access.toml")
    return cli.folder / "access.toml"


def test_a_key_is_made_shown_once_and_revoked(cli: Cli, path: Path) -> None:
    more = ("--prefix", "team-a/\x7f", "--rate", "2.5", "--expires", "90d")
    made = cli("access", "add", "bob", "--scope", "tokens", "--scope", "read", *more)
    assert (made.code, made.err) == (0, "")
    text = made.out.rstrip("\n")
    key = Access.open(path).find(text)
    assert isinstance(key, AccessKey)
    assert (key.name, key.scopes, key.prefix, key.rate) == (
        "bob",
        frozenset({Scope.TOKENS, Scope.READ}),
        "team-a/\x7f",
        2.5,
    )
    assert text not in path.read_text()
    (listed,) = cli("access", "list", "--json").out.splitlines()
    assert key.expires is not None
    assert json.loads(listed) == {
        "name": "bob",
        "scopes": ["read", "tokens"],
        "prefix": "team-a/\x7f",
        "rate": 2.5,
        "expires": key.expires.isoformat(),
    }
    assert "read,tokens" in cli("access", "list").out
    assert cli("access", "revoke", "bob").code == 0
    assert Access.open(path).find(text) != key
    assert "there is no access key" in cli("access", "list").err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("add", "bob"), "Missing option '--scope'"),
        (("add", "bob", "--scope", "all"), "Invalid value for '--scope'"),
        (("add", "b b", "--scope", "read"), "its name must be"),
        (("add", "old", "--scope", "read"), "There is an access key of this name"),
        (("add", "bob", "--scope", "read", "--rate", "0"), "Invalid value for '--rate'"),
        (("add", "bob", "--scope", "read", "--prefix", ""), "would be all logins"),
        (("add", "bob", "--scope", "read", "--expires", "9999999d"), "too long"),
        (("add", "bob", "--scope", "read", "--access", "none/access.toml"), "cannot be written: No such file"),
        (("revoke", "bob"), "There is no access key of this name"),
        (("list", "--access", "none"), "cannot be read: No such file"),
        (("list", "--access", ""), "No access file was named"),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments: tuple[str, ...], why: str, cli: Cli, path: Path) -> None:
    assert cli("access", "add", "old", "--scope", "read").code == 0
    before = path.read_text()
    ran = cli("access", *arguments)
    assert ran.code == Exit.INVALID
    assert why in ran.err
    assert not ran.out
    assert path.read_text() == before

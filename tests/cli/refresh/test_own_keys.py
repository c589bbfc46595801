"""What is the user's own in the input is in the output too: a file that is refreshed in place loses nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from tests.cli.conftest import Cli, held

OWN: dict[str, Any] = {
    "note": "mine",
    "tags": ["a", {"b": 1.5}],
    "since": None,
    "reply": "to whom",
    "tokens": 3,
    "before": {},
    "π": "x",
}


def in_place(cli: Cli, document: Any) -> list[dict[str, Any]]:
    """The documents after two refreshes in place."""
    path = cli.write("own.json", document)
    for _ in range(2):
        assert cli("refresh", path, "-o", path).code == Exit.REFRESHED
    found: list[dict[str, Any]] = json.loads(path.read_text())
    assert not cli.served.fake.lost(held(found))
    return found


def own_of(document: dict[str, Any]) -> dict[str, Any]:
    """The user's own keys, where they are."""
    return {**document, **document.get("mesh_refresh.own", {})}


def has(document: dict[str, Any], own: dict[str, Any]) -> bool:
    """Whether all of `own` is in it."""
    found = own_of(document)
    return {key: found.get(key, "gone") for key in own} == own


def test_beside_a_tokens_document(cli: Cli) -> None:
    (document,) = in_place(cli, cli.served.fake.login("coinbase").token.to_document() | OWN)
    assert has(document, OWN)
    assert document["note"] == "mine"


@pytest.mark.parametrize("wrap", ["payload", "accessTokenPayload", "accessToken"])
def test_around_a_payload(cli: Cli, wrap: str) -> None:
    """Each account of it has them: the output has no wrappers. A ref and a login are what they say."""
    payload = cli.served.fake.login("etoro", accounts=2).link_payload()
    around = {**OWN, "ref": "user-7", "login": 7, "accountId": "of mine", "expires": "never"}
    documents = in_place(cli, {**around, "event": {"payload": 1}, wrap: {**payload, "inner": True}})
    assert len(documents) == 2
    for document in documents:
        assert has(document, {**OWN, "accountId": "of mine", "expires": "never", "inner": True})
        assert own_of(document)["event"] == {"payload": 1}
        assert (document["login"], document["ref"]) == (7, "user-7")
        assert "brokerBrandInfo" not in document


def test_in_a_flat_row(cli: Cli) -> None:
    tokens = cli.served.fake.login("coinbase").token
    row = {
        "id": 12,
        "broker_type": "coinbase",
        "Refresh_Token": tokens.refresh_token,
        "accessToken": tokens.access_token,
    }
    (document,) = in_place(cli, {**row, "created": "2026-01-01", "metadata": "mine"})
    assert has(document, {"id": 12, "created": "2026-01-01"})
    assert document["mesh_refresh.own"] == {"metadata": "mine"}


def test_beside_an_accounts_tokens(cli: Cli) -> None:
    """Each has its own, and not another's."""
    payload = cli.served.fake.login("etoro", accounts=3).link_payload()
    for number, entry in enumerate(payload["accountTokens"]):
        entry["number"] = number
    payload["accountTokens"].insert(0, {"number": "no token"})
    assert [document["number"] for document in in_place(cli, payload)] == [0, 1, 2]


def test_beside_a_continuation_and_after_it(cli: Cli) -> None:
    """Names that a continuation uses itself are put away while it is one, and come out again."""
    login = cli.served.fake.login("vanguard", mfa=True)
    source = cli.write("own.json", login.token.to_document() | OWN)
    assert cli("refresh", source, "-o", source).code == Exit.CODE_NEEDED
    (waiting,) = json.loads(source.read_text())
    assert has(waiting, OWN)
    assert cli("refresh", source, "-o", source, "--code-stdin", stdin=login.code).code == Exit.REFRESHED
    (document,) = json.loads(source.read_text())
    assert has(document, OWN)
    assert not cli.served.lost(source)


def test_a_key_that_stands_twice_is_refused(cli: Cli) -> None:
    """It could not be written again as it was."""
    text = json.dumps(cli.served.fake.login("coinbase").token.to_document())
    for twice in ('"note": 1, "note": 2', '"note": {"a": 1, "a": 2}'):
        ran = cli("refresh", cli.write("own.json", f"{text[:-1]}, {twice}}}"), "-o", "out.json")
        assert ran.code == Exit.INVALID
        assert "stands there twice, with different values" in ran.err
    assert not cli.served.fake.requests
    assert not Path("out.json").exists()

"""`refresh` and `import` read the same payloads: as programs store them and read them back."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import Tokens
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine, Reading
from mesh_refresh.cli.fleet.logins.import_sources import read_lines
from mesh_refresh.cli.refresh.documents import read_accounts
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure
from tests.cli.conftest import Cli, held

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "fake-secret"
PAYLOAD = {
    "accountTokens": [{"account": {"accountId": "A"}, "accessToken": f"{SECRET}-a", "refreshToken": f"{SECRET}-r"}],
    "brokerType": "coinbase",
    "expiresInSeconds": 3600,
}
FLAT = {
    "brokerType": "coinbase", "accessToken": f"{SECRET}-a", "refreshToken": f"{SECRET}-r", "accountId": "A",
    "expiresInSeconds": "3600",
}  # fmt: skip
SNAKE = {
    "broker_type": "coinbase", "access_token": f"{SECRET}-a", "refresh_token": f"{SECRET}-r", "account_id": "A",
    "expires_in_seconds": 3600.0, "token_id": None,
}  # fmt: skip
ONE = Tokens(
    "coinbase", f"{SECRET}-r", access_token=f"{SECRET}-a", account_id="A", obtained_at=AT,
    expires_at=AT + timedelta(hours=1),
)  # fmt: skip
PAYLOADS: list[Any] = [
    PAYLOAD,
    FLAT,
    SNAKE,
    {**PAYLOAD, "accountTokens": json.dumps(PAYLOAD["accountTokens"])},
    {"accessTokenPayload": PAYLOAD},
    {"type": "integrationConnected", "payload": {"accessToken": PAYLOAD}},
    {"type": "integrationConnected", "payload": json.dumps({"accessToken": json.dumps(PAYLOAD)})},
    ONE.to_document(),
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]


def refreshed(text: bytes) -> list[Tokens]:
    """What ``refresh`` reads in `text`, with the refs of the input."""
    return [Tokens.from_document({**it.tokens.to_document(), "ref": it.ref}) for it in read_accounts(text, AT).entries]


def imported(text: bytes) -> list[Tokens]:
    """What ``import`` reads in `text`."""
    file = io.BufferedReader(io.BytesIO(text))
    lines = list(read_lines(file, Reading(datetime.now(UTC))))
    assert not [line for line in lines if isinstance(line, BadLine)], lines
    return [tokens for line in lines if isinstance(line, InputLine) for tokens in line.tokens]


def line_of(payload: Any) -> Any:
    return {**payload, "login": "user-7", "obtained_at": AT.isoformat()}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_both_read_it(payload: Any, encoding: str) -> None:
    """The same payload, bare or twice encoded, in any encoding of Unicode, gives both the same tokens."""
    line = line_of(payload)
    for text in (json.dumps(line), json.dumps(json.dumps(line)), f"{json.dumps(line)}\n"):
        data = text.encode(encoding)
        assert refreshed(data) == imported(data) == [ONE]
    assert refreshed(json.dumps([payload, json.dumps(payload)]).encode(encoding)) == [ONE, ONE]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_many_lines(encoding: str) -> None:
    """Lines of a file in another encoding are read one by one, and a document of many lines as a whole."""
    line = {**line_of(PAYLOAD), "note": "\u2028 \u010a \U0001f600"}
    lines = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for _ in range(3))
    assert imported(lines.encode(encoding)) == [ONE] * 3
    assert imported(json.dumps([line, line], indent=2, ensure_ascii=False).encode(encoding)) == [ONE] * 2


def test_what_is_not_in_its_encoding() -> None:
    """A file that begins like UTF-16 and is none is told of, unseen."""
    with pytest.raises(Failure, match="UTF-16") as caught:
        imported(json.dumps(line_of(PAYLOAD)).encode("utf-16") + b"\n\x00\x00\xd8\x00")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({**PAYLOAD, "expiresInSeconds": "soon"}, "expiresInSeconds is text that is not a number of seconds"),
        ({**FLAT, "accessToken": {"S": SECRET}}, "accessToken is in the wire form of DynamoDB"),
        ({**PAYLOAD, "refreshToken": SECRET}, "whose it is cannot be told"),
        ({"payload": {"accessToken": PAYLOAD, "delayedAuth": PAYLOAD}}, "more than one"),
        ({**ONE.to_document(), "version": "1"}, '"version" has become text'),
        ({"accessToken": [PAYLOAD]}, "one at a time"),
    ],
)
def test_both_refuse_it(payload: Any, says: str) -> None:
    """What cannot be read is named by both in the same words, and never shown."""
    text = json.dumps(line_of(payload))
    with pytest.raises(Failure) as caught:
        refreshed(text.encode())
    (bad,) = read_lines(io.BytesIO(text.encode()), Reading(datetime.now(UTC)))
    assert isinstance(bad, BadLine)
    for said in (str(caught.value), bad.why):
        assert says in said
        assert SECRET not in said


def test_a_key_that_stands_twice() -> None:
    """Of two values nobody knows which counts, in a continuation too."""
    for text in (
        f'{{"login": 7, "brokerType": "x", "refreshToken": "{SECRET}-1", "refreshToken": "{SECRET}-2"}}',
        f'{{"login": 7, "format": "mesh_refresh.mfa_required", "before": "{SECRET}", "before": "x"}}',
    ):
        with pytest.raises(Failure, match="stands there twice"):
            refreshed(text.encode())
        (bad,) = read_lines(io.BytesIO(text.encode()), Reading(datetime.now(UTC)))
        assert isinstance(bad, BadLine)
        assert "stands there twice" in bad.why


@pytest.mark.parametrize("form", [json.dumps, lambda it: json.dumps(json.dumps(it))])
def test_refreshed_and_imported(cli: Cli, form: Callable[[Any], str]) -> None:
    """A file as PowerShell writes it goes through both commands."""
    login = cli.served.fake.login("coinbase")
    path = cli.folder / "payload.json"
    path.write_bytes(form({"login": "user-7", "payload": login.link_payload()}).encode("utf-16"))
    path.chmod(0o600)
    assert cli("import", "--plaintext", "--store", "fleet.db", path).code == Exit.REFRESHED
    assert "1 login read: 1 added" in cli.runs[-1].err
    assert cli("refresh", path, "--output", "tokens.json").code == Exit.REFRESHED
    assert not cli.served.lost(Path("tokens.json"))
    assert held(json.loads(Path("tokens.json").read_text()))[0].access_token

"""What a line of an import may say."""

import io
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mesh_refresh import Tokens
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine, Reading, read_entries
from mesh_refresh.cli.fleet.logins.import_sources import read_lines
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.testing import FakeMesh

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT = "2026-11-24T11:00:00Z"
SECRET = "planted-refresh"
LINK = {
    "brokerType": "etoro",
    "expiresInSeconds": 7200,
    "accountTokens": [
        {"account": {"accountId": "a-1"}, "accessToken": "planted-access-1", "refreshToken": SECRET},
        {"account": {"accountId": "a-2"}, "accessToken": "planted-access-2", "refreshToken": SECRET},
    ],
}
ACCOUNTS = [
    Tokens("etoro", SECRET, access_token="planted-access-1", account_id="a-1"),
    Tokens("etoro", SECRET, access_token="planted-access-2", account_id="a-2"),
]
DOCUMENTS = [it.to_document() for it in ACCOUNTS]


def one(document: Any) -> InputLine:
    (found,) = read_entries(3, document, Reading(NOW))
    assert isinstance(found, InputLine), found
    return found


@pytest.mark.parametrize(
    "document",
    [
        {"login": "user-7", "obtained_at": AT, "payload": LINK},
        {"login": "user-7", "obtainedAt": AT, "link": LINK},
        {"login_id": "user-7", "obtained_at": AT, "accessTokenPayload": LINK},
        {"login": "user-7", "obtained_at": AT, "payload": {"accessToken": LINK}},
        {"login": "user-7", "obtained_at": AT, "payload": json.dumps(LINK)},
        {"login": "user-7", "obtained_at": AT, **LINK},
        {"login": "user-7", "obtained_at": AT, "tokens": DOCUMENTS},
        {"login": "user-7", "obtained_at": AT, "tokens": json.dumps(DOCUMENTS)},
    ],
)
def test_the_forms_of_a_login(document: dict[str, Any]) -> None:
    line = one(document)
    assert line.login_id == "user-7"
    assert line.number == 3
    assert line.aged
    assert [(it.account_id, it.access_token, it.refresh_token) for it in line.tokens] == [
        ("a-1", "planted-access-1", SECRET),
        ("a-2", "planted-access-2", SECRET),
    ]
    assert {it.obtained_at for it in line.tokens} == {NOW - timedelta(hours=1)}


def test_lifetimes_count_from_the_time_that_is_said() -> None:
    line = one({"login": "user-7", "obtained_at": AT, "payload": LINK})
    assert {it.expires_at for it in line.tokens} == {NOW + timedelta(hours=1)}


def test_a_single_tokens_document_with_a_login() -> None:
    """As `mesh-refresh refresh` writes it; and its own times are what counts."""
    own = Tokens("coinbase", SECRET, obtained_at=NOW - timedelta(days=1), expires_at=NOW)
    for document in ({**own.to_document(), "login": 7}, {"login": "7", "tokens": own.to_document()}):
        line = one({**document, "obtained_at": own.to_document()["obtained_at"]})
        assert line == InputLine(3, "7", (own,), aged=True)


def test_without_a_time_nothing_about_its_age_is_trusted() -> None:
    for document in ({"login": "user-7", "payload": LINK}, {"login": "user-7", "tokens": DOCUMENTS}):
        line = one(document)
        assert not line.aged
        assert {it.expires_at for it in line.tokens} == {NOW}


def test_without_a_refresh_token_it_is_good_for_its_lifetime_at_the_most() -> None:
    link = {**LINK, "accountTokens": [{"accessToken": "planted-access-1"}]}
    line = one({"login": "user-7", "payload": link})
    assert [it.expires_at for it in line.tokens] == [NOW + timedelta(hours=2)]


def test_a_trade_token_stands_beside_the_payload() -> None:
    link = {"brokerType": "weBull", "accountTokens": [{"accessToken": "a", "refreshToken": "r"}]}
    for name in ("trade_token", "tradeToken"):
        assert one({"login": "user-7", "payload": link, name: "planted-trade"}).tokens[0].trade_token == "planted-trade"


async def test_a_continuation_gives_its_tokens() -> None:
    """The code that it waits for is asked for anew."""
    async with FakeMesh() as fake, fake.client() as mesh:
        pending = await mesh.refresh(fake.login("vanguard", mfa=True).token)
    line = one({**json.loads(pending.to_json()), "login": "user-7"})  # type: ignore[union-attr]
    assert line.tokens[0].refresh_token == pending.tokens.refresh_token


def test_an_array_is_several_lines_of_the_same_number() -> None:
    found = read_entries(3, [{"login": "a", "payload": LINK}, {"login": "b", "payload": LINK}, SECRET], Reading(NOW))
    assert [type(it) for it in found] == [InputLine, InputLine, BadLine]
    assert {it.number for it in found} == {3}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (SECRET, "not a JSON object"),
        (None, "not a JSON object"),
        ({"payload": LINK}, '"login"'),
        ({"login": "", "payload": LINK}, '"login"'),
        ({"login": True, "payload": LINK}, '"login"'),
        ({"login": [SECRET], "payload": LINK}, '"login"'),
        ({"login": "user-7"}, 'neither a Link payload, as "payload", nor "tokens"'),
        ({"login": "user-7", "paylod": LINK}, 'neither a Link payload, as "payload", nor "tokens"'),
        ({"login": "user-7", "payload": 7}, "neither"),
        ({"login": "user-7", "payload": SECRET}, "not JSON"),
        ({"login": "user-7", "payload": {"brokerType": "etoro", "refresh": SECRET}}, "no token"),
        ({"login": "user-7", "tokens": []}, "no tokens"),
        ({"login": "user-7", "tokens": [SECRET]}, "array of tokens documents"),
        ({"login": "user-7", "tokens": [{"refresh_token": SECRET}]}, 'has no "format"'),
        ({"login": "user-7", "tokens": [{**DOCUMENTS[0], "version": 99}]}, "version"),
        ({"login": "user-7", "tokens": [DOCUMENTS[0], DOCUMENTS[0]]}, "same id"),
        ({"login": "user-7", "tokens": [DOCUMENTS[0], {**DOCUMENTS[1], "broker": "coinbase"}]}, "one broker"),
        ({"login": "user-7", "payload": LINK, "obtained_at": "yesterday"}, "obtained_at"),
        ({"login": "user-7", "payload": LINK, "obtained_at": 1700000000}, "obtained_at"),
        ({"login": "user-7", "payload": LINK, "obtained_at": "2026-11-24T11:00:00"}, "obtained_at"),
        ({"login": "user-7", "payload": LINK, "obtained_at": "2026-12-24T11:00:00Z"}, "future"),
        ({"login": "user-7", "payload": LINK, "trade_token": [SECRET]}, "must be"),
    ],
)
def test_what_cannot_be_used_is_told_without_its_content(document: Any, why: str) -> None:
    (found,) = read_entries(3, document, Reading(NOW))
    assert isinstance(found, BadLine)
    assert why in found.why
    assert "planted" not in found.why
    assert "user-7" not in found.why


# Files.


def read_all(text: str | bytes, first: int = 1) -> list[InputLine | BadLine]:
    return list(read_lines(io.BytesIO(text.encode() if isinstance(text, str) else text), Reading(NOW), first=first))


def line_of(login_id: str) -> str:
    return json.dumps({"login": login_id, "payload": LINK}) + "\n"


def test_lines_are_numbered_as_an_editor_does_it() -> None:
    found = read_all(line_of("a") + "\n  \n" + "nonsense\n" + line_of("b").strip())
    assert [(type(it), it.number) for it in found] == [(InputLine, 1), (BadLine, 4), (InputLine, 5)]


def test_it_can_begin_at_a_line() -> None:
    found = read_all(line_of("a") + "nonsense\n" + line_of("b"), first=3)
    assert [it.login_id for it in found if isinstance(it, InputLine)] == ["b"]
    assert len(found) == 1


@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_that_is_one_array(indent: int | None) -> None:
    """What `mesh-refresh refresh` writes runs over many lines."""
    found = read_all(json.dumps([{"login": it, "payload": LINK} for it in "ab"], indent=indent))
    assert [it.login_id for it in found if isinstance(it, InputLine)] == ["a", "b"]


def test_a_file_that_is_one_object() -> None:
    (found,) = read_all(json.dumps({"login": "a", "payload": LINK}, indent=1))
    assert isinstance(found, InputLine)


def test_a_document_that_is_cut_is_not_taken_for_lines() -> None:
    with pytest.raises(Failure, match="begins like a JSON document"):
        read_all(json.dumps([{"login": "a", "payload": LINK}], indent=2)[:-20])


def test_what_is_no_text_is_a_bad_line() -> None:
    assert [type(it) for it in read_all(b"\xff\xfe\n" + line_of("a").encode())] == [BadLine, InputLine]


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(Failure, match="longer than 16 MiB"):
        read_all(b"x" * (17 * 1024 * 1024))


def test_lines_are_read_as_they_are_needed() -> None:
    class Endless(io.RawIOBase):
        asked = 0

        def readline(self, size: int | None = -1) -> bytes:
            self.asked += 1
            return line_of(f"user-{self.asked}").encode()

    file = Endless()
    found = list(itertools.islice(read_lines(file, NOW), 5))  # type: ignore[arg-type]
    assert len(found) == 5
    assert file.asked == 5

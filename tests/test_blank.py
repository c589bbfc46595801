"""Blank is not a token: one rule for replies, for Link's payloads and for what was stored."""

from typing import Any

import pytest

from mesh_refresh import MfaRequired, Tokens, TokensRefused, UnreadableReply
from mesh_refresh.blank import some
from mesh_refresh.messages import BrokerAccountTokens, BrokerRefreshTokenResponse
from tests.replies.wire_replies import (
    AT,
    OLD,
    PAIR,
    content,
    decoded,
    entry,
    envelope,
    pending,
    refreshed,
    refusal,
    success,
    without_body,
)

BLANKS = [
    "", " ", "  ", "\t\r\n", "\v\f", "\x00", "\x00\x00", "\x1c", "\x7f", "\x85", "\u00a0", "\u00ad", "\u1680", "\u180e",
    "\u2003", "\u200b", "\u200d", "\u2028", "\u202f", "\u2060", "\u2800", "\u3000", "\u3164", "\ufeff", " \u200b\x00\n",
    "null", "NULL", "None", "undefined", "NaN", "nan", "\\N",
]  # fmt: skip
blank = pytest.mark.parametrize("blank", BLANKS, ids=ascii)
NAMES = ("accessToken", "refreshToken", "tokenId")


@blank
def test_blank_is_none(blank: str) -> None:
    """White space, controls, and characters of no width or no ink are nothing."""
    assert some(blank) is None


@pytest.mark.parametrize(
    "text",
    ["0", " a ", "nulls", "Non", "undefined2", "nan-1", "\u200bx", "\x00-", "ü", "\U0001f600", "\ue000", "\u0301"],
)
def test_what_has_a_character_that_is_seen_is_kept_to_the_byte(text: str) -> None:
    """One character that is seen makes a token, with all that stands around it."""
    assert some(text) == text


@blank
def test_a_blank_token_erases_none_that_is_stored(blank: str) -> None:
    """A blank beside a new token is absent: in an entry, at the top level, and for each kind of token."""
    old = Tokens("coinbase", "fake-refresh-old", access_token="fake-access-old", token_id="fake-id-old")
    for silent in NAMES:
        new = {"refreshToken": "fake-refresh-new"} if silent == "accessToken" else {"accessToken": "fake-access-new"}
        blanks = {silent: blank}
        for body in (success({**new, **blanks}), success(new, **blanks), success(blanks, **new)):
            [fresh] = refreshed(body, old).all_tokens
            assert fresh.refresh_token == new.get("refreshToken", "fake-refresh-old")
            assert fresh.access_token == new.get("accessToken", "fake-access-old")
            assert fresh.token_id == "fake-id-old"


@blank
def test_blanks_alone_are_no_success(blank: str) -> None:
    """A success whose tokens are all blank brings none, and its bytes hold none."""
    for body in (
        success({"accessToken": blank, "refreshToken": blank}),
        success({"tokenId": blank}, refreshToken=blank),
    ):
        error = refusal(decoded(200, body))
        assert isinstance(error, UnreadableReply)
        assert not error.may_hold_token


@blank
def test_a_blank_under_an_error_is_no_token(blank: str) -> None:
    """An error with blanks in the places of tokens is read by its code, and nothing of it is kept."""
    for status in (200, 400):
        body = envelope(content({"accessToken": blank}, status="failed", refreshToken=blank), "badRequest")
        assert type(refusal(decoded(status, body))) is TokensRefused


@blank
def test_an_account_under_a_blank_id_has_none(blank: str) -> None:
    """A blank id names no account: the entry is of the account asked for, whose ids stay."""
    asked = Tokens("coinbase", "fake-refresh-old", account_id="A", mesh_account_id="M", ref=7)
    fresh = refreshed(success(entry(blank, blank, **PAIR)), asked).tokens
    assert (fresh.account_id, fresh.mesh_account_id, fresh.ref) == ("A", "M", 7)
    bare = refreshed(success(entry(blank, blank, **PAIR))).tokens
    assert bare.account_id is bare.mesh_account_id is None


@blank
def test_a_question_with_blank_tokens_keeps_those_in_force(blank: str) -> None:
    """The second request carries the access token in force where the first reply has a blank."""
    asked = pending(brokerAccountTokens=[{"accessToken": blank, "refreshToken": blank}], accessToken=blank)
    assert (asked.tokens, asked.all_tokens, asked.access_token) == (OLD, (), OLD.access_token)
    assert MfaRequired.from_json(asked.to_json()) == without_body(asked)


@blank
def test_tokens_hold_no_blank(blank: str) -> None:
    """Tokens that are made or read with blanks have None in their places."""
    names = ("refresh_token", "access_token", "trade_token", "token_id", "account_id", "mesh_account_id")
    blanks: dict[str, Any] = dict.fromkeys(names, blank)
    assert Tokens("coinbase", **blanks) == Tokens("coinbase")
    document = {**Tokens("coinbase", "fake-refresh").to_document(), **blanks}
    assert Tokens.from_document(document) == Tokens("coinbase")


@blank
def test_link_hands_over_no_blank(blank: str) -> None:
    """An account of a payload with a blank access token has none, and one of blanks only is left out."""
    entries = [{"accessToken": blank, "refreshToken": "fake-refresh"}, {"accessToken": blank, "tokenId": blank}]
    found = Tokens.from_link({"brokerType": "coinbase", "accountTokens": entries}, obtained_at=AT)
    assert found == (Tokens("coinbase", "fake-refresh", obtained_at=AT),)


@blank
def test_a_message_made_by_hand_has_no_blank_token(blank: str) -> None:
    """A strategy that rewrites a reply can put no blank in a token's place."""
    made = BrokerAccountTokens(access_token=blank, refresh_token=blank, token_id=blank)
    assert made == BrokerAccountTokens()
    assert BrokerRefreshTokenResponse(access_token=blank, refresh_token=blank) == BrokerRefreshTokenResponse()

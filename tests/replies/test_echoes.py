"""An echo is not a renewal: what only repeats tokens that were sent is a success only where all of it says so."""

from itertools import product
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import (
    BrokerType,
    CodeRefused,
    MeshRefreshError,
    MfaRequired,
    Refreshed,
    RefreshOptions,
    ServerFailure,
    Throttled,
    Tokens,
    TokensRefused,
    UnreadableReply,
)
from mesh_refresh.strategies import StrategyRegistry
from tests.replies.test_carrying_over import in_seconds
from tests.replies.wire_replies import AT, CODE, OLD, content, decoded, entry, envelope, read, refusal, success

FULL = Tokens(
    BrokerType.WE_BULL,
    "fake-refresh-old",
    access_token="fake-access-old",
    trade_token="fake-trade-old",
    token_id="fake-id-old",
    account_id="A",
    expires_at=AT,
)
ECHOES: list[dict[str, str]] = [
    {"refreshToken": "fake-refresh-old"},
    {"accessToken": "fake-access-old"},
    {"tokenId": "fake-id-old"},
    {"accessToken": "fake-access-old", "refreshToken": "fake-refresh-old", "tokenId": "fake-id-old"},
]
ELSEWHERE: list[dict[str, str]] = [
    {"accessToken": "fake-refresh-old"},
    {"refreshToken": "fake-trade-old"},
    {"refreshToken": "fake-access-old"},
    {"tokenId": "fake-refresh-old", "accessToken": "fake-access-old"},
]
echoes = pytest.mark.parametrize("echo", ECHOES, ids=" ".join)


def outcome(body: object, tokens: Tokens = FULL, *, code: str | None = None) -> Refreshed | MfaRequired:
    return read(decoded(200, body), tokens, code=code)


def no_token(body: object, tokens: Tokens = FULL) -> MeshRefreshError:
    error = refusal(decoded(200, body), tokens)
    if isinstance(error, UnreadableReply):
        assert not error.may_hold_token
        assert "repeats" in str(error)
    return error


@echoes
def test_an_echo_without_a_lifetime(echo: dict[str, str]) -> None:
    """What was sent and no lifetime, in an entry or at the top level, is a success without a token."""
    for body in (
        success(echo),
        success(entry("A", **echo)),
        success(**{**echo, "tokenId": None}, brokerAccountTokens=[echo]),
    ):
        for lifetime in ({}, {"expiresInSeconds": 0}, {"expiresInSeconds": None}):
            body["content"] |= lifetime
            assert type(no_token(body)) is UnreadableReply


@pytest.mark.parametrize("echo", ELSEWHERE, ids=" ".join)
def test_an_echo_in_the_place_of_another_token(echo: dict[str, str]) -> None:
    """A refresh token that is repeated as an access token, say, is prolonged by no lifetime, and never handed out."""
    assert type(no_token(success(echo, expiresInSeconds=60, refreshTokenExpiresInSeconds=60))) is UnreadableReply


@echoes
def test_an_echo_with_a_lifetime_needs_every_status(echo: dict[str, str]) -> None:
    """Only ``ok`` over ``succeeded`` prolongs what was sent: a status that is absent or unheard of does not say so."""
    for status, said in product(("ok", None, "splendid", "badRequest"), ("succeeded", None, "renewed")):
        body = envelope(content(echo, status=said, expiresInSeconds=60), status)
        if (status, said) == ("ok", "succeeded"):
            assert isinstance(outcome(body), Refreshed)
        else:
            assert type(no_token(body)) is (TokensRefused if status == "badRequest" else UnreadableReply)


def test_an_echo_under_an_error_is_that_error() -> None:
    """An echo with a lifetime under an envelope that names an error is read by the table's rows without a token."""
    rows: dict[str, type[MeshRefreshError]] = {
        "badRequest": TokensRefused, "serverFailure": ServerFailure, "tooManyRequest": Throttled,
    }  # fmt: skip
    for status, expected in rows.items():
        body = envelope(content(ECHOES[3], expiresInSeconds=60), status)
        assert type(no_token(body)) is expected
        if expected is TokensRefused:
            assert type(refusal(decoded(200, body), FULL, code=CODE)) is CodeRefused


def test_a_prolonged_token() -> None:
    """An access token or token id that comes back with a lifetime lives on for it; nothing else changes."""
    fresh = outcome(success({"accessToken": "fake-access-old"}, expiresInSeconds=60)).tokens
    assert fresh == evolve(FULL, obtained_at=AT, expires_at=in_seconds(60))
    managed = Tokens("coinbase", "fake-refresh-old", token_id="fake-id-old", expires_at=AT)
    fresh = outcome(success({"tokenId": "fake-id-old"}, expiresInSeconds=60), managed).tokens
    assert fresh == evolve(managed, obtained_at=AT, expires_at=in_seconds(60))


def test_a_prolonged_refresh_token() -> None:
    """A refresh token's own lifetime prolongs it, and no access token that is repeated beside it."""
    fresh = outcome(success({"refreshToken": "fake-refresh-old"}, refreshTokenExpiresInSeconds=60)).tokens
    assert (fresh.refresh_token_expires_at, fresh.expires_at) == (in_seconds(60), AT)
    assert type(no_token(success(ECHOES[3], refreshTokenExpiresInSeconds=60))) is UnreadableReply


@pytest.mark.parametrize("name", ["accessToken", "refreshToken", "tokenId"])
@pytest.mark.parametrize("status", ["ok", "badRequest", None])
def test_one_new_token_among_echoes_is_a_success(name: str, status: str | None) -> None:
    """A single new token outranks every status, with or without a lifetime."""
    body = envelope(content({**ECHOES[3], name: "fake-new"}, status=None), status)
    fresh = outcome(body).tokens
    assert "fake-new" in (fresh.access_token, fresh.refresh_token, fresh.token_id)


def test_a_new_token_of_a_sibling_is_a_success() -> None:
    """What was not sent is new, whoever's it is: no sibling's token is dropped for the asked account's echo."""
    body = success(entry("A", **ECHOES[3]), entry("B", accessToken="fake-access-b"))
    found = outcome(body)
    assert [(it.account_id, it.access_token) for it in found.all_tokens] == [
        ("A", "fake-access-old"), ("B", "fake-access-b"),
    ]  # fmt: skip


def test_a_broker_that_gives_no_refresh_token() -> None:
    """A new access token and no refresh token, as TD Ameritrade answers, is a success."""
    fresh = outcome(success({"accessToken": "fake-access-new"}), OLD).tokens
    assert (fresh.access_token, fresh.refresh_token) == ("fake-access-new", OLD.refresh_token)


def test_a_question_needs_no_new_token() -> None:
    """``mfaRequired`` beside an echo is a question, and nothing is renewed by it."""
    asked = outcome(envelope(content(entry("A", **ECHOES[3]), status="mfaRequired")))
    assert isinstance(asked, MfaRequired)
    assert (asked.tokens.refresh_token, asked.tokens.access_token) == ("fake-refresh-old", "fake-access-old")


def test_what_was_sent_is_what_the_strategy_sent() -> None:
    """A secret that only the request had is an echo too: a code, and what a strategy put into the metadata."""
    strategy = StrategyRegistry()[BrokerType.WE_BULL]
    request = evolve(strategy.build(FULL, RefreshOptions()), metadata={"key": "fake-key"}, mfa_code=CODE)
    for name, said in product(("accessToken", "refreshToken"), ("fake-key", CODE)):
        body: dict[str, Any] = success({name: said})
        with pytest.raises(UnreadableReply):
            strategy.interpret(request, FULL, decoded(200, body), AT)

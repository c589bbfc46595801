"""What breaks the rules of JSON, or a parser's limits, costs no token that stands beside it."""

import json
from typing import Any

import pytest

from mesh_refresh import MeshRefreshError, MfaRequired, Tokens, TokensRefused, UnreadableReply
from tests.replies.wire_replies import (
    PAIR,
    content,
    decoded,
    entry,
    envelope,
    read,
    refreshed,
    refusal,
    success,
    without_body,
)

NEW = ("fake-access-new", "fake-refresh-new")
BIG = 2**70 + 1
ODD: list[bytes] = [
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", str(BIG).encode(), str(-BIG).encode(), b"9" * 5_000,
    b"18446744073709551616", b"-9223372036854775809", b"[NaN, " + b"9" * 400 + b"]", b'"a\x01\x00\n\tb"', b'"caf\xe9"',
    b'"\xed\xa0\xbd"', rb'"\ud83d"', b"[" * 300 + b"]" * 300, b"[" * 2_000 + b"]" * 2_000,
    b'{"a":[' * 5_000 + b"]}" * 5_000,
    b'{"a": 1, "a": {"b": 2}, "b": NaN}',
]  # fmt: skip
FLAT = [odd for odd in ODD if odd.count(b"[") < 50]
"""A deep nesting may hide a token, and so is kept where no token was read."""
odd = pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd[:20]))


def with_odd(body: object, odd: bytes) -> bytes:
    return json.dumps(body).replace('"@"', "@").encode().replace(b"@", odd)


PLACES: dict[str, Any] = {
    "a novelty": envelope(content(PAIR), novelty="@"),
    "errorData": envelope(content(PAIR), errorData={"a": ["@"]}),
    "a message": envelope(content(PAIR), message="@"),
    "an amount": success({"account": {"accountId": "A", "cash": "@", "balances": [{"buyingPower": "@"}]}, **PAIR}),
    "a name": success({"account": {"accountId": "A", "accountName": "@"}, **PAIR}),
    "a lifetime": success(PAIR, expiresInSeconds="@", refreshTokenExpiresInSeconds="@"),
    "an account": success({"account": {"novelty": "@"}, **PAIR}),
    "an entry": success({"novelty": "@", **PAIR}),
    "the content": success(PAIR, novelty="@"),
}


@odd
@pytest.mark.parametrize("place", PLACES)
def test_what_is_odd_beside_a_token(place: str, odd: bytes) -> None:
    """A number, a text or a nesting that cannot be read is absent, and the tokens are those of the reply."""
    fresh = refreshed(with_odd(PLACES[place], odd)).tokens
    assert (fresh.access_token, fresh.refresh_token) == NEW
    assert fresh.expires_at is fresh.refresh_token_expires_at is None


@odd
@pytest.mark.parametrize("place", PLACES)
def test_what_is_kept_of_it_can_be_written(place: str, odd: bytes) -> None:
    """A continuation of such a reply can be stored and read again."""
    body = with_odd(PLACES[place], odd).replace(b'"succeeded"', b'"mfaRequired"')
    asked = read(decoded(200, body))
    assert isinstance(asked, MfaRequired)
    assert MfaRequired.from_json(asked.to_json()) == without_body(asked)


@pytest.mark.parametrize("number", [BIG, -BIG, 2**64, -(2**63) - 1, 10**30 + 7, 2**64 - 1, 1234567890123456789, 7])
def test_ids_and_tokens_that_are_numbers(number: int) -> None:
    """An id or a token written as a number is its digits, exactly, however many."""
    fresh = refreshed(success(entry(number, number, accessToken=number, refreshToken=number))).tokens  # type: ignore[arg-type]
    assert {fresh.account_id, fresh.mesh_account_id, fresh.access_token, fresh.refresh_token} == {str(number)}
    same = Tokens("coinbase", "fake-refresh-old", account_id=str(number), ref=7)
    assert refreshed(success(entry(number, **PAIR), entry("B", **PAIR)), same).tokens.ref == 7  # type: ignore[arg-type]


def test_amounts_that_are_no_numbers() -> None:
    """NaN and infinity, as JSON has them not or as text, are no amounts; a long integer is one."""
    for wrong in (b"NaN", b"-Infinity", b"1e999", b'"nan"', b'"inf"', b'"1e999"'):
        body = with_odd(success({"account": {"cash": "@", "fund": 1}, **PAIR}), wrong)
        found = refreshed(body).reply.content
        assert found is not None
        account = found.broker_account_tokens[0].account
        assert account is not None
        assert (account.cash, account.fund) == (None, 1)
    body = with_odd(success({"account": {"cash": "@"}, **PAIR}), str(BIG).encode())
    found = refreshed(body).reply.content
    assert found is not None
    assert found.broker_account_tokens[0].account is not None
    assert found.broker_account_tokens[0].account.cash == pytest.approx(BIG)


ENTRY = b'{"refreshToken": "fake-refresh-new", "accessToken": "fake-access-new"}'
TWICE = [
    b'{"content": {"refreshToken": "fake-refresh-new", "accessToken": "fake-access-new", "refreshToken": null}}',
    b'{"content": {"refreshToken": "fake-refresh-new", "accessToken": "fake-access-new", "refreshToken": " "}}',
    b'{"content": {"accessToken": "", "refreshToken": "fake-refresh-new", "accessToken": "fake-access-new"}}',
    b'{"content": {"refreshToken": "fake-refresh-new", "accessToken": "fake-access-new"}, "content": null}',
    b'{"content": {"refreshToken": "fake-refresh-new"}, "content": {"accessToken": "fake-access-new"}}',
    b'{"content": {"brokerAccountTokens": [%b], "brokerAccountTokens": []}}' % ENTRY,
    b'{"content": {"brokerAccountTokens": [%b], "brokerAccountTokens": [%b]}}' % (ENTRY, ENTRY),
]


@pytest.mark.parametrize("body", TWICE)
def test_a_key_that_stands_twice(body: bytes) -> None:
    """A key that comes again with nothing to say takes no token back."""
    fresh = refreshed(body).tokens
    assert (fresh.access_token, fresh.refresh_token) == NEW


def test_every_account_of_a_list_that_stands_twice() -> None:
    """Two lists of entries under one key are one list: no account is dropped."""
    first, last = (json.dumps([entry(name, **PAIR)]) for name in "AB")
    body = f'{{"content": {{"brokerAccountTokens": {first}, "brokerAccountTokens": {last}}}}}'
    assert [it.account_id for it in refreshed(body.encode()).all_tokens] == ["A", "B"]


def test_a_token_under_an_error_that_stands_twice_is_kept() -> None:
    """What a second value of the same key hides from parsers is found in a body that is no success."""
    for inner in ('"refreshToken": "fake-refresh-new", "refreshToken": null', '"refreshToken": "fake-refresh-new"'):
        body = f'{{"status": "badRequest", "content": {{{inner}}}, "content": {{"status": "failed"}}}}'.encode()
        for http in (200, 400, 500):
            error: MeshRefreshError = refusal(decoded(http, body))
            assert isinstance(error, UnreadableReply)
            assert error.may_hold_token


@pytest.mark.parametrize("odd", FLAT, ids=lambda odd: ascii(odd[:20]))
def test_an_error_with_odd_parts_is_read_by_its_envelope(odd: bytes) -> None:
    """An error whose texts cannot be read all the same has its status, and no token is suspected in it."""
    for http, status in ((200, "failed"), (400, None)):
        body = with_odd(envelope(content(status=status), "badRequest", errorData={"a": ["@"]}, novelty="@"), odd)
        error = refusal(decoded(http, body))
        assert type(error) is TokensRefused
        json.dumps(error.error_data, allow_nan=False).encode()


def test_keys_twice_by_the_hundred() -> None:
    """An object that repeats its keys without end says what came last: joining all of it would take for ever."""
    noise = ", ".join(f'"a": [{number}]' for number in range(200))
    reply = refreshed(f'{{"content": {json.dumps(PAIR)}, "novelty": NaN, "errorData": {{{noise}}}}}'.encode()).reply
    assert reply.error_data == {"a": [199]}

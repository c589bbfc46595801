"""What a reply leaves out is carried over; a lifetime belongs to the token that it came with."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from tests.replies.wire_replies import AT, PAIR, entry, pending, refreshed, success

EARLIER = AT - timedelta(days=1)
SOON, LATER = AT + timedelta(minutes=5), AT + timedelta(days=30)
FULL = Tokens(
    "weBull",
    "fake-refresh-old",
    access_token="fake-access-old",
    trade_token="fake-trade",
    token_id="fake-id-old",
    metadata={"region": "eu", "empty": None},
    account_id="A",
    mesh_account_id="M",
    ref=7,
    obtained_at=EARLIER,
    expires_at=SOON,
    refresh_token_expires_at=LATER,
    not_before=EARLIER,
)


def after(*entries: dict[str, Any], old: Tokens = FULL, **fields: Any) -> Tokens:
    return refreshed(success(*entries, **fields), old).tokens


def in_seconds(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_everything_left_out_is_carried_over() -> None:
    """Secrets, ids, metadata and ref that a reply leaves out are as they were."""
    fresh = after({"accessToken": "fake-access-new"})
    assert fresh == evolve(FULL, access_token="fake-access-new", obtained_at=AT, expires_at=None, not_before=None)


@pytest.mark.parametrize("absent", [None, "", " ", "\x00", 0.5, True, [], {}])
def test_absent_is_not_erased(absent: object) -> None:
    """A null, an empty string or a wrong type where a token should be never replaces a stored one."""
    fresh = after({"accessToken": "fake-access-new", "refreshToken": absent, "tokenId": absent})
    assert (fresh.refresh_token, fresh.token_id) == ("fake-refresh-old", "fake-id-old")
    fresh = after({"refreshToken": "fake-refresh-new", "accessToken": absent})
    assert fresh.access_token == "fake-access-old"


def test_lifetimes_count_from_the_request() -> None:
    """Lifetimes count from when the request was sent."""
    fresh = after(PAIR, expiresInSeconds=3600, refreshTokenExpiresInSeconds=86_400)
    assert (fresh.obtained_at, fresh.expires_at) == (AT, in_seconds(3600))
    assert fresh.refresh_token_expires_at == in_seconds(86_400)


def test_new_tokens_inherit_no_end() -> None:
    """A new token without a lifetime has none known."""
    fresh = after(PAIR)
    assert fresh.expires_at is fresh.refresh_token_expires_at is None


def test_an_old_refresh_token_keeps_its_end() -> None:
    """A refresh token that the reply leaves out ends when it did, whatever lifetime the reply names for one."""
    assert after({"accessToken": "fake-access-new"}).refresh_token_expires_at == LATER
    named = after({"accessToken": "fake-access-new"}, refreshTokenExpiresInSeconds=60)
    assert named.refresh_token_expires_at == LATER


def test_an_old_access_token_keeps_its_end() -> None:
    """An access token that the reply leaves out ends when it did, whatever lifetime the reply names for one."""
    assert after({"refreshToken": "fake-refresh-new"}).expires_at == SOON
    assert after({"refreshToken": "fake-refresh-new"}, expiresInSeconds=60).expires_at == SOON


def test_the_same_token_again_keeps_its_end() -> None:
    """A token that comes back unchanged, beside a new one and without a lifetime, ends when it did."""
    same = {"accessToken": "fake-access-old", "refreshToken": "fake-refresh-old"}
    assert after({**same, "accessToken": "fake-access-new"}).refresh_token_expires_at == LATER
    assert after({**same, "refreshToken": "fake-refresh-new"}).expires_at == SOON
    fresh = after(same, expiresInSeconds=60, refreshTokenExpiresInSeconds=90)
    assert (fresh.expires_at, fresh.refresh_token_expires_at) == (in_seconds(60), in_seconds(90))


@pytest.mark.parametrize(
    "lifetime", [0, -1, -0.0, 1e300, 10**12, -(10**30), 10**30, "", "soon", "nan", "inf", None, True, [], {}]
)
def test_senseless_lifetimes_are_unknown(lifetime: object) -> None:
    """Zero, negative, absurd and mistyped lifetimes are unknown, and cost no token."""
    fresh = after(PAIR, expiresInSeconds=lifetime, refreshTokenExpiresInSeconds=lifetime)
    assert (fresh.access_token, fresh.refresh_token) == tuple(PAIR.values())
    assert fresh.expires_at is fresh.refresh_token_expires_at is None


@pytest.mark.parametrize("lifetime", ["3600", 3600.0, 3600])
def test_lifetimes_in_other_dress(lifetime: object) -> None:
    """A lifetime written as text or as a float is still one."""
    assert after(PAIR, expiresInSeconds=lifetime).expires_at == in_seconds(3600)


def test_delay_is_over_after_a_success() -> None:
    """After an exchange nothing is left to wait for."""
    assert after(PAIR).not_before is None


def test_token_id() -> None:
    """A token id stands where an access token would, with its lifetime."""
    old = Tokens("coinbase", "fake-refresh-old", token_id="fake-id-old", expires_at=SOON)
    fresh = after({"tokenId": "fake-id-new"}, old=old, expiresInSeconds=60)
    assert (fresh.token_id, fresh.auth_token, fresh.access_token) == ("fake-id-new", "fake-id-new", None)
    assert (fresh.refresh_token, fresh.expires_at) == ("fake-refresh-old", in_seconds(60))


def test_a_new_token_id_beside_an_old_access_token() -> None:
    """What the next call needs is what the reply brought, not the access token that it replaces."""
    fresh = after({"tokenId": "fake-id-new"}, expiresInSeconds=60)
    assert fresh.auth_token == "fake-id-new"


@pytest.mark.parametrize("token", ["a|b/c#d+=", " spaced ", "ünï-çødé", "\t.", "0", "x" * 100_000])
def test_tokens_are_byte_exact(token: str) -> None:
    """Tokens are opaque: whatever characters they have, they are kept to the byte."""
    fresh = after({"accessToken": token, "refreshToken": token})
    assert (fresh.access_token, fresh.refresh_token) == (token, token)


def test_a_token_written_as_a_number() -> None:
    """A token or an id that is written as a number is one all the same."""
    fresh = after(entry(accessToken=1234567890, refreshToken=-5), old=Tokens("coinbase", "fake-refresh-old"))
    assert (fresh.access_token, fresh.refresh_token) == ("1234567890", "-5")


def test_a_first_mfa_reply_renews_what_it_brings() -> None:
    """The tokens of a continuation are the old ones with whatever the first reply renewed."""
    asked = pending(FULL, brokerAccountTokens=[{"accessToken": "fake-access-new"}], expiresInSeconds=60)
    assert asked.tokens == evolve(
        FULL, access_token="fake-access-new", obtained_at=AT, expires_at=in_seconds(60), not_before=None
    )
    assert asked.all_tokens == (asked.tokens,)
    assert asked.before == FULL


def test_a_first_mfa_reply_may_bring_nothing() -> None:
    """A first reply without a token leaves the tokens as they are, and has none to save."""
    asked = pending(FULL)
    assert (asked.tokens, asked.all_tokens, asked.before) == (FULL, (), FULL)

"""What Link hands over, read into tokens."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import BrokerType, InvalidRequest, Tokens
from tests.examples import bounded

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
ACCOUNT = {"accountId": "A", "meshAccountId": "M", "accountName": "Main", "fund": 1, "cash": 1, "isReconnected": False}
PAYLOAD = {
    "accountTokens": [
        {"account": ACCOUNT, "accessToken": "fake-access-a", "refreshToken": "fake-refresh-a"},
        {"account": {"accountId": "B"}, "accessToken": "fake-access-b", "tokenId": "fake-id-b"},
    ],
    "brokerType": "coinbase",
    "brokerName": "Coinbase",
    "expiresInSeconds": 3600,
    "refreshTokenExpiresInSeconds": 86_400,
    "brokerBrandInfo": {"brokerLogo": "x"},
}
DELAYED = {
    "refreshToken": "fake-refresh-ib",
    "refreshTokenExpiresInSeconds": 86_400,
    "brokerType": "interactiveBrokers",
    "brokerName": "Interactive Brokers",
}


def test_one_for_each_account() -> None:
    """An accessTokenPayload gives the tokens of each account, with its own ids and the payload's lifetimes."""
    hour, day = AT + timedelta(hours=1), AT + timedelta(days=1)
    assert Tokens.from_link(PAYLOAD, obtained_at=AT) == (
        Tokens(BrokerType.COINBASE, "fake-refresh-a", access_token="fake-access-a", account_id="A", mesh_account_id="M",
               account_name="Main", broker_name="Coinbase", obtained_at=AT, expires_at=hour,
               refresh_token_expires_at=day),
        Tokens(BrokerType.COINBASE, None, access_token="fake-access-b", token_id="fake-id-b", account_id="B",
               broker_name="Coinbase", obtained_at=AT, expires_at=hour),
    )  # fmt: skip


def test_delayed_auth() -> None:
    """A delayedAuth payload gives a refresh token that can be exchanged after 24 hours."""
    assert Tokens.from_link(DELAYED, obtained_at=AT) == (
        Tokens(
            "interactiveBrokers", "fake-refresh-ib", broker_name="Interactive Brokers", obtained_at=AT,
            refresh_token_expires_at=AT + timedelta(days=1), not_before=AT + timedelta(hours=24),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("payload", [PAYLOAD, DELAYED])
@pytest.mark.parametrize("wrapper", [None, "accessTokenPayload", "accessToken", "delayedAuth", "payload"])
def test_bare_wrapped_and_as_text(payload: dict[str, Any], wrapper: str | None) -> None:
    """A payload may stand inside what the SDKs hand over, and may be a mapping or JSON text."""
    given = payload if wrapper is None else {wrapper: payload}
    expected = Tokens.from_link(payload, obtained_at=AT)
    for form in (given, json.dumps(given), json.dumps(given).encode()):
        assert Tokens.from_link(form, obtained_at=AT) == expected


@pytest.mark.parametrize("inner", ["accessToken", "delayedAuth"])
def test_an_event_of_the_sdk(inner: str) -> None:
    """The whole integrationConnected event, as Link's onEvent gives it, can be handed over."""
    payload = PAYLOAD if inner == "accessToken" else DELAYED
    event = {"type": "integrationConnected", "payload": {inner: payload}}
    assert Tokens.from_link(event, obtained_at=AT) == Tokens.from_link(payload, obtained_at=AT)


def test_lifetimes_count_from_now_unless_told() -> None:
    """Without obtained_at, lifetimes count from now."""
    before = datetime.now(UTC)
    (first, _) = Tokens.from_link(PAYLOAD)
    assert first.obtained_at is not None
    assert before <= first.obtained_at <= datetime.now(UTC)
    assert first.expires_at == first.obtained_at + timedelta(hours=1)


@pytest.mark.parametrize("lifetime", [None, 0, -5])
def test_unknown_lifetimes(lifetime: object) -> None:
    """Lifetimes that are null, zero or negative are unknown."""
    given = {**PAYLOAD, "expiresInSeconds": lifetime, "refreshTokenExpiresInSeconds": lifetime}
    for tokens in Tokens.from_link(given, obtained_at=AT):
        assert tokens.expires_at is tokens.refresh_token_expires_at is None


def test_a_lifetime_needs_its_token() -> None:
    """An account without an access token or token id has no end of one."""
    given = {**PAYLOAD, "accountTokens": [{"refreshToken": "fake-refresh"}]}
    (tokens,) = Tokens.from_link(given, obtained_at=AT)
    assert tokens.expires_at is None


def test_unknown_brokers() -> None:
    """A broker that nobody listed is kept as Mesh wrote it."""
    (tokens, _) = Tokens.from_link({**PAYLOAD, "brokerType": "brokerOfTomorrow"}, obtained_at=AT)
    assert tokens.broker == "brokerOfTomorrow"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({}, "brokerType"),
        ({"accountTokens": PAYLOAD["accountTokens"]}, "brokerType"),
        ({**PAYLOAD, "brokerType": " "}, "brokerType"),
        ({**PAYLOAD, "brokerType": None}, "brokerType"),
        ({**PAYLOAD, "accountTokens": []}, "no token"),
        ({**PAYLOAD, "accountTokens": None}, "no token"),
        ({**PAYLOAD, "accountTokens": [{"account": ACCOUNT}, {"accessToken": ""}]}, "no token"),
        ({**PAYLOAD, "accountTokens": "text"}, "no token"),
        ({**DELAYED, "refreshToken": ""}, "no token"),
        ("", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("{", "not a JSON object"),
        (b"\xff\xfe", "not a JSON object"),
        (None, "not a JSON object"),
        (7, "not a JSON object"),
        ([PAYLOAD], "not a JSON object"),
    ],
)
def test_bad_payloads(payload: Any, says: str) -> None:
    """What is no payload, names no broker or has no token is refused with the reason."""
    with pytest.raises(InvalidRequest, match=says):
        Tokens.from_link(payload)


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), "2026-01-01", 7])  # noqa: DTZ001 - meant
def test_wrong_obtained_at(moment: Any) -> None:
    """obtained_at is an aware datetime."""
    with pytest.raises(InvalidRequest, match="obtained_at"):
        Tokens.from_link(PAYLOAD, obtained_at=moment)


def test_accounts_without_a_token_are_left_out() -> None:
    """Among several accounts, those without any token are left out."""
    listed = [*PAYLOAD["accountTokens"], {"account": {"accountId": "C"}}, None, 7]  # type: ignore[misc]
    assert len(Tokens.from_link({**PAYLOAD, "accountTokens": listed}, obtained_at=AT)) == 2


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PAYLOAD, *ACCOUNT, "refreshToken", "accessToken", "x"]), inner, max_size=4),  # noqa: E501
    max_leaves=8,
)  # fmt: skip


@bounded(200)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*PAYLOAD, "refreshToken", "payload"], _ANY)))
def test_any_payload(changes: dict[str, Any]) -> None:
    """Whatever stands in a payload, it is tokens or `InvalidRequest`."""
    try:
        found = Tokens.from_link({**PAYLOAD, **changes}, obtained_at=AT)
    except InvalidRequest:
        return
    assert found
    assert all(tokens.refresh_token or tokens.auth_token for tokens in found)

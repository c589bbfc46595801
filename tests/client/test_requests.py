"""What is sent, against the contract."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import ApiStatus, AuthStatus, BrokerType, RefreshRequest, codec
from tests.examples import bounded
from tests.testing.openapi import DOCUMENT, keeps_contract
from tests.tokens_strategies import UNICODE

NEWER = {"uphold", "binancePayOnchain", "sandboxCoinbase", "bybitPay"}
OPTIONAL = {
    "create_new_refresh_token": "createNewRefreshToken",
    "access_token": "accessToken",
    "trade_token": "tradeToken",
    "mfa_code": "mfaCode",
    "metadata": "metadata",
}
FULL: dict[str, Any] = {
    "create_new_refresh_token": True,
    "access_token": "fake-access",
    "trade_token": "fake-trade",
    "mfa_code": "fake-code",
    "metadata": {"region": "eu", "note": None},
}


def sent(request: RefreshRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(codec.encode_request(request))
    return body


def schema(name: str) -> list[str]:
    values: list[str] = DOCUMENT["components"]["schemas"][name]["enum"]
    return values


def test_every_broker_of_the_contract() -> None:
    """Every broker of the page is a member and has its words, and beside them there are the four newer ones."""
    assert len(schema("BrokerType")) == 59
    assert set(BrokerType) == {*schema("BrokerType"), *NEWER}
    assert len(BrokerType) == 63


def test_the_other_enumerations() -> None:
    """The statuses are those of the page."""
    assert set(ApiStatus) == set(schema("ApiResultStatus"))
    assert set(AuthStatus) == set(schema("B2BBrokerAuthStatus"))


def test_unset_fields_are_left_out() -> None:
    """What is not set is left out, never sent as null."""
    assert sent(RefreshRequest("coinbase", "fake-refresh")) == {"type": "coinbase", "refreshToken": "fake-refresh"}


@pytest.mark.parametrize("name", OPTIONAL)
def test_each_field(name: str) -> None:
    """Each field goes by its name in the contract."""
    request = RefreshRequest(BrokerType.COINBASE, "fake-refresh", **{name: FULL[name]})
    body = sent(request)
    assert body == {"type": "coinbase", "refreshToken": "fake-refresh", OPTIONAL[name]: FULL[name]}
    assert keeps_contract(body)


def test_false_is_said() -> None:
    """createNewRefreshToken false is not the same as saying nothing."""
    body = sent(RefreshRequest("coinbase", "fake-refresh", create_new_refresh_token=False))
    assert body["createNewRefreshToken"] is False


def test_empty_metadata_are_metadata() -> None:
    """An empty mapping is sent as it is."""
    assert sent(RefreshRequest("coinbase", "fake-refresh", metadata={}))["metadata"] == {}


@bounded(150)
@given(
    st.sampled_from(schema("BrokerType")),
    UNICODE.filter(bool),
    st.fixed_dictionaries(
        {},
        optional={
            "create_new_refresh_token": st.booleans(),
            "access_token": UNICODE,
            "trade_token": UNICODE,
            "mfa_code": UNICODE,
            "metadata": st.dictionaries(UNICODE, st.none() | UNICODE, max_size=3),
        },
    ),
)
def test_every_request_keeps_the_contract(broker: str, refresh_token: str, fields: dict[str, Any]) -> None:
    """Whatever the tokens are, the body validates against the contract and says them to the byte."""
    body = sent(RefreshRequest(broker, refresh_token, **fields))
    assert keeps_contract(body)
    expected = {OPTIONAL[name]: value for name, value in fields.items()}
    assert body == {"type": broker, "refreshToken": refresh_token, **expected}


def test_a_request_shows_no_secret() -> None:
    """The repr of a request names its fields and masks them."""
    shown = repr(RefreshRequest("coinbase", "fake-refresh", **FULL))
    assert "fake" not in shown
    assert "eu" not in shown
    assert "'region'" in shown

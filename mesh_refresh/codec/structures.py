"""JSON values to messages, and requests to bytes. The only user of cattrs."""

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from mesh_refresh.codec.values import amount, auth_status, flag, identifier, lifetime, text, token
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.messages import (
    BrokerAccount,
    BrokerAccountTokens,
    BrokerFiatBalance,
    BrokerRefreshTokenResponse,
    RefreshRequest,
)

_T = TypeVar("_T")

_converter = Converter(detailed_validation=False)


def _many(value: Any, read: Callable[[Any], _T | None]) -> tuple[_T, ...]:
    """The items of a list, each by `read`. One item alone is a list of one. Items that `read` refuses are left out."""
    items = value if type(value) is list else [value]
    return tuple([item for item in map(read, items) if item is not None])


# Written by hand, with the fields in their order: functions made by cattrs cost a refresh one per cent more CPU time.


def _balance(value: Any) -> BrokerFiatBalance | None:
    if type(value) is not dict:
        return None
    get = value.get
    return BrokerFiatBalance(
        text(get("symbol")),
        amount(get("buyingPower")),
        amount(get("cryptoBuyingPower")),
        amount(get("cash")),
    )


def _account(value: Any) -> BrokerAccount | None:
    if type(value) is not dict:
        return None
    get = value.get
    return BrokerAccount(
        identifier(get("meshAccountId")),
        identifier(get("frontAccountId")),
        identifier(get("accountId")),
        text(get("accountName")),
        amount(get("fund")),
        amount(get("cash")),
        flag(get("isReconnected")),
        _many(get("balances"), _balance),
    )


def _entry(value: Any) -> BrokerAccountTokens | None:
    if type(value) is not dict:
        return None
    get = value.get
    return BrokerAccountTokens(
        _account(get("account")),
        token(get("accessToken")),
        token(get("refreshToken")),
        token(get("tokenId")),
    )


def read_content(value: Any) -> BrokerRefreshTokenResponse | None:
    """The ``content`` of an envelope; None where it is no object. A field of a wrong type reads as absent."""
    if type(value) is not dict:
        return None
    get = value.get
    return BrokerRefreshTokenResponse(
        auth_status(get("status")),
        text(get("errorMessage")),
        _account(get("account")),
        token(get("accessToken")),
        token(get("refreshToken")),
        lifetime(get("expiresInSeconds")),
        lifetime(get("refreshTokenExpiresInSeconds")),
        _many(get("brokerAccountTokens"), _entry),
    )


_unstructure_request = make_dict_unstructure_fn(
    RefreshRequest,
    _converter,
    _cattrs_omit_if_default=True,
    type=override(unstruct_hook=str),
    create_new_refresh_token=override(rename="createNewRefreshToken"),
    refresh_token=override(rename="refreshToken"),
    access_token=override(rename="accessToken"),
    trade_token=override(rename="tradeToken"),
    mfa_code=override(rename="mfaCode"),
    metadata=override(unstruct_hook=dict),
)


def encode_request(request: RefreshRequest) -> MaskedBytes:
    """The request's body, as JSON. Fields that are None are left out: the contract does not want null."""
    # Copied, because orjson's own bytes sit in a buffer of four kilobytes, and thousands of refreshes may be waiting.
    return MaskedBytes(memoryview(orjson.dumps(_unstructure_request(request))))

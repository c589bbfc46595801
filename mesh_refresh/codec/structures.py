"""JSON values to messages, and requests to bytes; values of our own to text and back. The only user of cattrs.

A value of a wrong type reads as absent.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, TypeVar

import orjson
from attrs import AttrsInstance, asdict
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from mesh_refresh.blank import some
from mesh_refresh.enums import AuthStatus, known
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
_converter.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
_LONGEST_LIFETIME = timedelta(days=36_500).total_seconds()


def text(value: Any) -> str | None:
    """Any text."""
    return value if type(value) is str else None


def token(value: Any) -> str | None:
    """A token: text, or a whole number as its digits. The messages make None of blank text."""
    return value if type(value) is str else str(value) if type(value) is int else None


def identifier(value: Any) -> str | None:
    """An id: text that is not blank, or a whole number as its digits."""
    return some(token(value))


def amount(value: Any) -> float | None:
    """A number, or text with a number. None for infinity, and for a value that is no number."""
    if type(value) is float:
        return value if isfinite(value) else None
    if type(value) is not str:
        return value if type(value) is int else None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None


def flag(value: Any) -> bool | None:
    """True or false."""
    return value if type(value) is bool else None


def lifetime(value: Any) -> timedelta | None:
    """A number of seconds as a span. None for zero, for negative numbers, and for more than a hundred years."""
    seconds = amount(value)
    if seconds is None or not 0 < seconds <= _LONGEST_LIFETIME:
        return None
    return timedelta(seconds=seconds)


def auth_status(value: Any) -> AuthStatus | str | None:
    """A member of the open enumeration, or a text that is not in it."""
    return known(AuthStatus, value) if type(value) is str else None


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


def write_value(value: AttrsInstance) -> str:
    """`value`, of an attrs class of ours, as JSON text."""
    return orjson.dumps(asdict(value)).decode()


def read_value(text: str, kind: type[_T]) -> _T | None:
    """The `kind` in what `write_value` wrote; None where it is none. Other names are passed over."""
    try:
        return _converter.structure(orjson.loads(str.__str__(text)), kind)
    except Exception:  # noqa: BLE001 - the text may be any, and cattrs raises what its hooks raise
        return None

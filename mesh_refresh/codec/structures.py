"""JSON values to messages, and requests to bytes: the one user of cattrs."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from mesh_refresh.codec.values import amount, auth_status, flag, identifier, lifetime, text
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.messages import (
    BrokerAccount,
    BrokerAccountTokens,
    BrokerFiatBalance,
    BrokerRefreshTokenResponse,
    RefreshRequest,
)

_T = TypeVar("_T")
_Read = Callable[[Any, Any], Any]

_converter = Converter(detailed_validation=False)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _reader(cls: type[_T], wire_names: Mapping[str, str] | None = None, **reads: _Read) -> Callable[..., _T | None]:
    """A function from any JSON value to a `cls`, or None where the value is not an object."""
    names = wire_names or {}
    # Any, because mypy takes what cattrs takes by name to be its flags.
    fields: dict[str, Any] = {
        name: override(rename=names.get(name, _camel(name)), struct_hook=read) for name, read in reads.items()
    }
    structure = make_dict_structure_fn(cls, _converter, **fields)
    return lambda value, _=None: structure(value, cls) if type(value) is dict else None


def many(read: Callable[[Any], _T | None]) -> Callable[[Any, Any], tuple[_T, ...]]:
    """A reader of lists by a reader of items. One item alone is a list of one; what is no item is passed over."""

    def read_all(value: Any, _: Any) -> tuple[_T, ...]:
        items = value if type(value) is list else [value]
        return tuple([item for item in map(read, items) if item is not None])

    return read_all


_balance = _reader(BrokerFiatBalance, symbol=text, buying_power=amount, crypto_buying_power=amount, cash=amount)
_account = _reader(
    BrokerAccount,
    mesh_account_id=identifier,
    front_account_id=identifier,
    account_id=identifier,
    account_name=text,
    fund=amount,
    cash=amount,
    is_reconnected=flag,
    balances=many(_balance),
)
read_entry = _reader(
    BrokerAccountTokens,
    account=_account,
    access_token=identifier,
    refresh_token=identifier,
    token_id=identifier,
)
read_content = _reader(
    BrokerRefreshTokenResponse,
    {"expires_in": "expiresInSeconds", "refresh_token_expires_in": "refreshTokenExpiresInSeconds"},
    status=auth_status,
    error_message=text,
    account=_account,
    access_token=identifier,
    refresh_token=identifier,
    expires_in=lifetime,
    refresh_token_expires_in=lifetime,
    broker_account_tokens=many(read_entry),
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
    """The request's body, as JSON. What is unset is left out: the contract does not want it sent as null."""
    # Copied, because orjson's own bytes sit in a buffer of four kilobytes, and thousands of refreshes may be waiting.
    return MaskedBytes(memoryview(orjson.dumps(_unstructure_request(request))))

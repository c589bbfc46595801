"""The short way of `merge`, for the one entry of a reply, makes what the rules for all replies make."""

from datetime import UTC, datetime, timedelta
from itertools import product
from unittest import mock

import pytest
from attrs import evolve

from mesh_refresh.messages import BrokerAccount, BrokerAccountTokens, BrokerRefreshTokenResponse
from mesh_refresh.replies import merging
from mesh_refresh.tokens import Tokens

_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_ACCOUNTS = (None, BrokerAccount(), BrokerAccount(account_id="id-1"), BrokerAccount(mesh_account_id="id-1"))
_OTHER = BrokerAccount(account_id="id-2")
_ENTRIES = [
    BrokerAccountTokens(*fields)
    for fields in product((*_ACCOUNTS, _OTHER), (None, "fake-new"), (None, "fake-old", "fake-next"), (None, "fake-id"))
]
_BESIDE = [*product((*_ACCOUNTS, _OTHER), (None, "fake-new", "fake-top"), (None, "fake-next", "fake-top"))]
_SENT = Tokens("coinbase", "fake-old", token_id="fake-id", ref="ref", refresh_token_expires_at=_AT + _HOUR)
_OWN = (_SENT, evolve(_SENT, account_id="id-1"), evolve(_SENT, mesh_account_id="id-1"))


def _replies() -> list[BrokerRefreshTokenResponse]:
    pairs = [(entry,) for entry in _ENTRIES] + [(entry, _ENTRIES[-1]) for entry in _ENTRIES]
    return [
        BrokerRefreshTokenResponse(None, None, *beside, _HOUR, None, listed)
        for beside, listed in product(_BESIDE, pairs)
    ]


def test_the_short_way_makes_what_the_long_one_makes() -> None:
    """For each form of an entry, of what stands beside it, and of what is known of the account."""
    calls = [*product(_OWN, _replies())]
    short = [merging.merge(tokens, content, _AT) for tokens, content in calls]
    with mock.patch.object(merging, "_only_entry", return_value=None):
        for (tokens, content), merged in zip(calls, short, strict=True):
            assert merging.merge(tokens, content, _AT) == merged


def test_one_entry_with_nothing_beside_it_goes_the_short_way() -> None:
    """Else there would be nothing to compare."""
    entry = BrokerAccountTokens(BrokerAccount(account_id="id-1"), "fake-access", "fake-new")
    content = BrokerRefreshTokenResponse(broker_account_tokens=(entry,))
    with mock.patch.object(merging, "_entries", side_effect=NotImplementedError):
        for tokens in _OWN[:2]:
            merging.merge(tokens, content, _AT)
        with pytest.raises(NotImplementedError):
            merging.merge(_OWN[2], content, _AT)

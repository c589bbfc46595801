"""A login as text, to be sealed: what a store keeps and never sees.

Only what differs from its default is written: most rows are a healthy account, and there are millions.
"""

import base64
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from attrs import AttrsInstance, fields

from mesh_refresh import codec
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.logins.account import Account, AccountState, Pending, Reason
from mesh_refresh.logins.login import Login
from mesh_refresh.logins.moving import Moving, Way
from mesh_refresh.masking import MaskedBytes, MaskedDict
from mesh_refresh.tokens import Tokens, check_format


def values_of(value: AttrsInstance) -> MaskedDict:
    """The fields of `value`, by their names."""
    return MaskedDict({field.name: getattr(value, field.name) for field in fields(type(value))})


def body_to_text(body: bytes) -> str:
    """`body`, compressed (zlib) and in base64."""
    # The fastest level: a large body must not hold up the event loop, and most of what there is to save is saved.
    return base64.b64encode(zlib.compress(body, zlib.Z_BEST_SPEED)).decode()


def body_from_text(text: str) -> MaskedBytes:
    """What `body_to_text` was given. Raises `ValueError` or `TypeError` for anything else."""
    compressed = MaskedBytes(base64.b64decode(text))
    del text
    try:
        return MaskedBytes(zlib.decompress(compressed))
    except zlib.error:
        pass
    raise ValueError


_DOCUMENT = "mesh_refresh.login"
_VERSION = 1
_KEPT_OUTSIDE = ("tokens", "pending", "body")
_MOMENTS = ("round_at", "succeeded_at")
_ACCOUNT_MOMENTS = [kept.name for kept in fields(Account) if kept.type == datetime | None]


def login_to_text(login: Login) -> str:
    """What is sealed of `login`: everything but what the row itself shows."""
    document = MaskedDict(
        format=_DOCUMENT, version=_VERSION, accounts=[_account(account) for account in login.accounts]
    )
    for name in _MOMENTS:
        value: datetime | None = getattr(login, name)
        if value is not None:
            document[name] = value
    if login.notice_sequence:
        document["notice_sequence"] = login.notice_sequence
    if login.moving is not None:
        moving = login.moving
        seen = [list(pair) for pair in moving.seen]
        document["moving"] = {"way": moving.way, "revision": moving.revision, "seen": seen, "other": moving.other}
    return codec.dumps(document)


def login_from_text(text: str, **shown: Any) -> Login:
    """The login in what `login_to_text` wrote, with what its row has `shown`. Raises `InvalidRequest` for others."""
    document = codec.loads(text)
    del text
    if document is None:
        raise InvalidRequest("This is not a login document: it is not a JSON object.")
    check_format(document, _DOCUMENT, _VERSION)
    try:
        accounts = tuple([_read_account(MaskedDict(account)) for account in document["accounts"]])
        moments: dict[str, Any] = {
            name: datetime.fromisoformat(document[name]) for name in _MOMENTS if name in document
        }
        return Login(
            accounts=accounts,
            moving=_read_moving(document.get("moving")),
            notice_sequence=int(document.get("notice_sequence", 0)),
            **moments,
            **shown,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        wrong = type(error).__name__
    raise InvalidRequest(f"This login document is damaged ({wrong}): a part of it is missing or of another type.")


def _read_moving(document: Mapping[str, Any] | None) -> Moving | None:
    if document is None:
        return None
    seen = tuple((str(epoch), int(number)) for epoch, number in document["seen"])
    return Moving(Way(document["way"]), int(document["revision"]), seen, str(document["other"]))


def _account(account: Account) -> MaskedDict:
    document = MaskedDict(tokens=account.tokens.to_document())
    for name, default in _SIMPLE:
        value = getattr(account, name)
        if value != default:
            document[name] = value
    if account.pending is not None:
        document["pending"] = values_of(account.pending)
    if account.body is not None:
        document["body"] = body_to_text(account.body)
    return document


def _read_account(document: MaskedDict) -> Account:
    values = MaskedDict()
    for name in document:
        if name in _READ:
            values[name] = _READ[name](document[name])
    if "pending" in document:
        asked = MaskedDict(document["pending"])
        asked["asked_at"] = datetime.fromisoformat(asked["asked_at"])
        values["pending"] = Pending(**asked)
    if "body" in document:
        values["body"] = body_from_text(document["body"])
    return Account(Tokens.from_document(document["tokens"]), **values)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _as_it_is(value: Any) -> Any:
    return value


_SIMPLE = tuple((kept.name, kept.default) for kept in fields(Account) if kept.name not in _KEPT_OUTSIDE)
_READ: Mapping[str, Callable[[Any], Any]] = {
    **{name: _as_it_is for name, _ in _SIMPLE},
    **dict.fromkeys(_ACCOUNT_MOMENTS, datetime.fromisoformat),
    "state": AccountState,
    "known": _text,
    "announced": _text,
    "reason": Reason,
}

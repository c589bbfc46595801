"""A login as text, to be sealed: what a store keeps and never sees.

It is a JSON array, with each value at its own place. There are millions of rows, and most are a healthy account: the
names of what it has would take longer to write and to read than all of its values. Nothing is checked that the seal has
proved to be ours.
"""

import base64
import zlib
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson
from attrs import AttrsInstance, fields

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.logins.account import Account, AccountState, Pending, Reason
from mesh_refresh.logins.login import Login
from mesh_refresh.logins.moving import Moving, Way
from mesh_refresh.masking import MaskedBytes, MaskedDict, MaskedList
from mesh_refresh.tokens import fields_of, tokens_of


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


_VERSION = 1
_OFTEN = 9
"""So many fields of `Account`, its first ones, are written always; the others where one of them has no default."""
_NAMES = tuple(kept.name for kept in fields(Account))
_REST = tuple(kept.default for kept in fields(Account))[_OFTEN:]
_MOMENTS = tuple(_NAMES.index(kept.name) for kept in fields(Account) if kept.type == datetime | None)
_REASON, _PENDING, _BODY = map(_NAMES.index, ("reason", "pending", "body"))
_STATES = {state.value: state for state in AccountState}

_often, _rest = attrgetter(*_NAMES[:_OFTEN]), attrgetter(*_NAMES[_OFTEN:])
_asked = attrgetter(*(kept.name for kept in fields(Pending)))


def login_to_text(login: Login) -> str:
    """What is sealed of `login`: everything but what the row itself shows."""
    moving = login.moving
    moves = None if moving is None else (moving.way, moving.revision, moving.seen, moving.other)
    accounts = [_account(account) for account in login.accounts]
    document = MaskedList((_VERSION, accounts, login.round_at, login.succeeded_at, login.notice_sequence, moves))
    return orjson.dumps(document).decode()


def login_from_text(text: str, **shown: Any) -> Login:
    """The login in what `login_to_text` wrote, with what its row has `shown`. Raises `InvalidRequest` for others."""
    try:
        document = orjson.loads(str.__str__(text))  # it takes no subclass, such as text that masks itself
        if document[0] == _VERSION:
            return _read(document[1:], shown)
        wrong = "is of a version that this mesh_refresh cannot read: update it"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        wrong = f"is damaged ({type(error).__name__}): a part of it is missing or of another type"
    text = document = ""  # a traceback may be rendered with its locals
    raise InvalidRequest(f"This login document {wrong}.")


def _account(account: Account) -> list[Any]:
    values = [*_often(account)]
    if (rest := _rest(account)) != _REST:
        values += rest
        if account.pending is not None:
            values[_PENDING] = _asked(account.pending)
        if account.body is not None:
            values[_BODY] = body_to_text(account.body)
    values[0] = fields_of(account.tokens)
    return values


def _read(document: list[Any], shown: dict[str, Any]) -> Login:
    accounts, round_at, succeeded_at, notice_sequence, moves = document
    return Login(
        accounts=tuple([_read_account(account) for account in accounts]),
        round_at=None if round_at is None else datetime.fromisoformat(round_at),
        succeeded_at=None if succeeded_at is None else datetime.fromisoformat(succeeded_at),
        moving=None if moves is None else _read_moving(*moves),
        notice_sequence=notice_sequence,
        **shown,
    )


def _read_moving(way: str, revision: int, seen: list[tuple[str, int]], other: str) -> Moving:
    return Moving(Way(way), revision, tuple([(epoch, number) for epoch, number in seen]), other)


def _read_account(values: list[Any]) -> Account:
    length = len(values)
    for place in _MOMENTS:
        if place < length and values[place] is not None:
            values[place] = datetime.fromisoformat(values[place])
    values[0], values[1] = tokens_of(values[0]), _STATES[values[1]]
    if length > _OFTEN:
        reason, asked, body = values[_REASON], values[_PENDING], values[_BODY]
        values[_REASON] = None if reason is None else Reason(reason)
        values[_PENDING] = None if asked is None else _read_question(*asked)
        values[_BODY] = None if body is None else body_from_text(body)
    return Account(*values)


def _read_question(question_id: str, document: str, asked_at: str, *rest: Any) -> Pending:
    return Pending(question_id, document, datetime.fromisoformat(asked_at), *rest)

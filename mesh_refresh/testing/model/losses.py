"""Lost accounts: no program holds tokens that refresh them. Every fault test asserts that there are none. Pure.

Likewise misplaced tokens: those kept for one login and issued to another.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from enum import Enum

from attrs import field, frozen

from mesh_refresh.masking import masked
from mesh_refresh.testing.fake.options import NEEDS_ACCESS_TOKEN
from mesh_refresh.testing.fake.upstream import Seat
from mesh_refresh.testing.model.holdings import Held, Holdings, counted
from mesh_refresh.testing.model.ledger import End, Ledger, TokenKind, Withheld
from mesh_refresh.testing.model.logins import FakeLogin


class LossReason(Enum):
    """Why an account counts as lost."""

    NOT_HELD = "its live token went out, and no holder has it"
    UNDELIVERED = "a fault withheld its live refresh token: no client could hold it"
    HUNG_UP = "the client hung up before its live refresh token was written"
    SIBLING = "its string died with a sibling's, and the reply brought none for it"
    REUSE = "the broker revoked it, because a spent token was sent again"
    SWAPPED = "its live refresh token is held for another account only"
    ACCESS_TOKEN = "its broker takes no refresh token without an access token, and none is held with it"
    TOKEN_ID = "Mesh manages its token, and no token id is held for it"
    TRADE_TOKEN = "its trade token, which Mesh never returns, is not held with its refresh token"


@frozen
class Lost:
    """An account that only its owner can bring back, by logging in again."""

    login: str
    account: str
    broker: str
    reason: LossReason


@frozen
class _Books:
    """All that decides whether an account is lost."""

    ledger: Ledger
    holdings: Holdings
    now: datetime
    ids_of: Mapping[str, frozenset[str]] = field(repr=counted)
    """For each login, the ids of all its accounts."""
    all_ids: frozenset[str] = field(repr=counted)
    """The ids of all accounts."""


def lost(logins: Collection[FakeLogin], ledger: Ledger, holdings: Holdings, now: datetime) -> Iterator[Lost]:
    """The lost accounts, where `holdings` are all tokens that programs have saved.

    An account whose login the person has revoked, or whose tokens have expired, does not count as lost.
    """
    ids_of = {login.id: frozenset().union(*map(_ids, login.seats.all)) for login in logins}
    books = _Books(ledger, holdings, now, ids_of, frozenset().union(*ids_of.values()))
    for login in logins:
        for seat in () if login.refused else login.seats.all:
            reason = _reason(seat, login, books) if login.options.refreshable else _reason_without(seat, books)
            if reason is not None:
                yield Lost(login.id, seat.account_id, login.broker, reason)


def _reason(seat: Seat, login: FakeLogin, books: _Books) -> LossReason | None:
    """Why an account that has refresh tokens is lost."""
    if seat.refresh is None:
        ends = {
            record.end
            for record in books.ledger.tokens.values()
            if _could_be(record.account, seat) and record.login == login.id
        }
        return LossReason.REUSE if End.REUSE in ends else LossReason.SIBLING
    record = books.ledger.find(seat.refresh, TokenKind.REFRESH)
    if record is None or not record.alive(books.now):
        return None
    found = books.holdings.with_value(seat.refresh)
    if not found:
        why = books.ledger.is_withheld(seat.refresh)
        if why is Withheld.BY_FAULT:
            return LossReason.UNDELIVERED
        return LossReason.HUNG_UP if why is Withheld.HUNG_UP else LossReason.NOT_HELD
    # A token of no one account may be kept for each account of its login.
    owners = _ids(seat) if record.account is not None else books.ids_of[login.id]
    own = [held for held in found if not held.is_for_another(owners, books.all_ids)]
    return _incomplete(own, login) if own else LossReason.SWAPPED


def _reason_without(seat: Seat, books: _Books) -> LossReason | None:
    """Why an account that never has a refresh token is lost."""
    record = books.ledger.tokens.get(seat.access or "")
    if record is None or not record.alive(books.now):
        return None
    found = books.holdings.with_value(record.value)
    if not found:
        return LossReason.TOKEN_ID if record.kind is TokenKind.TOKEN_ID else LossReason.NOT_HELD
    own = [held for held in found if not held.is_for_another(_ids(seat), books.all_ids) or record.account is None]
    return None if own else LossReason.SWAPPED


def _incomplete(found: Iterable[Held], login: FakeLogin) -> LossReason | None:
    """The reason, where a token that the broker wants beside the refresh token is not held with it. None: all are."""
    managed = login.options.token_ids and any(tokens.token_id for tokens in login.tokens)
    if managed or login.broker in NEEDS_ACCESS_TOKEN:
        found = [held for held in found if held.is_loose or any(map(login.seats.has_access, held.values))]
        if not found:
            return LossReason.TOKEN_ID if managed else LossReason.ACCESS_TOKEN
    if login.trade_token is not None and not any(held.is_loose or login.trade_token in held.values for held in found):
        return LossReason.TRADE_TOKEN
    return None


def _ids(seat: Seat) -> frozenset[str]:
    return frozenset((seat.account_id, seat.mesh_account_id))


def _could_be(account: str | None, seat: Seat) -> bool:
    return account is None or account == seat.account_id


@frozen
class Misplaced:
    """A token that is kept for one login, and was issued to another."""

    kept_for: str
    login: str
    """The login that it was issued to."""
    account: str | None
    broker: str
    kind: TokenKind
    value: str = field(repr=masked)


def misplaced(
    placed: Iterable[tuple[str, str]], ledger: Ledger, logins: Mapping[str, FakeLogin]
) -> Iterator[Misplaced]:
    """Those of `placed`, pairs of a login and a value kept for it, that were issued to another login."""
    for login, value in placed:
        record = ledger.tokens.get(value)
        if record is not None and record.login != login:
            broker = logins[record.login].broker
            yield Misplaced(login, record.login, record.account, broker, record.kind, value)

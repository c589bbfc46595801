"""The figure that every fault test asserts to be empty: accounts whose live refresh token nobody holds."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from enum import Enum

from attrs import frozen

from mesh_refresh.testing.ledger import End, Kind, Ledger, Withheld
from mesh_refresh.testing.login import FakeLogin
from mesh_refresh.testing.upstream import Seat


class Reason(Enum):
    """Why an account counts as lost."""

    NOT_HELD = "its live refresh token went out, and nobody holds it"
    UNDELIVERED = "a fault withheld its live refresh token: no client could hold it"
    HUNG_UP = "the client hung up before its live refresh token was written"
    SIBLING = "its string died with a sibling's, and the reply brought none for it"
    REUSE = "the broker revoked it, because a spent token was sent again"


@frozen
class Lost:
    """An account that only its owner can bring back, by logging in again."""

    login: str
    account: str
    broker: str
    reason: Reason


def lost(logins: Iterable[FakeLogin], ledger: Ledger, held: Collection[str], now: datetime) -> Iterator[Lost]:
    """The lost accounts, where `held` are all the refresh tokens that are written down somewhere.

    What its owner has revoked, what never had a refresh token, and what ran out by the clock is not lost.
    """
    for login in logins:
        if login.refused or not login.options.refreshable:
            continue
        for seat in login.seats.all:
            reason = _reason(seat, login, ledger, held, now)
            if reason is not None:
                yield Lost(login.id, seat.account_id, login.broker, reason)


def _reason(seat: Seat, login: FakeLogin, ledger: Ledger, held: Collection[str], now: datetime) -> Reason | None:
    if seat.refresh is None:
        ends = {
            record.end
            for record in ledger.tokens.values()
            if _could_be(record.account, seat) and record.login == login.id
        }
        return Reason.REUSE if End.REUSE in ends else Reason.SIBLING
    record = ledger.find(seat.refresh, Kind.REFRESH)
    if seat.refresh in held or record is None or not record.alive(now):
        return None
    why = ledger.is_withheld(seat.refresh)
    if why is Withheld.BY_FAULT:
        return Reason.UNDELIVERED
    return Reason.HUNG_UP if why is Withheld.HUNG_UP else Reason.NOT_HELD


def _could_be(account: str | None, seat: Seat) -> bool:
    return account is None or account == seat.account_id

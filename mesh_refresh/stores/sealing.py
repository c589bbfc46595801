"""Turns a login into a row and back. Everything secret is sealed to the login's id in between."""

import logging
from datetime import datetime
from typing import Protocol

from attrs import evolve

from mesh_refresh.enums import BrokerType, known
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.logins import (
    Login,
    login_from_text,
    login_to_text,
    with_own_epochs,
)
from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.errors import StoreDamaged
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import Row

_log = logging.getLogger("mesh_refresh.stores")


class Sealing(Protocol):
    """Seals and opens text. `Cipher` and `PlainText` do."""

    def seal(self, text: str, context: str = "") -> bytes:
        """`text`, to be opened only with the same `context`."""
        ...

    def open(self, sealed: bytes, context: str = "") -> str:
        """The text. Raises `WrongKey` where it does not open."""
        ...


def row_of(cipher: Sealing, login: Login, changed_at: datetime) -> Row:
    """The row that keeps `login`, as changed at `changed_at`. Accounts that share an epoch get new ones."""
    login = _told_apart(login)
    accounts, states = login.accounts, frozenset[str]([account.state for account in login.accounts])
    if login.moving is not None:
        # Its home is another store: here it is never due and never counts as expired.
        accounts, states = (), frozenset((login.moving.way.value,))
    due = [account.due_at for account in accounts if account.due_at is not None and not account.parked]
    ends = [account.ends_at for account in accounts if account.ends_at is not None]
    return Row(
        login.login_id,
        str(login.broker),
        states,
        min(due, default=None),
        min(ends, default=None),
        changed_at,
        cipher.seal(MaskedStr(login_to_text(login)), context_of(login.login_id)),
        login.epoch,
        login.revision,
        login.attempt,
    )


def open_row(cipher: Sealing, row: Row) -> Login:
    """The login that `row` keeps. Raises `WrongKey` or `StoreDamaged`."""
    text = MaskedStr(cipher.open(row.sealed, context_of(row.login_id)))
    try:
        login = login_from_text(
            text,
            login_id=row.login_id,
            broker=known(BrokerType, row.broker),
            changed_at=row.changed_at,
            epoch=row.epoch,
            revision=row.revision,
            attempt=row.attempt,
        )
    except InvalidRequest as error:
        raise StoreDamaged(f"The row of a login cannot be read. {error}") from None
    return _told_apart(login)


def _told_apart(login: Login) -> Login:
    """`login` with an epoch of its own for each account. Where two accounts share one, a reply for the first would be
    written over the tokens of the second.
    """
    apart = with_own_epochs(login)
    if apart is not login:
        _log.error("accounts of a login have one epoch, and get others", extra={"login_id": login.login_id})
    return apart


def context_of(login_id: str) -> str:
    """The context in which a login is sealed."""
    return f"login:{login_id}"


def context_of_notice(notice: NoticeRow) -> str:
    """The context in which a notice is sealed.

    It says how long the id is: a writer of the database could cut ``ID:LOGIN`` at another colon.
    """
    return f"notice:{len(notice.id)}:{notice.id}:{notice.login_id}"


def sealed_for(to: Sealing, notice: NoticeRow, cipher: Sealing) -> NoticeRow:
    """`notice`, which `cipher` sealed, sealed by `to`. Raises `WrongKey` or `StoreDamaged` where it does not open."""
    context = context_of_notice(notice)
    return evolve(notice, sealed=to.seal(MaskedStr(cipher.open(notice.sealed, context)), context))

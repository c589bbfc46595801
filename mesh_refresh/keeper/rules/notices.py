"""What of a write must be told until it is taken: notices, from a login as it was read and as it is written. Pure.

Each account keeps in `Account.announced` which notice says how it is now. A notice is made where that is not true any
more, so a write that is repeated makes none, and what two writes did between two looks is told once. Nothing is told of
a login that is moved or arriving: its home is another store, and what came for it is told when it is at home.

See docs/decisions/notices.md.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from attrs import evolve

from mesh_refresh.keeper.notices import Notice, NoticeKind
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.schedule import backoff, chance_of
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.stores.outbox import LONGEST_WAIT

_OF_STATE = {
    AccountState.RECONNECT_REQUIRED: NoticeKind.RECONNECT_REQUIRED,
    AccountState.MFA_REQUIRED: NoticeKind.MFA_NEEDED,
    AccountState.UNREADABLE: NoticeKind.UNREADABLE,
}


def with_notices(
    before: Login | None, after: Login, now: datetime, *, by_add: bool = False
) -> tuple[Login, tuple[Notice, ...]]:
    """`after` as it must be written, and the notices to write with it.

    `before` is the login as it was read; None: `after` is new. `by_add`: the person's own tokens were added. Accounts
    keep their places in a login, and new ones come behind them.
    """
    if before is None:
        return after, ()
    accounts, found = [], []
    for index, account in enumerate(after.accounts):
        old = before.accounts[index] if index < len(before.accounts) else None
        announced = "" if old is None else old.announced
        if after.moving is None:
            kinds = tuple(_kinds(old, account, announced, by_add=by_add))
            announced = _announced_after(announced, kinds)
            found += [(account, kind) for kind in kinds]
        accounts.append(account if account.announced == announced else evolve(account, announced=announced))
    if any(one is not other for one, other in zip(accounts, after.accounts, strict=True)):
        after = after.having(tuple(accounts))
    if not found:
        return after, ()
    first = after.notice_sequence + 1 if after.notice_sequence else int(now.timestamp() * 1000)
    notices = tuple(
        _notice(after, account, kind, now, sequence) for sequence, (account, kind) in enumerate(found, first)
    )
    return evolve(after, notice_sequence=notices[-1].sequence), notices


def next_try(notice_id: str, tries: int, after: timedelta | None, now: datetime, policy: Policy) -> datetime:
    """When a notice that was not taken is tried again. `after`: what its handler said, at the most a day."""
    if after is not None:
        return now + min(max(after, timedelta()), LONGEST_WAIT)
    return now + min(backoff(tries, chance_of(notice_id, tries), policy), LONGEST_WAIT)


def _kinds(old: Account | None, account: Account, announced: str, *, by_add: bool) -> Iterator[NoticeKind]:
    """What must be told of `account`, in this order."""
    if old is None and not by_add:
        yield NoticeKind.ACCOUNT_JOINED
    kind = _OF_STATE.get(account.state)
    if kind is not None:
        if announced != kind or _is_another(old, account):
            yield kind
        return
    if account.reason is not None:
        return  # it was parked, and is retried: an exchange will tell whether it works
    ends_soon = account.renewal_stuck and account.tokens.refresh_token_expires_at is not None
    if announced == NoticeKind.RECONNECT_SOON and ends_soon:
        return
    if announced:
        yield NoticeKind.MFA_DONE if announced == NoticeKind.MFA_NEEDED and not by_add else NoticeKind.RECOVERED
    if ends_soon:
        yield NoticeKind.RECONNECT_SOON


def _is_another(old: Account | None, account: Account) -> bool:
    """Whether an account that is parked as its last notice says has another question by now, or another reason."""
    had, has = old and old.pending, account.pending
    return old is None or old.reason is not account.reason or (had and had.id) != (has and has.id)


def _announced_after(announced: str, kinds: tuple[NoticeKind, ...]) -> str:
    for kind in kinds:
        if kind is not NoticeKind.ACCOUNT_JOINED:
            announced = "" if kind in (NoticeKind.RECOVERED, NoticeKind.MFA_DONE) else kind.value
    return announced


def _notice(login: Login, account: Account, kind: NoticeKind, now: datetime, sequence: int) -> Notice:
    tokens, is_parked = account.tokens, kind in _OF_STATE.values()
    made_of = "\n".join((login.epoch, account.epoch, kind, str(login.revision + 1)))
    return Notice(
        id=hashlib.blake2b(made_of.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(),
        kind=kind,
        login_id=login.login_id,
        account_id=tokens.account_id or tokens.mesh_account_id,
        broker=str(login.broker),
        at=now,
        sequence=sequence,
        reason=account.reason if is_parked else None,
        display_message=account.display_message if is_parked else None,
        pending_id=account.pending.id if kind is NoticeKind.MFA_NEEDED and account.pending is not None else None,
        ends_at=tokens.refresh_token_expires_at if kind is NoticeKind.RECONNECT_SOON else None,
    )

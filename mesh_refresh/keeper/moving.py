"""How a login goes from one store to another while keepers run on both. Pure.

It is written to the new store as arriving, marked as moved in the old one, and then released in the new one. At each of
these moments it is exchanged in one of them at the most. The numbers of attempts are each store's own: those of the old
one become numbers that are lower than any of the new one's, in the same order.
"""

from attrs import evolve

from mesh_refresh.keeper import fingerprints
from mesh_refresh.keeper.adding import Adding, added
from mesh_refresh.keeper.standing import replaced
from mesh_refresh.logins import Account, Login, Moving, Way
from mesh_refresh.logins.joining import same_account


def arriving(source: Login, target: Login | None, epoch: str) -> Login:
    """What is written to the new store, which has `target`; `epoch` is the row's there where it has none."""
    accounts = tuple(_rebased(account, source) for account in source.accounts)
    if target is None:
        return evolve(source, accounts=accounts, moving=Moving(Way.ARRIVING), epoch=epoch, revision=0, attempt=0)
    # What was added there meanwhile is the person's latest login.
    own = tuple(it for it in target.accounts if source.by_epoch(it.epoch) is None)
    kept = tuple(it for it in accounts if not any(_is_same(it, other) for other in own))
    times = (source.round_at, source.succeeded_at)
    return evolve(target, accounts=(*kept, *own), round_at=times[0], succeeded_at=times[1])


def joined(source: Login, target: Login) -> Login:
    """`target`, a login that the new store got by itself, with the accounts that only the old one has."""
    own = target.accounts
    new = tuple(_rebased(it, source) for it in source.accounts if not any(_is_same(it, other) for other in own))
    return evolve(target, accounts=(*own, *new))


def marked(source: Login) -> Login:
    """What is written to the old store: it is elsewhere, and so far all that is known of it."""
    seen = tuple((account.epoch, account.settled_by) for account in source.accounts)
    return evolve(source, moving=Moving(Way.MOVED, source.revision + 1, seen))


def released(target: Login) -> Login:
    """It is at home in the new store from here on."""
    return evolve(target, moving=None)


def has_more(source: Login) -> bool:
    """Whether anything was written of a moved login since it was taken over."""
    return source.moving is not None and source.revision > source.moving.revision


def taken_over(source: Login, target: Login, how: Adding) -> Login:
    """`target` with what came for the moved login since: late replies, and what was added in the old store."""
    seen = dict(source.moving.seen) if source.moving is not None else {}
    for account in source.accounts:
        there = target.by_epoch(account.epoch)
        if there is not None:
            if seen.get(account.epoch) != account.settled_by and _is_later(account, there):
                target = replaced(target, there, _rebased(account, source))
        elif account.epoch not in seen:
            target, _ = added(target, (account.tokens,), how)
    return target


def _is_later(account: Account, there: Account) -> bool:
    """Whether what came for it in the old store is later than what the new one has."""
    if there.settled_by <= 0:
        return True  # nothing has come of any exchange there
    spent = there.tokens.refresh_token
    return spent is not None and fingerprints.was_rotated(account.known, fingerprints.fingerprint(spent))


def _rebased(account: Account, source: Login) -> Account:
    """Before every attempt of the new store; what was added stays so."""
    base = source.attempt + 1
    numbers = (account.produced_by, account.settled_by, account.failed_by)
    produced, settled, failed = (number and number - base for number in numbers)
    return evolve(account, produced_by=produced, settled_by=settled, failed_by=failed)


def _is_same(one: Account, other: Account) -> bool:
    mark = fingerprints.identity(one.tokens)
    return same_account(one.tokens, other.tokens) or fingerprints.identity(other.tokens) == mark

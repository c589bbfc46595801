"""Epochs name the accounts of a login: an attempt is settled by them, so no two accounts of a login have one. Pure."""

import hashlib

from attrs import evolve

from mesh_refresh.logins.login import Login


def have_own_epochs(login: Login) -> bool:
    """Whether each account of `login` has an epoch of its own."""
    return len(login.accounts) == 1 or len({account.epoch for account in login.accounts}) == len(login.accounts)


def with_own_epochs(login: Login) -> Login:
    """`login` with an epoch of its own for each account; the first account of an epoch keeps it.

    What is drawn anew is the same each time, so that an attempt at such an account finds it again before and after the
    first write. Accounts of one epoch are a bug of ours, and still no reason to keep a live pair out of the store.
    """
    if have_own_epochs(login):
        return login
    taken = {account.epoch for account in login.accounts}
    seen: set[str] = set()
    accounts = []
    for account in login.accounts:
        epoch = account.epoch
        if epoch in seen:
            epoch = _another(epoch, taken)
            taken.add(epoch)
        seen.add(epoch)
        accounts.append(account if epoch == account.epoch else evolve(account, epoch=epoch))
    return login.having(tuple(accounts))


def _another(epoch: str, taken: set[str]) -> str:
    while epoch in taken:
        epoch = hashlib.blake2b(epoch.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return epoch

"""An attempt finds its account by the epoch, so no two accounts of a login may have the same. Pure."""

import hashlib

from attrs import evolve

from mesh_refresh.logins.login import Login


def have_own_epochs(login: Login) -> bool:
    """Whether each account of `login` has an epoch of its own."""
    return len(login.accounts) == 1 or len({account.epoch for account in login.accounts}) == len(login.accounts)


def with_own_epochs(login: Login) -> Login:
    """`login` with an epoch of its own for each account; the first account of an epoch keeps it.

    A new epoch is computed from the old one, so an attempt finds its account before and after the first write. Two
    accounts of one epoch are a bug of this package, and no reason to keep a live pair out of the store.
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

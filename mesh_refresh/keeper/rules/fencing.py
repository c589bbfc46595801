"""Which outcome counts for an account: the first question of every rule. Pure. See docs/decisions/the-keeper.md.

A login may change while a request is out: its lease can run out, and another process can refresh it. So an account
takes from an outcome only what is newer than what it has.

- The account's epoch must be the attempt's. A new epoch means that the person has logged in anew since.
- A success counts if the token that it spent is still the stored one, or if its attempt has a higher number than the
  attempt that brought the stored one. Which process holds the lease does not matter: these may be the only live tokens.
- A failure counts only if the token that was sent is still the stored one.
"""

from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.logins import Account, Login


def is_newer(account: Account, attempt: Attempt, brought: str | None, context: Context) -> bool:
    """Whether `brought`, a credential that came by `attempt`, is newer than the account's.

    A later attempt may have been written first, and the same attempt may be written twice.
    """
    stored, sent = context.credential(account.tokens), dict(attempt.seen).get(account.epoch, "")
    if brought in (None, sent):
        # The broker did not rotate: the reply brought an access token only.
        return attempt.number > max(account.produced_by, account.settled_by)
    if brought == stored:
        return attempt.number > account.settled_by
    return attempt.number > account.produced_by or sent == stored


def concerns(account: Account, attempt: Attempt, context: Context) -> bool:
    """Whether an outcome of `attempt` can be about the account.

    It was there at the attempt, it joined by an earlier one, or it was added since with the token that was spent. An
    account that was added since with another token has newer tokens.
    """
    was_there = any(epoch == account.epoch for epoch, _ in attempt.seen)
    return was_there or 0 < account.settled_by < attempt.number or has_sent_credential(account, attempt, context)


def has_sent_credential(account: Account, attempt: Attempt, context: Context) -> bool:
    """Whether the account's credential is the very one that was sent."""
    return attempt.spent is not None and context.credential(account.tokens) == attempt.spent


def find_affected(login: Login, attempt: Attempt, context: Context) -> list[Account]:
    """The account that was exchanged, and the accounts that the reply may have renewed with it.

    These have the very token that was sent, or their tokens came by the same reply (or were added together): a broker
    that renews all accounts of a login at once does so each time.
    """
    asked = login.by_epoch(attempt.epoch)
    together = None if asked is None else asked.produced_by
    return [
        account
        for account in login.accounts
        if account is asked
        or has_sent_credential(account, attempt, context)
        or (account.produced_by == together and any(epoch == account.epoch for epoch, _ in attempt.seen))
    ]

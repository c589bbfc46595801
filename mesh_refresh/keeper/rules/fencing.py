"""How an attempt stands to an account as it is stored: what every rule about outcomes begins with. Pure.

The login may have changed since the attempt began, under somebody else's lease. So each account takes from an outcome
only what is newer than what it has:

- its epoch must be the attempt's, else the person has logged in anew since;
- a success counts if the token that it spent is still the stored one, or if its number is higher than that of the
  attempt which brought the stored one: whoever holds the lease now, these may be the only live tokens;
- a failure counts only if the token that was sent is still the stored one.
"""

from collections.abc import Callable
from datetime import datetime

from attrs import evolve, field, frozen

from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.logins import Account, Login
from mesh_refresh.replies.lineage import Credential, refresh_token_of


@frozen
class Transition:
    """A login after an outcome, and what is to be told of it."""

    login: Login
    told: tuple[Event, ...] = ()
    holds: bool = False
    """Something of it must not be sent before the settling time is over."""


@frozen
class Context:
    """What every step needs besides the login."""

    at: datetime
    policy: Policy
    epochs: Callable[[], str] = field(repr=False, eq=False)
    """Gives a name that was never used, for an account that joins."""
    credential: Credential = field(default=refresh_token_of, repr=False, eq=False)
    """What an exchange of tokens spends. It never raises."""


def told_of(login: Login, account: Account, now: Context) -> tuple[str, str | None, str, datetime]:
    """What every event of an account begins with."""
    tokens = account.tokens
    return login.login_id, tokens.account_id or tokens.mesh_account_id, str(login.broker), now.at


def replaced(login: Login, old: Account, new: Account) -> Login:
    """`login` with `new` in the place of `old`."""
    return login.having(tuple([new if account is old else account for account in login.accounts]))


def is_newer(account: Account, attempt: Attempt, brought: str | None, now: Context) -> bool:
    """Whether what the attempt brought (with this credential) is newer than what the account has.

    A later attempt may have been written first, and the same one twice.
    """
    stored, sent = now.credential(account.tokens), dict(attempt.seen).get(account.epoch, "")
    if brought in (None, sent):
        # It did not rotate: all that it brought is an access token.
        return attempt.number > max(account.produced_by, account.settled_by)
    if brought == stored:
        return attempt.number > account.settled_by
    return attempt.number > account.produced_by or sent == stored


def counts(account: Account, attempt: Attempt, now: Context) -> bool:
    """Whether the account was there at the attempt, came by an earlier one, or was added since with the token it spent.

    One that was added since with another token has news.
    """
    there = any(epoch == account.epoch for epoch, _ in attempt.seen)
    return there or 0 < account.settled_by < attempt.number or shares(account, attempt, now)


def shares(account: Account, attempt: Attempt, now: Context) -> bool:
    """Whether the account's credential is the very one that was sent."""
    return attempt.spent is not None and now.credential(account.tokens) == attempt.spent


def concerned(login: Login, attempt: Attempt, now: Context) -> list[Account]:
    """The account that was exchanged, and those that its reply may have renewed as well.

    These have the very token that was sent, or their tokens came by the same reply (or were added together): one that
    renews all accounts of a login at once does so each time.
    """
    asked = login.by_epoch(attempt.epoch)
    together = None if asked is None else asked.produced_by
    return [
        account
        for account in login.accounts
        if account is asked
        or shares(account, attempt, now)
        or (account.produced_by == together and any(epoch == account.epoch for epoch, _ in attempt.seen))
    ]


def cleared(account: Account) -> Account:
    """`account` without anything that a success ends. A body stays: see `mesh_refresh.keeper.rules.unreadable`."""
    return evolve(
        account,
        retry_not_before=None,
        resend_not_before=None,
        failures=0,
        failing_since=None,
        last_error=None,
        reason=None,
        parked_at=None,
        display_message=None,
        refused_at=None,
        unknown_since=None,
        sibling_renewed=False,
        behind=False,
        pending=None,
    )

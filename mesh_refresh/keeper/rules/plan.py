"""What a keeper does with a login that it has just claimed. Pure. See docs/decisions/the-keeper.md."""

from collections.abc import Callable
from datetime import timedelta

from attrs import evolve, frozen

from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.failure import park_expired, park_unsendable, stamp_open_attempt
from mesh_refresh.keeper.rules.mfa import reopen_question
from mesh_refresh.keeper.rules.select import Send, postpone
from mesh_refresh.keeper.rules.transition import Context, Transition, with_account
from mesh_refresh.logins import Login
from mesh_refresh.tokens import Tokens

Change = Callable[[Login, Context], Transition]
"""What becomes of a login as it is stored at the moment of the write."""
Choice = Callable[[Login, Context], Send | None]
"""Which account to exchange, of the login as it was claimed; None: none of them any more."""


@frozen
class Claimed:
    """What is known of a claim besides the login."""

    open_attempt: bool
    """The lease before this one ran out, and its owner may have sent something."""
    unsaved: bool
    """This process has new tokens of the login that are not in the store."""
    with_code: bool
    """A person's MFA code is to be sent."""
    choose: Choice
    may_resend: Callable[[Tokens], bool]
    """Whether the strategy allows a second request with tokens that may be spent."""


@frozen
class LeaveLease:
    """Do nothing: the write of the new tokens, which is under way, gives this lease back."""


@frozen
class WriteBack:
    """Send nothing. Write `change`, give the lease back, and let no claim have the row for `hold`."""

    change: Change
    hold: timedelta = timedelta()


Plan = LeaveLease | WriteBack | Send


def plan(login: Login, claimed: Claimed, context: Context) -> Plan:
    """The first of these that holds:

    1. New tokens are on their way into the store: what is stored must not be sent. An open attempt stays open, so that
       no other process takes it for settled.
    2. An attempt was left open, and its outcome is not in the row: each account that it may have spent is stamped as
       unknown (docs/decisions/retries-and-unknown-outcomes.md).
    3. The login is moving, or no account is to be exchanged.
    4. The tokens were sent before with an unknown outcome, and their strategy allows no second request.
    5. Else the exchange is sent.
    """
    if claimed.unsaved:
        return LeaveLease() if claimed.open_attempt else WriteBack(put_off_for_a_look)
    if claimed.open_attempt:
        may_resend = {account.epoch: claimed.may_resend(account.tokens) for account in login.accounts}

        def stamp(stored: Login, context: Context) -> Transition:
            return stamp_open_attempt(stored, login, context, may_resend)

        if stamp(login, context).changed:
            return WriteBack(stamp, context.policy.resend_after)
    send = claimed.choose(login, context) if login.moving is None else None
    if send is None:
        return WriteBack(nothing_to_send)
    account = send.account
    if not claimed.with_code and account.unknown_since is not None and not claimed.may_resend(account.tokens):
        return WriteBack(lambda stored, context: park_unsendable(stored, account, context))
    return send


def put_off_for_a_look(stored: Login, context: Context) -> Transition:
    """What is due is put off until the loop's next look."""
    return Transition(postpone(stored, context))


def nothing_to_send(stored: Login, context: Context) -> Transition:
    """What has expired is parked; what is due and must not be sent is put off, at least until the loop's next look.

    An expired account may have held back another one until now: that one is not claimed again at once either.
    """
    expired = park_expired(stored, context)
    return Transition(postpone(expired.login, context), expired.events)


def not_sent(stored: Login, attempt: Attempt, context: Context, *, back_off: bool) -> Transition:
    """Nothing was sent, for a reason of the keeper's own: a question that was about to be answered is open again.

    `back_off`: the reason would hold at once again, so the account waits for `Policy.backoff`.
    """
    login = reopen_question(stored, attempt) if attempt.with_code is not None else stored
    account = login.by_epoch(attempt.epoch)
    if not back_off or account is None or account.due_at is None:
        return Transition(login)
    return Transition(with_account(login, account, evolve(account, due_at=context.now + context.policy.backoff)))

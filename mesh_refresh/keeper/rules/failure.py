"""An exchange that brought no token: refused, of unknown outcome, or failed without harm. Pure.

Tokens are never deleted for a failure. A failure counts only where the token that was sent is still the stored one. See
docs/decisions/the-keeper.md and docs/decisions/retries-and-unknown-outcomes.md.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import evolve, frozen

from mesh_refresh.keeper.events import AttemptFailed, Event, ReconnectRequired
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.fencing import find_affected, has_sent_credential
from mesh_refresh.keeper.rules.mfa import reopen_question, wait_after_code
from mesh_refresh.keeper.rules.schedule import ONCE_A_DAY, backoff_until, chance_of, resend_not_before, retry_not_before
from mesh_refresh.keeper.rules.transition import Context, Transition, count_failure, event_head, with_account
from mesh_refresh.logins import Account, AccountState, Login, Reason


@frozen
class Refused:
    """Mesh or the broker does not accept the tokens."""

    display_message: str | None = None
    blamed: bool = True
    """Whether it counts against the account. False: more accounts are refused than can be their own fault."""
    forgiven_until: datetime | None = None
    """Refusals up to then were not the accounts' fault either, as it turned out."""


@frozen
class Unknown:
    """The request went out, and its outcome is unknown: the tokens may be spent."""

    error: str
    may_resend: bool = True
    """Whether the strategy allows to send the tokens again."""


@frozen
class Failed:
    """Nothing is spent."""

    error: str
    blamed: bool
    """Whether it counts against the account (locked, say). False: an outage of Mesh, of a broker or of the network."""
    retry_after: timedelta = timedelta()
    """How long Mesh asks to wait; where the account is not to blame, how long its breaker holds the broker back."""


Failure = Refused | Unknown | Failed


@frozen
class BackedOff:
    """The backoff of one account, as it was before, so that it can be undone."""

    login_id: str
    epoch: str
    number: int
    """The attempt whose failure was counted."""
    previous: int
    """The attempt whose failure was counted before that."""
    failures: int
    failing_since: datetime | None
    last_error: str | None
    retry_not_before: datetime | None

    @classmethod
    def of(cls, account: Account, attempt: Attempt) -> "BackedOff":
        """What a failure of `attempt` changes of `account`."""
        return cls(
            attempt.login_id,
            attempt.epoch,
            attempt.number,
            account.failed_by,
            account.failures,
            account.failing_since,
            account.last_error,
            account.retry_not_before,
        )

    def after(self, before: "BackedOff | None") -> "BackedOff":
        """This one, with what was before the first of several failures."""
        return self if before is None or before.number != self.previous else evolve(before, number=self.number)


def undo_backoff(login: Login, backed_off: BackedOff, context: Context) -> Login:
    """`login` without that backoff, and with the account due: a breaker has opened, so the failure was not its own.

    The same login where the account has succeeded, failed again or been added anew since.
    """
    account = login.by_epoch(backed_off.epoch)
    if account is None or account.failed_by != backed_off.number or account.failures <= backed_off.failures:
        return login
    before = evolve(
        account,
        failures=backed_off.failures,
        failing_since=backed_off.failing_since,
        last_error=backed_off.last_error,
        retry_not_before=backed_off.retry_not_before,
        due_at=_due_at(account, min(context.now, account.due_at or context.now)),
    )
    return with_account(login, account, before)


RETRIED = (Reason.REFUSED, Reason.REFUSED_AFTER_UNKNOWN)
"""The reasons that `undo_refusals` takes back. For the others no stored token may be sent: it is spent, or there is
none, or sending it may end tokens that a sibling holds."""


def undo_refusals(login: Login, reason: Reason, due_at: datetime, since: datetime | None = None) -> Transition:
    """`login` with each account active, and due at `due_at`, that was parked for `reason`, one of `RETRIED`.

    Its broker has refused tokens that were good. `since`: only accounts that were parked then or later. The reason
    stays until an exchange has succeeded, so that no notice says before that the account works again.
    """
    before = login
    for account in login.accounts if login.moving is None else ():
        if not _may_be_retried(login, account, reason, since):
            continue
        moments = (due_at, account.resend_not_before, account.tokens.not_before)
        active = evolve(
            account,
            state=AccountState.ACTIVE,
            due_at=None if account.needs_code else max(moment for moment in moments if moment is not None),
            parked_at=None,
            display_message=None,
            retry_not_before=None,
            refused_at=None,
            failures=0,
            failing_since=None,
            last_error=None,
        )
        login = with_account(login, account, active)
    return Transition(login, changed=login is not before)


def apply_failure(login: Login, attempt: Attempt, failure: Failure, context: Context) -> Transition:
    """`login` after `failure` of `attempt`."""
    account = login.by_epoch(attempt.epoch) if login.epoch == attempt.login_epoch else None
    if account is None or account.failed_by >= attempt.number:
        return Transition(login, changed=False)
    if context.credential(account.tokens) != attempt.spent:
        return Transition(login, changed=False)  # newer tokens are stored
    if isinstance(failure, Unknown):
        return _wait_for_outcome(login, attempt, failure, context)
    if isinstance(failure, Refused):
        return _refuse(login, account, attempt, failure, context)
    if attempt.with_code is not None:
        return Transition(reopen_question(login, attempt))
    return _back_off(login, account, attempt, failure, context)


def stamp_open_attempt(
    login: Login, found: Login, context: Context, may_resend: Mapping[str, bool] | None = None
) -> Transition:
    """`login` after a lease that ran out with its attempt open: each account that may have been sent is stamped.

    Neither the outcome nor the account of that attempt is known.

    `found` is the login as the claim found it. `may_resend` says by epoch whether an account's tokens may be sent again
    (without an entry: yes). Nothing changes where the owner of the lease has written its outcome after all.
    """
    claimed = {account.epoch: account for account in found.accounts}
    events: list[Event] = []
    changed = False
    for account in login.accounts:
        if not _may_have_been_sent(account, claimed.get(account.epoch), found.attempt, context):
            continue
        allowed = (may_resend or {}).get(account.epoch, True)
        stamped = _stamp(login, account, ("lease ran out", found.attempt), context, may_resend=allowed)
        login = with_account(login, account, stamped)
        events += _events_of_unknown(login, account, stamped, context)
        changed = True
    return Transition(login, tuple(events), hold=changed, changed=changed)


def stamp_taken_back(login: Login, context: Context, may_resend: Mapping[str, bool]) -> Login:
    """`login`, which comes back from a store that is lost: each of its tokens may have been sent there.

    So may the code for an open question: only a new question can tell.
    """
    for account in login.accounts:
        if context.credential(account.tokens) is None:
            continue
        allowed = may_resend.get(account.epoch, True)
        stamped = _stamp(login, account, ("taken back", login.attempt), context, may_resend=allowed)
        pending = None if stamped.pending is None else evolve(stamped.pending, answered=True)
        login = with_account(login, account, evolve(stamped, pending=pending))
    return login


def park_unsendable(login: Login, due: Account, context: Context) -> Transition:
    """`login` with the account parked that is `due`, may be spent, and may not be sent again by its strategy.

    The unknown outcome itself parks most of these. Others waited for a code then, or their strategy has changed since.
    """
    account = login.by_epoch(due.epoch)
    if account is None or account.unknown_since is None:
        return Transition(login, changed=False)
    if context.credential(account.tokens) != context.credential(due.tokens):
        return Transition(login, changed=False)
    parked = _park(account, Reason.UNKNOWN, None, context)
    login = with_account(login, account, parked)
    return Transition(login, tuple(_events_of_parking(login, account, parked, context)))


def park_expired(login: Login, context: Context) -> Transition:
    """`login` with each account parked that cannot be refreshed and whose access token has ended.

    An account that a changed strategy can refresh since becomes active, and due. What Mesh manages does not end here.
    """
    events: list[Event] = []
    before = login
    for account in login.accounts:
        ends = account.tokens.expires_at
        if account.state not in (AccountState.NOT_REFRESHABLE, AccountState.MANAGED):
            continue
        if context.credential(account.tokens) is not None:
            active = evolve(account, state=AccountState.ACTIVE, due_at=_due_at(account, context.now))
            login = with_account(login, account, active)
        elif account.state is AccountState.NOT_REFRESHABLE and ends is not None and ends <= context.now:
            parked = _park(account, Reason.EXPIRED, None, context)
            login = with_account(login, account, parked)
            events += _events_of_parking(login, account, parked, context)
    return Transition(login, tuple(events), changed=login is not before)


# Nothing is spent.


def _back_off(login: Login, account: Account, attempt: Attempt, failure: Failed, context: Context) -> Transition:
    if not failure.blamed:
        # Due again when its broker is, and behind the logins that fall due until then: probes take turns.
        policy = context.policy
        again = context.now + max(policy.cool_down, min(failure.retry_after, policy.cool_down_cap))
        return Transition(with_account(login, account, evolve(account, due_at=_due_at(account, again))))
    counted = count_failure(account, failure.error, attempt.number, context)
    chance = chance_of(login.login_id, login.attempt)
    again = backoff_until(counted, context.policy, now=context.now, chance=chance)
    again = max(again, context.now + min(failure.retry_after, ONCE_A_DAY))
    counted = evolve(counted, retry_not_before=again, due_at=_due_at(counted, again))
    event = AttemptFailed(*event_head(login, account, context), failure.error, counted.failures, again)
    return Transition(with_account(login, account, counted), (event,))


# The tokens may be spent.


def _may_have_been_sent(account: Account, claimed: Account | None, number: int, context: Context) -> bool:
    """Whether the attempt before claim `number` may have sent the tokens. `claimed`: the account as it was found."""
    credential = context.credential(account.tokens)
    if credential is None or claimed is None or account.failed_by >= number:
        return False
    # The outcome was written, but the lease could not be given back. An outcome of an attempt before that one says
    # nothing: the open attempt may have found it, and sent the next token.
    is_settled = account.settled_by >= number - 1
    is_as_claimed = (context.credential(claimed.tokens), claimed.settled_by) == (credential, account.settled_by)
    return is_as_claimed and not is_settled


def _wait_for_outcome(login: Login, attempt: Attempt, failure: Unknown, context: Context) -> Transition:
    events: list[Event] = []
    for account in find_affected(login, attempt, context):
        is_asked = account.epoch == attempt.epoch
        if is_asked and attempt.with_code is not None:
            login = with_account(login, account, wait_after_code(account, attempt, context))
            continue
        if account.state is not AccountState.ACTIVE and not is_asked:
            continue
        was_sent = is_asked or has_sent_credential(account, attempt, context)
        may_resend = failure.may_resend or not was_sent
        stamped = _stamp(login, account, (failure.error, attempt.number), context, may_resend=may_resend)
        if not was_sent and not failure.may_resend:
            # Its own token never went out, so sending it is no second request. A refusal has that reason then.
            stamped = evolve(stamped, unknown_since=account.unknown_since, sibling_renewed=True)
        login = with_account(login, account, stamped)
        if stamped.parked or is_asked:
            events += _events_of_unknown(login, account, stamped, context)
    return Transition(login, tuple(events), hold=True)


def _stamp(login: Login, account: Account, what: tuple[str, int], context: Context, *, may_resend: bool) -> Account:
    """`account` with the times before which its tokens are not sent again; parked where they may never be."""
    counted = count_failure(account, *what, context)
    if not may_resend and not account.parked:
        return evolve(_park(counted, Reason.UNKNOWN, None, context), unknown_since=context.now)
    wait = resend_not_before(account, context.policy, now=context.now)
    chance = chance_of(login.login_id, login.attempt)
    again = retry_not_before(counted, context.policy, now=context.now, chance=chance)
    return evolve(
        counted,
        unknown_since=account.unknown_since or context.now,
        resend_not_before=wait,
        retry_not_before=again,
        due_at=_due_at(counted, max(wait, again)),
    )


# Refused.


def _refuse(login: Login, account: Account, attempt: Attempt, failure: Refused, context: Context) -> Transition:
    again = context.now + context.policy.confirm_after
    if not failure.blamed:
        return Transition(with_account(login, account, evolve(account, due_at=_due_at(account, again))))
    events: list[Event] = []
    for refused in login.accounts:
        if refused is not account and not has_sent_credential(refused, attempt, context):
            continue
        after = count_failure(refused, "TokensRefused", attempt.number, context)
        after = evolve(after, display_message=failure.display_message)
        reason = _why_final(after, failure.forgiven_until)
        if reason is not None:
            after = _park(after, reason, failure.display_message, context)
        else:
            after = evolve(after, refused_at=context.now, retry_not_before=again, due_at=_due_at(after, again))
        login = with_account(login, refused, after)
        events += _events_of_parking(login, refused, after, context)
    return Transition(login, tuple(events))


def _may_be_retried(login: Login, account: Account, reason: Reason, since: datetime | None) -> bool:
    if account.state is not AccountState.RECONNECT_REQUIRED or account.reason is not reason or reason not in RETRIED:
        return False
    if since is not None and (account.parked_at is None or account.parked_at < since):
        return False
    if account.body is not None or account.sibling_renewed:
        return False  # a kept reply may hold the token that came after this one, or a sibling has it
    # Most likely spent: a broker that takes a reuse for theft would end what a sibling holds.
    return account.unknown_since is None or all(other.parked for other in login.accounts)


def _why_final(account: Account, forgiven_until: datetime | None) -> Reason | None:
    """Why a refusal parks the account; None where the tokens are sent once more, to confirm it."""
    if account.unknown_since is not None:
        return Reason.REFUSED_AFTER_UNKNOWN
    if account.sibling_renewed:
        return Reason.REFUSED_AFTER_SIBLING
    if account.state is AccountState.RECONNECT_REQUIRED:
        return account.reason or Reason.REFUSED
    refused_at = account.refused_at
    if refused_at is None or (forgiven_until is not None and refused_at <= forgiven_until):
        return None
    return Reason.REFUSED


# For all of them.


def _park(account: Account, reason: Reason, display_message: str | None, context: Context) -> Account:
    return evolve(
        account,
        state=AccountState.RECONNECT_REQUIRED,
        reason=reason,
        display_message=display_message or account.display_message,
        parked_at=context.now,
        due_at=None,
        retry_not_before=None,
        resend_not_before=None,
        pending=None,
    )


def _due_at(account: Account, when: datetime) -> datetime | None:
    """`when`, for an account that the loop refreshes; None for one that is parked, or refreshed on demand only."""
    return None if account.parked or account.needs_code else when


def _events_of_parking(login: Login, before: Account, account: Account, context: Context) -> list[Event]:
    """An event where the account is parked, or parked for another reason than before."""
    if account.state is not AccountState.RECONNECT_REQUIRED or account.reason is None:
        return []
    if (before.state, before.reason) == (account.state, account.reason):
        return []
    head = event_head(login, account, context)
    return [ReconnectRequired(*head, account.reason, account.display_message)]


def _events_of_unknown(login: Login, before: Account, account: Account, context: Context) -> list[Event]:
    if account.parked:
        return _events_of_parking(login, before, account, context)
    retry_at = max(account.resend_not_before or context.now, account.retry_not_before or context.now)
    what = account.last_error or "", account.failures, retry_at
    return [AttemptFailed(*event_head(login, account, context), *what)]

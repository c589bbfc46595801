"""What a login is after an exchange that brought nothing. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from attrs import evolve, frozen

from mesh_refresh.keeper import events
from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.fencing import Context, Transition, concerned, replaced, shares, told_of
from mesh_refresh.keeper.rules.schedule import backed_off, chance_of, resend_not_before, retry_not_before
from mesh_refresh.logins import Account, AccountState, Login, Reason


@frozen
class Refused:
    """Mesh or the broker does not accept the tokens."""

    display_message: str | None = None
    blamed: bool = True
    """Whether it counts against the account, or more are refused than can be their own fault."""
    forgiven_until: datetime | None = None
    """Refusals up to then were not the accounts' fault either, as it turned out."""


@frozen
class Unknown:
    """Sent, and nobody knows what came of it."""

    error: str
    may_resend: bool = True


@frozen
class Failed:
    """Nothing is spent. `blamed`: it is about this account (locked, say), and not about Mesh, a broker or the way."""

    error: str
    blamed: bool
    retry_in: timedelta | None = None


Failure = Refused | Unknown | Failed


@frozen
class BackedOff:
    """The backoff of one account, as it was before, so that it can be undone."""

    login_id: str
    epoch: str
    number: int
    """The attempt whose failure was counted."""
    previous: int
    """The one whose failure was counted before that."""
    failures: int
    failing_since: datetime | None
    last_error: str | None
    retry_not_before: datetime | None

    @classmethod
    def of(cls, account: Account, attempt: Attempt) -> "BackedOff":
        """What a failure of `attempt` changes of `account`."""
        failed = account.failures, account.failing_since, account.last_error
        return cls(
            attempt.login_id, attempt.epoch, attempt.number, account.failed_by, *failed, account.retry_not_before
        )

    def after(self, before: "BackedOff | None") -> "BackedOff":
        """This one, with what was before the first of several failures."""
        return self if before is None or before.number != self.previous else evolve(before, number=self.number)


def undone(login: Login, backed_off: BackedOff, now: Context) -> Login:
    """`login` without that backoff, where it is still there: a breaker has opened, and the account is due."""
    account = login.by_epoch(backed_off.epoch)
    if account is None or account.failed_by != backed_off.number or account.failures <= backed_off.failures:
        return login
    before = evolve(
        account,
        failures=backed_off.failures,
        failing_since=backed_off.failing_since,
        last_error=backed_off.last_error,
        retry_not_before=backed_off.retry_not_before,
    )
    return replaced(login, account, evolve(before, due_at=_loop(before, min(now.at, account.due_at or now.at))))


def failed(login: Login, attempt: Attempt, failure: Failure, now: Context) -> Transition:
    """`login` after `failure`, which counts only where the token that was sent is still the stored one."""
    if login.epoch != attempt.login_epoch:
        return Transition(login)
    account = login.by_epoch(attempt.epoch)
    if account is None or now.credential(account.tokens) != attempt.spent or account.failed_by >= attempt.number:
        return Transition(login)
    if isinstance(failure, Unknown):
        return _unknown(login, attempt, failure, now)
    if isinstance(failure, Refused):
        return _refused(login, account, attempt, failure, now)
    if attempt.with_code is not None:
        return Transition(_reopened(login, account, attempt))
    if not failure.blamed:
        # It is tried again as soon as its broker is; behind the others, so that probes go round.
        again = now.at + (failure.retry_in or now.policy.cool_down)
        return Transition(replaced(login, account, evolve(account, due_at=_loop(account, again))))
    counted = _counted(account, failure.error, attempt.number, now)
    again = backed_off(counted, now.policy, now=now.at, chance=chance_of(login.login_id, login.attempt))
    if failure.retry_in is not None:
        again = max(again, now.at + failure.retry_in)
    counted = evolve(counted, retry_not_before=again, due_at=_loop(counted, again))
    event = events.AttemptFailed(*told_of(login, account, now), failure.error, counted.failures, again)
    return Transition(replaced(login, account, counted), (event,))


def code_refused(login: Login, attempt: Attempt) -> Login:
    """The code was wrong: question and tokens are as they were."""
    account = login.by_epoch(attempt.epoch)
    return login if account is None else _reopened(login, account, attempt)


def answering(login: Login, account: Account) -> Login:
    """Written before a code is sent: after a crash, nobody sends another one for the same question."""
    if account.pending is None:
        return login
    return replaced(login, account, evolve(account, pending=evolve(account.pending, answered=True)))


def _reopened(login: Login, account: Account, attempt: Attempt) -> Login:
    """Only the question that this attempt answered: a newer one may have been answered since."""
    if account.pending is None or account.pending.id != attempt.with_code:
        return login
    return replaced(login, account, evolve(account, pending=evolve(account.pending, answered=False)))


def found_open(login: Login, found: Login, now: Context, may_resend: Mapping[str, bool] | None = None) -> Transition:
    """Somebody's lease ran out with its attempt open: nobody knows what came of it, or which account it was for.

    `found` is the login as the claim found it. What has changed since was written by that somebody after all.
    """
    then = {it.epoch: (now.credential(it.tokens), it.settled_by) for it in found.accounts}
    told: list[Event] = []
    holds = False
    for account in login.accounts:
        credential = now.credential(account.tokens)
        if credential is None or account.failed_by >= found.attempt:
            continue
        if account.settled_by >= found.attempt - 1:
            # What came of the open attempt was written after all, but could not give the lease back. If it was that of
            # the attempt before, this one may have found it and sent the next token: nobody knows.
            continue
        if then.get(account.epoch) != (credential, account.settled_by):
            continue
        allowed = (may_resend or {}).get(account.epoch, True)
        stamped = _stamped(login, account, ("lease ran out", found.attempt), now, may_resend=allowed)
        login = replaced(login, account, stamped)
        told += _told_unknown(login, account, stamped, now)
        holds = True
    return Transition(login, tuple(told), holds)


def taken_back(login: Login, now: Context, may_resend: Mapping[str, bool]) -> Login:
    """A login that comes back from a store which is lost: each of its tokens may have been sent there.

    So may the code for an open question: only a new question can tell.
    """
    for account in login.accounts:
        if now.credential(account.tokens) is None:
            continue
        allowed = may_resend.get(account.epoch, True)
        stamped = _stamped(login, account, ("taken back", login.attempt), now, may_resend=allowed)
        pending = None if stamped.pending is None else evolve(stamped.pending, answered=True)
        login = replaced(login, account, evolve(stamped, pending=pending))
    return login


def _unknown(login: Login, attempt: Attempt, failure: Unknown, now: Context) -> Transition:
    told: list[Event] = []
    for account in concerned(login, attempt, now):
        if attempt.with_code is not None and account.epoch == attempt.epoch:
            # The code is used up, or not: only a new question can tell. The account stays parked. No reply can come any
            # more, and a person waits for that question: the long wait is for pairs that somebody may hold.
            known = evolve(
                account,
                failed_by=attempt.number,
                unknown_since=account.unknown_since or now.at,
                resend_not_before=max(account.resend_not_before or now.at, now.at + now.policy.resend_after),
            )
            login = replaced(login, account, _answered(known, attempt))
            continue
        if account.state is not AccountState.ACTIVE and account.epoch != attempt.epoch:
            continue
        was_sent = account.epoch == attempt.epoch or shares(account, attempt, now)
        may_resend = failure.may_resend or not was_sent
        stamped = _stamped(login, account, (failure.error, attempt.number), now, may_resend=may_resend)
        if not was_sent and not failure.may_resend:
            # Its own token never went out, so sending it is no second request. A refusal has that reason then.
            stamped = evolve(stamped, unknown_since=account.unknown_since, sibling_renewed=True)
        login = replaced(login, account, stamped)
        if stamped.parked or account.epoch == attempt.epoch:
            told += _told_unknown(login, account, stamped, now)
    return Transition(login, tuple(told), holds=True)


def not_sent_twice(login: Login, due: Account, now: Context) -> Transition:
    """`due` was about to be sent, but may be spent, and its strategy allows no second request: only a new login helps.

    Most are parked by the outcome itself. Others waited for a code then, or it is the strategy that has changed.
    """
    account = login.by_epoch(due.epoch)
    if account is None or account.unknown_since is None:
        return Transition(login)
    if now.credential(account.tokens) != now.credential(due.tokens):
        return Transition(login)
    parked = _parked(account, Reason.UNKNOWN, None, now)
    login = replaced(login, account, parked)
    return Transition(login, tuple(_told_parked(login, account, parked, now)))


def _answered(account: Account, attempt: Attempt) -> Account:
    """`account` with the question of this attempt marked as answered; a newer one is still open."""
    if account.pending is None or account.pending.id != attempt.with_code:
        return account
    return evolve(account, pending=evolve(account.pending, answered=True))


def _stamped(login: Login, account: Account, what: tuple[str, int], now: Context, *, may_resend: bool) -> Account:
    counted = _counted(account, *what, now)
    wait = resend_not_before(account, now.policy, now=now.at)
    again = retry_not_before(counted, now.policy, now=now.at, chance=chance_of(login.login_id, login.attempt))
    if not may_resend and not account.parked:
        return evolve(_parked(counted, Reason.UNKNOWN, None, now), unknown_since=now.at)
    return evolve(
        counted,
        unknown_since=account.unknown_since or now.at,
        resend_not_before=wait,
        retry_not_before=again,
        due_at=_loop(counted, max(wait, again)),
    )


def _refused(login: Login, account: Account, attempt: Attempt, failure: Refused, now: Context) -> Transition:
    if not failure.blamed:
        again = now.at + now.policy.confirm_after
        return Transition(replaced(login, account, evolve(account, due_at=_loop(account, again))))
    told: list[Event] = []
    for refused in login.accounts:
        if refused is not account and not shares(refused, attempt, now):
            continue  # it has another token
        counted = _counted(refused, "TokensRefused", attempt.number, now)
        after = _once_refused(evolve(counted, display_message=failure.display_message), failure, now)
        login = replaced(login, refused, after)
        told += _told_parked(login, refused, after, now)
    return Transition(login, tuple(told))


def _once_refused(account: Account, failure: Refused, now: Context) -> Account:
    reason = _reason(account, failure.forgiven_until)
    if reason is not None:
        return _parked(account, reason, failure.display_message, now)
    again = now.at + now.policy.confirm_after
    return evolve(account, refused_at=now.at, retry_not_before=again, due_at=_loop(account, again))


def _reason(account: Account, forgiven_until: datetime | None) -> Reason | None:
    """Why a refusal is final; None where the tokens are sent once more."""
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


def expired(login: Login, now: Context) -> Transition:
    """Accounts that cannot be refreshed and whose access token has ended. With another strategy they may be since."""
    told: list[Event] = []
    for account in login.accounts:
        ends = account.tokens.expires_at
        if account.state is AccountState.NOT_REFRESHABLE and now.credential(account.tokens) is not None:
            login = replaced(login, account, evolve(account, state=AccountState.ACTIVE, due_at=_loop(account, now.at)))
        elif account.state is AccountState.NOT_REFRESHABLE and ends is not None and ends <= now.at:
            parked = _parked(account, Reason.EXPIRED, None, now)
            login = replaced(login, account, parked)
            told += _told_parked(login, account, parked, now)
    return Transition(login, tuple(told))


def stuck(before: Login, after: Login, now: Context) -> Iterator[Event]:
    """A word for each account whose refresh token ends, and could not be renewed, for the first time."""
    was = {account.epoch: account for account in before.accounts}
    for account in after.accounts:
        old, ends = was.get(account.epoch), account.tokens.refresh_token_expires_at
        if account.renewal_stuck and ends is not None and old is not None and not old.renewal_stuck:
            yield events.ReconnectSoon(*told_of(after, account, now), ends)


def _parked(account: Account, reason: Reason, display_message: str | None, now: Context) -> Account:
    return evolve(
        account,
        state=AccountState.RECONNECT_REQUIRED,
        reason=reason,
        display_message=display_message or account.display_message,
        parked_at=now.at,
        due_at=None,
        retry_not_before=None,
        resend_not_before=None,
        pending=None,
    )


def _told_parked(login: Login, before: Account, account: Account, now: Context) -> list[Event]:
    if account.state is not AccountState.RECONNECT_REQUIRED or account.reason is None:
        return []
    if (before.state, before.reason) == (account.state, account.reason):
        return []  # it was told when it was parked
    return [events.ReconnectRequired(*told_of(login, account, now), account.reason, account.display_message)]


def _told_unknown(login: Login, before: Account, account: Account, now: Context) -> list[Event]:
    if account.parked:
        return _told_parked(login, before, account, now)
    retry_at = max(account.resend_not_before or now.at, account.retry_not_before or now.at)
    what = account.last_error or "", account.failures, retry_at
    return [events.AttemptFailed(*told_of(login, account, now), *what)]


def _counted(account: Account, error: str, number: int, now: Context) -> Account:
    return evolve(
        account,
        failures=account.failures + 1,
        failed_by=number,
        failing_since=account.failing_since or now.at,
        last_error=error,
    )


def _loop(account: Account, when: datetime) -> datetime | None:
    """`when`, for an account that the loop refreshes; None for one that is parked, or refreshed on demand only."""
    return None if account.parked or account.needs_code else when

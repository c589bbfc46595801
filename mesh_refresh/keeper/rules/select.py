"""What the loop exchanges next, and what a caller is answered. Pure.

`GUARDS` has the reasons that a caller can be answered with, in the order in which they are told. `tokens`, `refresh`,
`restart_mfa` and the loop ask the same guards; each names the ones that it drops, or asks. `plan` has the reasons of a
claim, and `choose_due` the least interval. A new wait of the loop belongs in `postpone` too, else the login would be
claimed at every poll. See docs/keeper.md.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from attrs import evolve, frozen

from mesh_refresh.keeper.errors import CodeNotWanted
from mesh_refresh.keeper.rules.mfa import find_question, sibling_asks_until
from mesh_refresh.keeper.rules.schedule import is_good, lasts, wants_new_refresh_token
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.logins import Account, AccountState, AmbiguousAccount, Login, Reason
from mesh_refresh.logins.versions import version_of
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from mesh_refresh.tokens import Tokens


@frozen
class Send:
    """Exchange this account."""

    account: Account
    renew: bool = False
    """Ask for a new refresh token too."""
    spare: Tokens | None = None
    """Good tokens, for a caller who wanted others that last longer: its answer where an exchange has to wait."""


@frozen
class Good:
    """These tokens are fresh."""

    tokens: Tokens


@frozen
class CodeFirst:
    """The person must type a code first."""

    pending_id: str
    display_message: str | None = None


@frozen
class Parked:
    """The person must log in again."""

    reason: Reason | None
    display_message: str | None


@frozen
class NotBefore:
    """Nothing can be sent before."""

    at: datetime
    why: str


Answer = Good | CodeFirst | Parked | NotBefore | Send

_NEVER_AGAIN = (Reason.UNKNOWN, Reason.AMBIGUOUS)
"""The tokens of an account that is parked for one of these may be spent: `refresh` does not send them either."""


@frozen
class Asked:
    """An account, and what was said of it by the caller."""

    login: Login
    account: Account
    context: Context
    is_rejected: bool = False
    """The broker has rejected the access token that is stored."""

    @property
    def has_credential(self) -> bool:
        """Whether there is anything to exchange."""
        return self.context.credential(self.account.tokens) is not None

    @property
    def is_managed(self) -> bool:
        """Whether Mesh renews what the stored token id stands for. No end of that is known here."""
        return self.account.state is AccountState.MANAGED and not self.has_credential

    @property
    def is_good(self) -> bool:
        """Whether the stored access token is above its hard margin, or is none of ours to renew."""
        return self.is_managed or is_good(self.account.tokens, self.context.now, self.context.policy)


Guard = Callable[[Asked], Answer | None]
"""A reason not to exchange the account, as the answer that its caller gets; None: this guard lets it pass."""


def good(asked: Asked) -> Answer | None:
    """The stored tokens will do."""
    return Good(asked.account.tokens) if asked.is_good and not asked.is_rejected else None


def waits_for_code(asked: Asked) -> Answer | None:
    """A question is open."""
    account = asked.account
    if account.state is AccountState.MFA_REQUIRED and account.pending is not None:
        return CodeFirst(account.pending.id, account.pending.display_message)
    return None


def must_not_be_sent(asked: Asked) -> Answer | None:
    """The account is parked, and its tokens may be spent, or its only live token may be in a body."""
    account = asked.account
    by_hand = account.state is AccountState.RECONNECT_REQUIRED and account.reason not in _NEVER_AGAIN
    return _parked(account) if account.parked and not by_hand else None


def needs_reconnect(asked: Asked) -> Answer | None:
    """The account is parked. `refresh` tries it by hand."""
    return _parked(asked.account) if asked.account.parked else None


def not_refreshable(asked: Asked) -> Answer | None:
    """There is nothing to exchange."""
    if asked.has_credential:
        return None
    is_left = asked.is_managed or (asked.is_good and not asked.is_rejected)
    reason = Reason.NOT_REFRESHABLE if is_left else Reason.EXPIRED
    return Parked(reason, asked.account.display_message)


def delayed(asked: Asked) -> Answer | None:
    """Delayed authentication: the broker takes these tokens later."""
    at = asked.account.tokens.not_before
    return _not_before(at, asked, "the broker does not let these tokens be exchanged yet")


def outcome_unknown(asked: Asked) -> NotBefore | None:
    """The tokens may be spent, and another process may still write the new pair.

    A caller whose access token was rejected does not wait for that: such a token is of no use to it.
    """
    at = None if asked.is_rejected else asked.account.resend_not_before
    return _not_before(at, asked, "the outcome of the last exchange is not known yet")


def refused_once(asked: Asked) -> Answer | None:
    """The tokens were refused, and are sent once more after a pause, to confirm that."""
    at = asked.account.retry_not_before if asked.account.refused_at is not None else None
    return _not_before(at, asked, "they were refused a moment ago, and are sent once more after a pause")


def backs_off(asked: Asked) -> Answer | None:
    """The last exchange failed."""
    error = asked.account.last_error
    why = "the last exchange did not go well" if error is None else f"the last exchange failed ({error})"
    return _not_before(asked.account.retry_not_before, asked, why)


def rejected_too_soon(asked: Asked) -> Answer | None:
    """Tokens that are rejected right after a success: the broker may lag, or be confused."""
    at = _earliest(asked.login, asked.context) if asked.is_rejected else None
    return _not_before(at, asked, "they were refreshed a moment ago")


def short_lived(asked: Asked) -> Answer | None:
    """A reply took longer than its tokens live, or they live for less than the margin: the next may be no better."""
    at = None if asked.is_rejected else _interval_end(asked.account.refreshed_at, asked.context)
    return _not_before(at, asked, "the new tokens had run out, or almost, when they came")


def sibling_asks(asked: Asked) -> Answer | None:
    """A person is being asked for a code of this login, and would be asked for a second one."""
    at = sibling_asks_until(asked.login, asked.account, asked.context.now, asked.context.policy)
    return _not_before(at, asked, "another account of the login waits for a code")


GUARDS: tuple[Guard, ...] = (
    good,
    waits_for_code,
    must_not_be_sent,
    needs_reconnect,
    not_refreshable,
    delayed,
    outcome_unknown,
    refused_once,
    backs_off,
    rejected_too_soon,
    short_lived,
    sibling_asks,
)
"""In this order: what a caller is told first."""

PARKED: tuple[Guard, ...] = (waits_for_code, must_not_be_sent, needs_reconnect, not_refreshable)
"""Those that only a person ends."""

DROPPED_BY_REFRESH = frozenset({good, needs_reconnect, backs_off, rejected_too_soon, short_lived})
"""`refresh` exchanges now, unless that could spend a token twice."""

ASKED_BY_RESTART: tuple[Guard, ...] = (outcome_unknown, backs_off)
"""`restart_mfa` exchanges an account whose question is open."""

ASKED_BY_LOOP: tuple[Guard, ...] = (not_refreshable, delayed, outcome_unknown, sibling_asks)
"""The loop exchanges accounts that are active and due: the other guards are in their due time."""


def choose_due(login: Login, context: Context) -> Send | None:
    """What the loop exchanges of a login that it has claimed: the account that has been due for longest."""
    now = context.now
    if now < _earliest(login, context):
        return None
    due = [
        account
        for account in login.accounts
        if account.state is AccountState.ACTIVE
        and account.due_at is not None
        and account.due_at <= now
        and _first_answer(ASKED_BY_LOOP, Asked(login, account, context)) is None
    ]
    return _send(min(due, key=lambda account: account.due_at or now), context) if due else None


def choose_question(question_id: str, login: Login, context: Context) -> Send | None:
    """The account that waits for the answer to this question, unless its tokens must not be sent yet."""
    try:
        account, _ = find_question(login, question_id)
    except (CodeNotWanted, AmbiguousAccount):
        return None
    return Send(account) if outcome_unknown(Asked(login, account, context)) is None else None


def postpone(login: Login, context: Context) -> Login:
    """`login` with each account that is due, and must not be sent yet, due when it may be.

    That is at the loop's next look (`Policy.poll`) at the earliest.
    """
    next_look = evolve(context, now=context.now + context.policy.poll)
    earliest, now = _earliest(login, next_look), next_look.now
    accounts = []
    for account in login.accounts:
        if account.state is AccountState.ACTIVE and account.due_at is not None:
            moments = [account.due_at, account.resend_not_before, account.tokens.not_before, earliest, now]
            until = max(moment for moment in moments if moment is not None)
            if sibling_asks_until(login, account, now, context.policy):
                until = max(until, now + context.policy.confirm_after)
            account = evolve(account, due_at=until)  # noqa: PLW2901
        accounts.append(account)
    return login.having(tuple(accounts))


def answer_tokens(
    login: Login,
    account: Account,
    context: Context,
    *,
    rejected: Tokens | str | None = None,
    valid_for: timedelta = timedelta(),
) -> Answer:
    """What `Keeper.tokens` does for a caller who asks for `account`.

    `rejected`: the broker has rejected these. By a version that is not of the stored ones, nothing is sent. Good tokens
    that do not last for `valid_for` are exchanged only where nothing at all speaks against it.
    """
    stored = account.tokens.auth_token
    if isinstance(rejected, str):
        is_rejected = rejected == version_of(login.login_id, account.tokens)
        if not is_rejected and stored is not None:
            return Good(account.tokens)
    else:
        is_rejected = rejected is not None and rejected.auth_token is not None and rejected.auth_token == stored
    asked = Asked(login, account, context, is_rejected)
    answer = _first_answer(GUARDS, asked) or _send(account, context)
    if isinstance(answer, Good) and not lasts(answer.tokens, valid_for, context.now) and _may_be_sent(asked):
        return evolve(_send(account, context), spare=answer.tokens)
    return answer


def answer_refresh(login: Login, account: Account, context: Context) -> Answer:
    """What `Keeper.refresh` does: exchange now, unless that could spend a token twice."""
    asked = Asked(login, account, context)
    return _first_answer((guard for guard in GUARDS if guard not in DROPPED_BY_REFRESH), asked) or _send(
        account, context
    )


def answer_restart(login: Login, account: Account, question_id: str, context: Context) -> Answer:
    """What `Keeper.restart_mfa` does: exchange the account anew, as long as its question is the one with this id."""
    asked = Asked(login, account, context)
    if account.pending is None:  # refreshed without a question, or refused
        return _first_answer(PARKED, asked) or Good(account.tokens)
    if account.pending.id != question_id:
        return Good(account.tokens)
    return _first_answer(ASKED_BY_RESTART, asked) or Send(account)


def _first_answer(guards: Iterable[Guard], asked: Asked) -> Answer | None:
    return next((answer for guard in guards if (answer := guard(asked)) is not None), None)


def _send(account: Account, context: Context) -> Send:
    return Send(account, wants_new_refresh_token(account, context.now, context.policy))


def _parked(account: Account) -> Parked:
    return Parked(account.reason, account.display_message)


def _not_before(at: datetime | None, asked: Asked, why: str) -> NotBefore | None:
    return NotBefore(at, why) if at is not None and asked.context.now < at else None


def _earliest(login: Login, context: Context) -> datetime:
    """When the login may be exchanged again after a success, unless a caller insists."""
    return _interval_end(login.succeeded_at, context)


def _may_be_sent(asked: Asked) -> bool:
    """Whether an account with good tokens may be exchanged before its time."""
    others = (guard for guard in GUARDS if guard is not good)
    return _first_answer(others, asked) is None and asked.context.now >= _earliest(asked.login, asked.context)


def _interval_end(success: datetime | None, context: Context) -> datetime:
    """`Policy.min_interval` after `success`. One in the future does not count: the clock went back since."""
    if success is None or success > context.now + CLOCK_TOLERANCE:
        return context.now
    return success + context.policy.min_interval

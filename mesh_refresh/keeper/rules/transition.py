"""What a rule is told besides the login, and what it returns. Pure. See docs/decisions/the-keeper.md."""

from collections.abc import Callable
from datetime import datetime

from attrs import evolve, field, frozen

from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.replies.lineage import Credential, refresh_token_of
from mesh_refresh.tokens import Tokens


@frozen
class Context:
    """What a rule needs besides the login and the outcome: rules have no clock and no randomness of their own."""

    now: datetime
    """The wall clock."""
    policy: Policy
    new_id: Callable[[], str] = field(repr=False, eq=False)
    """Returns an id that was never used, for an account that joins."""
    credential: Credential = field(default=refresh_token_of, repr=False, eq=False)
    """What an exchange of tokens spends. It never raises."""


@frozen
class Transition:
    """What a rule makes of a login. The runtime writes the login, and tells the events after that."""

    login: Login
    events: tuple[Event, ...] = ()
    hold: bool = False
    """The store keeps the login from every process for `Policy.resend_after`, because its tokens may be spent."""
    changed: bool = True
    """False: nothing of the outcome counts, and `login` is the one that the rule was given."""


def event_head(login: Login, account: Account, context: Context) -> tuple[str, str | None, str, datetime]:
    """The first fields of every event of an account: login id, account id, broker and time."""
    tokens = account.tokens
    return login.login_id, tokens.account_id or tokens.mesh_account_id, str(login.broker), context.now


def with_account(login: Login, old: Account, new: Account) -> Login:
    """`login` with `new` in the place of `old`."""
    return login.having(tuple([new if account is old else account for account in login.accounts]))


def clear_failures(account: Account) -> Account:
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


def count_failure(account: Account, error: str, number: int, context: Context) -> Account:
    """One failure more, of the attempt with this number."""
    return evolve(
        account,
        failures=account.failures + 1,
        failed_by=number,
        failing_since=account.failing_since or context.now,
        last_error=error,
    )


def working_state(tokens: Tokens, credential: Credential, before: Account | None = None) -> AccountState:
    """The state of an account that is not parked: active where there is anything to exchange.

    `before` is the account as it was; None: it is new. An account that had anything to exchange does not become
    managed: its token id came beside a credential, and says nothing of who renews that.
    """
    if credential(tokens) is not None:
        return AccountState.ACTIVE
    had = before is not None and (before.state is AccountState.ACTIVE or credential(before.tokens) is not None)
    return AccountState.NOT_REFRESHABLE if tokens.token_id is None or had else AccountState.MANAGED

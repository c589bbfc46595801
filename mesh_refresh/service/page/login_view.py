"""A login as the page shows it: no token, no key, nothing of a reply that could not be read. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from attrs import frozen

from mesh_refresh.keeper import Account, AccountState, Login, UnopenedRow
from mesh_refresh.keeper.advice import PARKED, why_parked, why_waiting
from mesh_refresh.stores import StoreError, WrongKey

STATES = {
    "active": "Active",
    "mfa_required": "Code wanted",
    "reconnect_required": "Log in again",
    "unreadable": "Unreadable",
    "not_refreshable": "Not refreshable",
    "managed": "Managed by Mesh",
    "moved": "Moved",
    "arriving": "Arriving",
    "sealed": "Does not open",
}
"""Short words for states, beside their shapes."""


@frozen
class LoginLine:
    """A login in a list."""

    login_id: str
    broker: str
    states: tuple[str, ...]
    why: str
    due_at: datetime | None
    expires_at: datetime | None
    changed_at: datetime | None


@frozen
class AccountView:
    """An account on the page of its login."""

    name: str | None
    """Its id, or Mesh's; None where it has neither."""
    key: str | None
    """What forms name it by; None where the login has no other account."""
    state: str
    what: str
    why: str | None
    next_step: str | None
    broker_says: str | None
    """What the broker wrote, to be shown as its words."""
    pending_id: str | None
    """The open question; None where none waits for a code."""
    can_ask_again: bool
    facts: Sequence[tuple[str, datetime | str | int | None]]


@frozen
class LoginView:
    """A login on its page."""

    login_id: str
    broker: str | None
    """None: it cannot be opened."""
    accounts: Sequence[AccountView]
    changed_at: datetime | None
    is_here: bool = True
    """False: it is moving, and nothing of it is exchanged here."""
    problem: str | None = None
    """Why it cannot be opened."""


def line_of(login: Login | UnopenedRow, now: datetime, held: str | None = None) -> LoginLine:
    """A login in a list, with the state of each of its accounts. `held` says why its broker is held back."""
    if isinstance(login, UnopenedRow):
        row = login.row
        return LoginLine(
            row.login_id, row.broker, ("sealed",), _problem(login.error), row.due_at, row.expires_at, row.changed_at
        )
    accounts = login.accounts
    states = (login.moving.way.value,) if login.moving else tuple(sorted({str(it.state) for it in accounts}))
    ends = [it.ends_at for it in accounts if it.ends_at is not None]
    due = [it.due_at for it in accounts if it.due_at is not None and not it.parked]
    return LoginLine(
        login.login_id,
        str(login.broker),
        states,
        next(filter(None, (why_parked(it) or _why_late(login, it, now, held) for it in accounts)), ""),
        min(due, default=None) if login.moving is None else None,
        min(ends, default=None),
        login.changed_at,
    )


def view_login(login: Login, now: datetime, held: str | None = None) -> LoginView:
    """All that the page shows of a login, the accounts that need a person first. `held`: see `line_of`."""
    several = len(login.accounts) > 1
    accounts = sorted(login.accounts, key=lambda it: not it.parked)
    return LoginView(
        login.login_id,
        str(login.broker),
        [_account(login, account, now, held, several=several) for account in accounts],
        login.changed_at,
        is_here=login.moving is None,
    )


def view_unopened(login_id: str, error: StoreError) -> LoginView:
    """What is shown of a login that does not open."""
    return LoginView(login_id, None, (), None, is_here=False, problem=_problem(error))


def _problem(error: StoreError) -> str:
    if isinstance(error, WrongKey):
        return "No key at hand opens this login. Give the service the key that sealed it."
    return "The row of this login is damaged. Restore it from a backup."


def _account(login: Login, account: Account, now: datetime, held: str | None, *, several: bool) -> AccountView:
    tokens, pending = account.tokens, account.pending
    name = tokens.account_id or tokens.mesh_account_id
    is_here = login.moving is None
    parked = PARKED.get(account.state) if is_here else None
    asks = is_here and account.state is AccountState.MFA_REQUIRED and pending is not None
    return AccountView(
        name,
        name if several else None,
        str(account.state) if login.moving is None else login.moving.way.value,
        parked.what if parked else _working(account, now) if is_here else "At home in another store",
        (why_parked(account) if is_here else None) or _why_late(login, account, now, held),
        parked.next_step if parked else None,
        (pending.display_message if pending is not None else None) or account.display_message,
        pending.id if asks and pending is not None and not pending.answered else None,
        asks,
        list(_facts(account, is_here=is_here)),
    )


def _why_late(login: Login, account: Account, now: datetime, held: str | None) -> str | None:
    is_held = held is not None and login.moving is None and _is_due(account, now)
    return held if is_held else why_waiting(login, account, now)


def _is_due(account: Account, now: datetime) -> bool:
    return account.due_at is not None and account.due_at <= now and not account.parked


def _working(account: Account, now: datetime) -> str:
    if account.failures:
        return "Failing, and tried again"
    if _is_due(account, now):
        return "Due, and not refreshed yet"
    if account.state is AccountState.MANAGED:
        return "Kept fresh by Mesh"
    return "Kept fresh" if account.state is AccountState.ACTIVE else "Good until its access token ends"


def _facts(account: Account, *, is_here: bool) -> Iterable[tuple[str, datetime | str | int | None]]:
    tokens = account.tokens
    yield "Access token ends", account.ends_at
    yield "Refresh token ends", tokens.refresh_token_expires_at
    yield "Refreshed", account.refreshed_at
    if is_here:
        yield "Due", None if account.parked else account.due_at
    if account.parked_at is not None:
        yield "Parked", account.parked_at
    if account.pending is not None:
        yield "Asked for a code", account.pending.asked_at
    if account.failures or account.last_error:
        yield "Failures in a row", account.failures
        yield "Last error", account.last_error
    if account.failing_since is not None:
        yield "Failing since", account.failing_since
    if not is_here:
        return  # its home says when it is exchanged next
    for label, at in (("Not tried before", account.retry_not_before), ("Not sent before", account.resend_not_before)):
        if at is not None:
            yield label, at

"""Entries of a reply become the tokens of their accounts, or join the login as new ones. Pure."""

from datetime import timedelta
from functools import partial

from attrs import evolve

from mesh_refresh.keeper import events
from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.rules import fingerprints
from mesh_refresh.keeper.rules.assignment import Assigned
from mesh_refresh.keeper.rules.attempt import Attempt, ReplyEntry
from mesh_refresh.keeper.rules.fencing import Context, counts, is_newer, replaced, told_of
from mesh_refresh.keeper.rules.schedule import backed_off, chance_of, next_due
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.replies.brought import SECRETS, adopt
from mesh_refresh.replies.lineage import pass_on
from mesh_refresh.tokens import Tokens

_A_MOMENT, _A_MINUTE = timedelta(seconds=2), timedelta(minutes=1)


def taken(
    login: Login,
    attempt: Attempt,
    assigned: Assigned,
    now: Context,
    told: list[Event],
    *,
    new: Tokens | None,
    asks: bool = False,
) -> Login:
    """Every entry goes to its account, or joins the login as a new one. `asks`: the reply asks for a code.

    `new` has the refresh token that came after the spent one, for accounts that shared it and were given none.

    Such a reply says of nobody that they go without one, and what it only lists again ends no question of theirs: two
    accounts that both need a code would be asked for in turns, for ever.
    """
    for entry, place in assigned.entries:
        if place is not None:
            account = login.accounts[place]
            after = _after(account, entry, attempt, new, now)
            if asks and not _is_news(account, after.tokens):
                continue
            if counts(account, attempt, now) and is_newer(account, attempt, now.credential(after.tokens), now):
                fresh = _refreshed(login, account, after, attempt, now, needs_code=asks and account.needs_code)
                told.append(
                    events.AccountRefreshed(
                        *told_of(login, fresh, now), account.failures, account.state, fresh.tokens.expires_at
                    )
                )
                login = replaced(login, account, fresh)
        elif not _known_once(login, entry, now):
            joined = _joined(login, entry, attempt, now, needs_code=asks)
            told.append(events.AccountJoined(*told_of(login, joined, now)))
            login = evolve(login, accounts=(*login.accounts, joined))
    return login


def _known_once(login: Login, entry: ReplyEntry, now: Context) -> bool:
    """Whether these tokens are some account's already, under no name."""
    mark = fingerprints.identity(entry.tokens, now.credential)
    return any(
        fingerprints.identity(account.tokens, now.credential) == mark and not account.tokens.account_id
        for account in login.accounts
    )


def _is_news(account: Account, tokens: Tokens) -> bool:
    """Whether these are others than the account has."""
    had = account.tokens
    return (tokens.refresh_token, tokens.auth_token) != (had.refresh_token, had.auth_token)


def _refreshed(
    login: Login, account: Account, after: ReplyEntry, attempt: Attempt, now: Context, *, needs_code: bool
) -> Account:
    tokens, old = after.tokens, account.tokens
    ends, before = tokens.refresh_token_expires_at, old.refresh_token_expires_at
    credential, is_same = now.credential(tokens), now.credential(tokens) == now.credential(old)
    slow = tokens.auth_token is None or not after.brought_access
    # Whatever is not named here is what a success ends. Made once more with its times: that is faster than `evolve`.
    made = partial(
        Account,
        tokens,
        AccountState.ACTIVE if credential is not None else AccountState.NOT_REFRESHABLE,
        epoch=account.epoch,
        produced_by=account.produced_by if is_same else attempt.number,
        settled_by=max(account.settled_by, attempt.number),
        failed_by=account.failed_by,
        refreshed_at=now.at,
        renewed_at=attempt.begun_at
        if tokens.refresh_token != old.refresh_token or ends != before
        else account.renewed_at,
        failures=account.failures + 1 if slow else 0,
        failing_since=(account.failing_since or now.at) if slow else None,
        last_error="no access token" if slow else None,
        needs_code=needs_code or attempt.with_code is not None,
        renewal_stuck=_is_stuck(account, after, attempt),
        body=account.body,
        known=fingerprints.rotated(account.known, old, tokens, now.credential),
    )
    fresh, chance = made(), chance_of(login.login_id, attempt.number)
    if slow:
        # A success that brings no access token would be due at once, for ever.
        again = backed_off(fresh, now.policy, now=now.at, chance=chance)
        return made(due_at=None if fresh.needs_code else again, retry_not_before=again)
    due_at = next_due(fresh, now.policy, chance=chance, now=now.at)
    if account.failed_by > attempt.number and is_same:
        # The same token was sent once more since, and what became of that still counts.
        return made(
            due_at=due_at and max(due_at, account.resend_not_before or due_at),
            resend_not_before=account.resend_not_before,
            unknown_since=account.unknown_since,
        )
    return made(due_at=due_at)


def _after(account: Account, entry: ReplyEntry, attempt: Attempt, new: Tokens | None, now: Context) -> ReplyEntry:
    """`entry` with the tokens that the account has after it: what the reply brought, and the rest of what is stored.

    An echo of the token that was stored at the attempt is no news: what is stored is the same one, or came after it.
    """
    sent, brought = dict(attempt.seen).get(account.epoch, attempt.spent), entry.brought
    if now.credential(account.tokens) != sent:
        brought -= {name for name in SECRETS if getattr(entry.tokens, name) == sent}
    stored = pass_on(account.tokens, attempt.spent, new, now.credential)
    return evolve(entry, tokens=adopt(stored, entry.tokens, brought, own=entry.asked))


def _is_stuck(account: Account, entry: ReplyEntry, attempt: Attempt) -> bool:
    """Whether asking for a new refresh token is of no use."""
    ends, before = entry.tokens.refresh_token_expires_at, account.tokens.refresh_token_expires_at
    # An end is told as whole seconds from an answer: a fixed one seems to move a little each time.
    moved = (
        before is not None
        and ends is not None
        and ends - before > min(_A_MINUTE, max(_A_MOMENT, (ends - attempt.begun_at) / 20))
    )
    if attempt.new_refresh_token and entry.asked:
        return before is not None and not moved
    return account.renewal_stuck and not moved


def _joined(login: Login, entry: ReplyEntry, attempt: Attempt, now: Context, *, needs_code: bool) -> Account:
    account = Account(
        entry.tokens,
        AccountState.ACTIVE if now.credential(entry.tokens) is not None else AccountState.NOT_REFRESHABLE,
        epoch=now.epochs(),
        produced_by=attempt.number,
        settled_by=attempt.number,
        refreshed_at=now.at,
        renewed_at=attempt.begun_at,
        needs_code=needs_code or attempt.with_code is not None,
        known=fingerprints.added("", entry.tokens, now.credential),
    )
    chance = chance_of(login.login_id, attempt.number)
    return evolve(account, due_at=next_due(account, now.policy, chance=chance, now=now.at))

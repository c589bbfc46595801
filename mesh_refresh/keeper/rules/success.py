"""A reply with tokens: each entry becomes the tokens of its account, or joins the login as a new account. Pure.

`mesh_refresh.replies.identity` has the rule whose an entry is. An entry that stays unclear goes to an account without
an id, or joins as one: a login has one set of these, which each such reply renews. An account with an id that was left,
and that may be of any of these entries, is parked: its own token may be spent, and no entry may be given to the wrong
account.

The accounts that the reply leaves out are in `siblings`. See docs/decisions/the-keeper.md and
docs/decisions/one-row-a-login.md.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from attrs import evolve, frozen

from mesh_refresh.keeper.events import AccountJoined, AccountRefreshed, Event, ReconnectRequired, ReconnectSoon
from mesh_refresh.keeper.rules.attempt import Attempt, ReplyEntry, Success
from mesh_refresh.keeper.rules.fencing import concerns, is_newer
from mesh_refresh.keeper.rules.schedule import backoff_until, chance_of, next_due, respect_min_interval
from mesh_refresh.keeper.rules.siblings import find_successor, update_left_out
from mesh_refresh.keeper.rules.transition import (
    Context,
    Transition,
    clear_failures,
    event_head,
    with_account,
    working_state,
)
from mesh_refresh.logins import Account, AccountState, Login, Reason, fingerprints
from mesh_refresh.replies.brought import adopt, for_any_account
from mesh_refresh.replies.identity import SECRETS, has_id, owners
from mesh_refresh.replies.lineage import pass_on
from mesh_refresh.tokens import Tokens

_A_MOMENT, _A_MINUTE = timedelta(seconds=2), timedelta(minutes=1)
_STAY = (AccountState.RECONNECT_REQUIRED, AccountState.UNREADABLE)
"""Accounts in these states are not exchanged anyway, and say why."""


@frozen
class Assigned:
    """Each entry of a reply with its account."""

    entries: tuple[tuple[ReplyEntry, int | None], ...]
    """With the index of its account in the login; None: it joins as a new one."""
    served: frozenset[str]
    """The epochs of the accounts that have an entry."""
    unclear: frozenset[str]
    """The epochs of accounts with an id whose entry is one of several, and not known."""

    @property
    def without_asked(self) -> "Assigned":
        """The same without the entry of the account asked for."""
        return evolve(self, entries=tuple((entry, index) for entry, index in self.entries if not entry.asked))


def assign(
    login: Login,
    attempt: Attempt,
    entries: tuple[ReplyEntry, ...],
    context: Context,
    *,
    shared: int | None = None,
    asks: bool = False,
) -> Assigned:
    """Each of `entries` with its account in `login`.

    `shared` is the index of an entry that serves every account without one of its own. `asks`: the reply asks for a
    code, so the account asked for is given no entry that does not name it.
    """
    accounts = login.accounts
    asked = next((index for index, account in enumerate(accounts) if account.epoch == attempt.epoch), None)
    if len(entries) == 1 and entries[0].asked and shared is None:  # which is the rule
        given = ((entries[0], asked),) if asked is not None else ()
        return Assigned(given, frozenset([attempt.epoch]), frozenset())
    eligible = [index for index, account in enumerate(accounts) if concerns(account, attempt, context)]
    known = {number: asked for number, entry in enumerate(entries) if entry.asked and asked is not None}
    found = owners(
        [entry.tokens for entry in entries], [account.tokens for account in accounts], given=known, eligible=eligible
    )
    owner: list[int | None] = list(found.of)
    left = [index for index in eligible if index not in owner]
    nameless = [number for number in found.unclear if number != shared and not entries[number].asked]
    free = [index for index in left if not has_id(accounts[index].tokens) and not (asks and index == asked)]
    if len(nameless) < len(free):
        free.sort(key=lambda index: index != asked)  # its token was spent: it is renewed first
    for number, index in zip(nameless, free, strict=False):
        owner[number] = index
    assigned = [
        (entry, index) for entry, index in zip(entries, owner, strict=True) if index is not None or not entry.asked
    ]
    if shared is not None:
        for_all = evolve(entries[shared], tokens=for_any_account(entries[shared].tokens), asked=False)
        assigned += [(for_all, index) for index in left if index not in owner]
    served = frozenset(accounts[index].epoch for _, index in assigned if index is not None)
    unclear = {accounts[index].epoch for index in left if has_id(accounts[index].tokens)} if nameless else set()
    return Assigned(tuple(assigned), served, frozenset(unclear - served))


def park_unclear(login: Login, before: Login, attempt: Attempt, assigned: Assigned, context: Context) -> Transition:
    """`login` with the accounts parked that a reply to `attempt` may have renewed by an entry without a name.

    `before` is the login as it was before the reply: an account that had newer tokens then stays as it is.
    """
    events: list[Event] = []
    for old in before.accounts:
        account = login.by_epoch(old.epoch)
        if account is None or old.epoch not in assigned.unclear or old.state in _STAY:
            continue
        if context.credential(old.tokens) is None or attempt.number <= max(old.produced_by, old.settled_by):
            continue
        parked = evolve(
            clear_failures(account),
            state=AccountState.RECONNECT_REQUIRED,
            due_at=None,
            parked_at=context.now,
            reason=Reason.AMBIGUOUS,
            last_error="AccountNotInReply",
            settled_by=max(account.settled_by, attempt.number),
        )
        login = with_account(login, account, parked)
        events.append(ReconnectRequired(*event_head(login, parked, context), Reason.AMBIGUOUS, None))
    return Transition(login, tuple(events), changed=bool(events))


def apply_success(login: Login, attempt: Attempt, success: Success, context: Context) -> Transition:
    """`login` with every entry of the reply, and with what the reply means for the accounts that it leaves out."""
    if login.epoch != attempt.login_epoch:
        return Transition(login, changed=False)  # removed, and added anew: the reply is for the login before
    begun = login.succeeding(_round_at(login, attempt, context), context.now)
    assigned = assign(login, attempt, success.entries, context, shared=success.shared)
    new = find_successor(login, attempt, success.entries, context)
    accepted = accept_entries(begun, attempt, assigned, context, new=new)
    rest = update_left_out(accepted.login, attempt, success.entries, context, served=assigned.served)
    after = park_unclear(rest, login, attempt, assigned, context)
    if not accepted.changed:
        # The named accounts have all of it, or newer tokens. Other accounts may have had the token that was spent.
        same_success = after.login.succeeding(login.round_at, login.succeeded_at)
        return Transition(same_success, after.events, changed=same_success != login)
    return Transition(respect_min_interval(after.login, context.policy), (*accepted.events, *after.events))


def accept_entries(
    login: Login,
    attempt: Attempt,
    assigned: Assigned,
    context: Context,
    *,
    new: Tokens | None,
    asks: bool = False,
) -> Transition:
    """Give each entry to its account, or let it join the login as a new account.

    `new` has the token that came after the spent one, for accounts that shared it and were given none.

    `asks`: the reply asks for a code. Such a reply does not show that any account can do without one. An account that
    it only lists as it is keeps its own question: else two accounts that both need a code are asked in turns, for ever.
    """
    events: list[Event] = []
    for entry, index in assigned.entries:
        if index is not None:
            account = login.accounts[index]
            complete = _complete(account, entry, attempt, new, context)
            if asks and not _is_news(account, complete.tokens):
                continue
            credential = context.credential(complete.tokens)
            if concerns(account, attempt, context) and is_newer(account, attempt, credential, context):
                needs_code = asks and account.needs_code
                fresh = _refresh(login, account, complete, attempt, context, needs_code=needs_code)
                ended = account.failures, account.state, fresh.tokens.expires_at
                events.append(AccountRefreshed(*event_head(login, fresh, context), *ended))
                login = with_account(login, account, fresh)
        elif not _is_known_without_name(login, entry, context):
            joined = _join(login, entry, attempt, context, needs_code=asks)
            events.append(AccountJoined(*event_head(login, joined, context)))
            login = evolve(login, accounts=(*login.accounts, joined))
    return Transition(login, tuple(events), changed=bool(events))


def find_stuck_renewals(before: Login, after: Login, context: Context) -> Iterator[Event]:
    """An event for each account whose refresh token ends, and could not be renewed, for the first time."""
    was = {account.epoch: account for account in before.accounts}
    for account in after.accounts:
        old, ends = was.get(account.epoch), account.tokens.refresh_token_expires_at
        if account.renewal_stuck and ends is not None and old is not None and not old.renewal_stuck:
            yield ReconnectSoon(*event_head(after, account, context), ends)


def _round_at(login: Login, attempt: Attempt, context: Context) -> datetime:
    """When the present round of the login's accounts began.

    An account that is behind goes on with the round. Never in the future: else siblings renew each other until a clock
    that was ahead is right.
    """
    asked = login.by_epoch(attempt.epoch)
    goes_on = asked is not None and asked.behind
    return min((login.round_at if goes_on else None) or attempt.begun_at, context.now)


def _complete(
    account: Account, entry: ReplyEntry, attempt: Attempt, new: Tokens | None, context: Context
) -> ReplyEntry:
    """`entry` with all tokens of the account after it: what the reply brought, and the rest of what is stored.

    A reply may repeat the token that the account had at the attempt. That brings nothing: the stored token is the same
    one, or came after it.
    """
    sent, brought = dict(attempt.seen).get(account.epoch, attempt.spent), entry.brought
    if context.credential(account.tokens) != sent:
        brought -= {name for name in SECRETS if getattr(entry.tokens, name) == sent}
    stored = pass_on(account.tokens, attempt.spent, new, context.credential)
    return ReplyEntry(adopt(stored, entry.tokens, brought, own=entry.asked), entry.brought, entry.asked)


def _is_news(account: Account, tokens: Tokens) -> bool:
    """Whether these are others than the account has."""
    had = account.tokens
    return (tokens.refresh_token, tokens.auth_token) != (had.refresh_token, had.auth_token)


def _is_known_without_name(login: Login, entry: ReplyEntry, context: Context) -> bool:
    """Whether an account without an id has these tokens already."""
    mark = fingerprints.identity(entry.tokens, context.credential)
    return any(
        fingerprints.identity(account.tokens, context.credential) == mark and not account.tokens.account_id
        for account in login.accounts
    )


def _refresh(
    login: Login, account: Account, entry: ReplyEntry, attempt: Attempt, context: Context, *, needs_code: bool
) -> Account:
    """`account` with the tokens of `entry`. A field that is not named here is one that a success ends."""
    old, new = account.tokens, entry.tokens
    ends = new.refresh_token_expires_at
    is_renewed = new.refresh_token != old.refresh_token or ends != old.refresh_token_expires_at
    has_same_credential = context.credential(new) == context.credential(old)
    no_access = new.auth_token is None or not entry.brought_access
    # Made twice, the second time with its times: `attrs.evolve` takes five times as long.
    build = partial(
        Account,
        new,
        working_state(new, context.credential, account),
        epoch=account.epoch,
        produced_by=account.produced_by if has_same_credential else attempt.number,
        settled_by=max(account.settled_by, attempt.number),
        failed_by=account.failed_by,
        refreshed_at=context.now,
        renewed_at=attempt.begun_at if is_renewed else account.renewed_at,
        failures=account.failures + 1 if no_access else 0,
        failing_since=(account.failing_since or context.now) if no_access else None,
        last_error="no access token" if no_access else None,
        needs_code=needs_code or attempt.with_code is not None,
        renewal_stuck=_is_stuck(account, entry, attempt),
        body=account.body,
        known=fingerprints.remember_rotated(account.known, old, new, context.credential),
    )
    fresh, chance = build(), chance_of(login.login_id, attempt.number)
    if no_access:
        # At once again would be for ever.
        again = backoff_until(fresh, context.policy, now=context.now, chance=chance)
        return build(due_at=None if fresh.needs_code else again, retry_not_before=again)
    due_at = next_due(fresh, context.policy, chance=chance, now=context.now)
    if account.failed_by > attempt.number and has_same_credential:
        # The same token was sent once more since, and the outcome of that still counts.
        return build(
            due_at=due_at and max(due_at, account.resend_not_before or due_at),
            resend_not_before=account.resend_not_before,
            unknown_since=account.unknown_since,
        )
    return build(due_at=due_at)


def _is_stuck(account: Account, entry: ReplyEntry, attempt: Attempt) -> bool:
    """Whether asking for a new refresh token is of no use: the last time that did not move the token's end."""
    ends, before = entry.tokens.refresh_token_expires_at, account.tokens.refresh_token_expires_at
    # Mesh tells an end in whole seconds from the reply: a fixed end seems to move a little each time.
    moved = (
        before is not None
        and ends is not None
        and ends - before > min(_A_MINUTE, max(_A_MOMENT, (ends - attempt.begun_at) / 20))
    )
    if attempt.new_refresh_token and entry.asked:
        return before is not None and not moved
    return account.renewal_stuck and not moved


def _join(login: Login, entry: ReplyEntry, attempt: Attempt, context: Context, *, needs_code: bool) -> Account:
    """The account that a reply has brought for the first time."""
    account = Account(
        entry.tokens,
        working_state(entry.tokens, context.credential),
        epoch=context.new_id(),
        produced_by=attempt.number,
        settled_by=attempt.number,
        refreshed_at=context.now,
        renewed_at=attempt.begun_at,
        needs_code=needs_code or attempt.with_code is not None,
        known=fingerprints.remember_added("", entry.tokens, context.credential),
    )
    chance = chance_of(login.login_id, attempt.number)
    return evolve(account, due_at=next_due(account, context.policy, chance=chance, now=context.now))

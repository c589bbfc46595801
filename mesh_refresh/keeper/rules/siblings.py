"""Accounts of a login that a reply leaves out, though it may have spent their tokens. Pure.

Accounts of one login can share a token upstream. So a reply for one of them may end, or renew, the tokens of another.
See docs/decisions/one-row-a-login.md.
"""

from collections.abc import Collection

from attrs import evolve

from mesh_refresh.keeper.rules.attempt import Attempt, ReplyEntry
from mesh_refresh.keeper.rules.fencing import concerns, has_sent_credential
from mesh_refresh.keeper.rules.schedule import backoff_until, chance_of, next_due, resend_not_before, retry_not_before
from mesh_refresh.keeper.rules.transition import Context, clear_failures, count_failure, with_account
from mesh_refresh.logins import Account, AccountState, Login, fingerprints
from mesh_refresh.replies.identity import same_account, whose
from mesh_refresh.replies.lineage import pass_on, successor
from mesh_refresh.tokens import Tokens


def update_left_out(
    login: Login,
    attempt: Attempt,
    entries: tuple[ReplyEntry, ...],
    context: Context,
    *,
    shared: Tokens | None = None,
    served: Collection[str] = (),
) -> Login:
    """`login` with each account changed that the reply leaves out.

    `served` are the epochs of the accounts that have an entry. `shared` has the new refresh token of a reply that asked
    for a code; the account that was asked for is parked with its question then, and not changed here.
    """
    latest = find_successor(login, attempt, entries, context) if shared is None else shared
    if not entries and (latest is None or context.credential(latest) in (None, attempt.spent)):
        return login  # the reply renewed no account
    asked_is_served = shared is not None or any(entry.asked for entry in entries)
    for account in login.accounts:
        is_served = (
            account.epoch in served
            or (asked_is_served and account.epoch == attempt.epoch)
            or any(same_account(account.tokens, entry.tokens) for entry in entries)
        )
        if not is_served and concerns(account, attempt, context):
            after = _leave_out(login, account, attempt, latest, context)
            login = login if after is account else with_account(login, account, after)
    return login


def find_successor(login: Login, attempt: Attempt, entries: tuple[ReplyEntry, ...], context: Context) -> Tokens | None:
    """The tokens that came after the spent ones; None where the reply does not tell.

    They are those of the account that was asked for. Where it was given none, they are those of the accounts that
    shared the spent token.
    """
    asked = next((index for index, entry in enumerate(entries) if entry.asked), None)
    latest = successor([entry.tokens for entry in entries], asked, context.credential)
    if latest is not None and context.credential(latest) != attempt.spent:
        return latest
    seen, accounts = dict(attempt.seen), [account.tokens for account in login.accounts]
    all_shared = set(seen.values()) <= {attempt.spent, None}
    found: dict[str, Tokens] = {}
    for entry in entries:
        index, token = whose(entry.tokens, accounts), context.credential(entry.tokens)
        shared = all_shared or (index is not None and seen.get(login.accounts[index].epoch) == attempt.spent)
        if shared and token is not None and token != attempt.spent:
            found[token] = entry.tokens
    return next(iter(found.values())) if len(found) == 1 else latest


def _leave_out(login: Login, account: Account, attempt: Attempt, latest: Tokens | None, context: Context) -> Account:
    """What a reply without an entry for `account` makes of it."""
    new = None if latest is None else context.credential(latest)
    if not has_sent_credential(account, attempt, context):
        if account.sibling_renewed or attempt.number <= account.settled_by:
            return account
        return evolve(account, sibling_renewed=True)  # its own token may be dead: a refusal is final from here on
    if new not in (None, attempt.spent):
        tokens = pass_on(account.tokens, attempt.spent, latest, context.credential)
        return _take_successor(login, account, tokens, attempt, context)
    if attempt.number <= max(account.settled_by, account.failed_by):
        return account  # this reply was counted before, or a newer outcome was
    if new is None:
        return _wait_for_successor(login, account, attempt, context)
    return _try_later(login, account, attempt, context) if account.epoch == attempt.epoch else account


def _take_successor(login: Login, account: Account, tokens: Tokens, attempt: Attempt, context: Context) -> Account:
    """`account` with the new token that came for another account.

    A parked account works again, because the token that it was parked for does. Its question is void: the answer would
    bring the spent token.
    """
    fresh = evolve(
        clear_failures(account) if account.parked else account,
        tokens=tokens,
        state=AccountState.ACTIVE,
        produced_by=attempt.number,
        settled_by=max(account.settled_by, attempt.number),
        renewed_at=attempt.begun_at,
        known=fingerprints.remember_rotated(account.known, account.tokens, tokens, context.credential),
        refused_at=None,
        unknown_since=None,
        resend_not_before=None,
    )
    if account.epoch == attempt.epoch:
        fresh = evolve(fresh, failures=account.failures, failing_since=account.failing_since)
        return _try_later(login, fresh, attempt, context)
    if fresh.needs_code:
        return evolve(fresh, due_at=None)
    got_at, round_at = tokens.obtained_at, login.round_at
    behind = round_at is None or got_at is None or got_at < round_at
    chance = chance_of(login.login_id, attempt.number)
    due_at = context.now if behind else next_due(fresh, context.policy, chance=chance, now=context.now)
    if due_at is not None and fresh.retry_not_before is not None:
        due_at = max(due_at, fresh.retry_not_before)  # its own failures pace it still
    return evolve(fresh, behind=behind, due_at=due_at)


def _try_later(login: Login, account: Account, attempt: Attempt, context: Context) -> Account:
    """The account that was asked for, and has no entry. It backs off: at once again would be for ever."""
    counted = _count(account, attempt, context)
    again = backoff_until(counted, context.policy, now=context.now, chance=chance_of(login.login_id, attempt.number))
    return evolve(counted, due_at=None if account.parked or account.needs_code else again, retry_not_before=again)


def _wait_for_successor(login: Login, account: Account, attempt: Attempt, context: Context) -> Account:
    """Other accounts were renewed, by several tokens: the account's own token was sent, and may be spent."""
    counted = evolve(_count(account, attempt, context), unknown_since=account.unknown_since or context.now)
    chance = chance_of(login.login_id, attempt.number)
    again = retry_not_before(counted, context.policy, now=context.now, chance=chance)
    wait = resend_not_before(account, context.policy, now=context.now)
    due_at = None if account.parked or account.needs_code else max(wait, again)
    return evolve(counted, resend_not_before=wait, retry_not_before=again, due_at=due_at)


def _count(account: Account, attempt: Attempt, context: Context) -> Account:
    return count_failure(account, "AccountNotInReply", max(account.failed_by, attempt.number), context)

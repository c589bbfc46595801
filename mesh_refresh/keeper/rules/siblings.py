"""Accounts of a login that a reply does not name, though it may have spent what they have. Pure."""

from collections.abc import Collection

from attrs import evolve

from mesh_refresh.keeper.rules import fingerprints
from mesh_refresh.keeper.rules.attempt import Attempt, ReplyEntry
from mesh_refresh.keeper.rules.fencing import Context, cleared, counts, replaced, shares
from mesh_refresh.keeper.rules.schedule import backed_off, chance_of, next_due, resend_not_before, retry_not_before
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.replies.identity import same_account, whose
from mesh_refresh.replies.lineage import pass_on, successor
from mesh_refresh.tokens import Tokens


def left_out(
    login: Login,
    attempt: Attempt,
    entries: tuple[ReplyEntry, ...],
    now: Context,
    *,
    shared: Tokens | None = None,
    served: Collection[str] = (),
) -> Login:
    """Accounts that the reply leaves out: those with the very token that was spent take the new one.

    `served` are the epochs of those that it gives an entry.
    `shared` has that, where the reply asked for a code; the account which is asked for is seen to elsewhere then.
    """
    latest = successor_of(login, attempt, entries, now) if shared is None else shared
    new = None if latest is None else now.credential(latest)
    renewed = bool(entries) or new not in (None, attempt.spent)
    for account in login.accounts:
        own = account.epoch == attempt.epoch
        named = own if shared is not None else any(entry.asked for entry in entries) and own
        named = named or account.epoch in served
        named = named or any(same_account(account.tokens, entry.tokens) for entry in entries)
        if named or not renewed or not counts(account, attempt, now):
            continue
        if not shares(account, attempt, now):
            if attempt.number > account.settled_by and not account.sibling_renewed:
                login = replaced(login, account, evolve(account, sibling_renewed=True))
        elif new is not None and new != attempt.spent:
            tokens = pass_on(account.tokens, attempt.spent, latest, now.credential)
            login = replaced(login, account, _caught_up(login, account, tokens, attempt, now))
        elif attempt.number <= max(account.settled_by, account.failed_by):
            continue  # it is known already, or something newer is
        elif new is None:
            login = replaced(login, account, _without_successor(login, account, attempt, now))
        elif own:
            login = replaced(login, account, _unserved(login, account, attempt, now))
    return login


def _caught_up(login: Login, account: Account, tokens: Tokens, attempt: Attempt, now: Context) -> Account:
    """`account` with the new token that came for another one."""
    parked = account.parked
    fresh = evolve(
        cleared(account) if parked else account,
        tokens=tokens,
        # What it was parked for has come to life again. A question is void: its answer would bring the spent token.
        state=AccountState.ACTIVE,
        produced_by=attempt.number,
        settled_by=max(account.settled_by, attempt.number),
        renewed_at=attempt.begun_at,
        known=fingerprints.rotated(account.known, account.tokens, tokens, now.credential),
        refused_at=None,
        unknown_since=None,
        resend_not_before=None,
    )
    if account.epoch == attempt.epoch:
        fresh = evolve(fresh, failures=account.failures, failing_since=account.failing_since)
        return _unserved(login, fresh, attempt, now)
    if fresh.needs_code:
        return evolve(fresh, due_at=None)
    chance = chance_of(login.login_id, attempt.number)
    got_at, round_at = tokens.obtained_at, login.round_at
    behind = round_at is None or got_at is None or got_at < round_at
    due_at = now.at if behind else next_due(fresh, now.policy, chance=chance, now=now.at)
    if due_at is not None and fresh.retry_not_before is not None:
        due_at = max(due_at, fresh.retry_not_before)  # its own failures pace it still
    return evolve(fresh, behind=behind, due_at=due_at)


def _unserved(login: Login, account: Account, attempt: Attempt, now: Context) -> Account:
    """The account that was asked for, where the reply has nothing for it: at once again would be for ever."""
    counted = _counted(account, attempt, now)
    again = backed_off(counted, now.policy, now=now.at, chance=chance_of(login.login_id, attempt.number))
    return evolve(counted, due_at=None if account.parked or account.needs_code else again, retry_not_before=again)


def _counted(account: Account, attempt: Attempt, now: Context) -> Account:
    return evolve(
        account,
        failures=account.failures + 1,
        failed_by=max(account.failed_by, attempt.number),
        failing_since=account.failing_since or now.at,
        last_error="AccountNotInReply",
    )


def _without_successor(login: Login, account: Account, attempt: Attempt, now: Context) -> Account:
    """Only others were renewed, by several tokens: nobody knows whether its own, which was sent, is spent."""
    counted = evolve(_counted(account, attempt, now), unknown_since=account.unknown_since or now.at)
    again = retry_not_before(counted, now.policy, now=now.at, chance=chance_of(login.login_id, attempt.number))
    wait = resend_not_before(account, now.policy, now=now.at)
    due_at = None if account.parked or account.needs_code else max(wait, again)
    return evolve(counted, resend_not_before=wait, retry_not_before=again, due_at=due_at)


def successor_of(login: Login, attempt: Attempt, entries: tuple[ReplyEntry, ...], now: Context) -> Tokens | None:
    """Whose tokens came after the spent ones.

    Where the account asked for was given none, those of the accounts that shared the spent ones.
    """
    asked = next((index for index, entry in enumerate(entries) if entry.asked), None)
    latest = successor([entry.tokens for entry in entries], asked, now.credential)
    if latest is not None and now.credential(latest) != attempt.spent:
        return latest
    seen, accounts = dict(attempt.seen), [account.tokens for account in login.accounts]
    all_shared = set(seen.values()) <= {attempt.spent, None}
    found: dict[str, Tokens] = {}
    for entry in entries:
        index, token = whose(entry.tokens, accounts), now.credential(entry.tokens)
        shared = all_shared or (index is not None and seen.get(login.accounts[index].epoch) == attempt.spent)
        if shared and token not in (None, attempt.spent):
            found[token or ""] = entry.tokens
    return next(iter(found.values())) if len(found) == 1 else latest

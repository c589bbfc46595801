"""The question for a code, from the reply that asks it to the answer. Pure. See docs/mfa-through-a-web-form.md.

- A reply asks: `park_with_question` parks the account with the continuation, which only the broker's strategy reads.
- A person answers: `find_question` tells which account waits for the code, and `select.choose_question` when it may go.
- Before a code is sent, `mark_answered` is written. So a crash sends no second code for one question.
- The code was wrong, or was not sent: `reopen_question`. Question and tokens are as before.
- The outcome of the code is unknown: `wait_after_code`. It is used up, or not, so the question stays answered, and the
  account parked. Only a new question helps, which `Keeper.restart_mfa` asks for: see `select.answer_restart`.
- A person is asked for one code at a time: `sibling_asks_until`.
"""

from datetime import datetime

from attrs import evolve

from mesh_refresh.keeper.errors import CodeNotWanted
from mesh_refresh.keeper.events import MfaNeeded
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.attempt import Attempt, CodeWanted
from mesh_refresh.keeper.rules.fencing import is_newer
from mesh_refresh.keeper.rules.siblings import find_successor, update_left_out
from mesh_refresh.keeper.rules.success import accept_entries, assign
from mesh_refresh.keeper.rules.transition import Context, Transition, clear_failures, event_head, with_account
from mesh_refresh.logins import Account, AccountState, AmbiguousAccount, Login, Pending, fingerprints
from mesh_refresh.logins.login import ids_of
from mesh_refresh.tokens import Tokens


def park_with_question(login: Login, attempt: Attempt, wanted: CodeWanted, context: Context) -> Transition:
    """`login` after a reply that asks for a code: the account is parked, and what the reply renewed is taken."""
    if login.epoch != attempt.login_epoch:
        return Transition(login, changed=False)
    assigned = assign(login, attempt, wanted.entries, context, asks=True)
    new = find_successor(login, attempt, wanted.entries, context)
    accepted = accept_entries(login, attempt, assigned.without_asked, context, new=new, asks=True)
    shared = None
    if wanted.refresh_token not in (None, attempt.spent):
        ends = wanted.refresh_token_expires_at
        shared = Tokens(login.broker, wanted.refresh_token, refresh_token_expires_at=ends)
    after = update_left_out(accepted.login, attempt, wanted.entries, context, shared=shared, served=assigned.served)
    account = after.by_epoch(attempt.epoch)
    tokens = None if account is None else _with_refresh_token(account.tokens, shared)
    if account is None or tokens is None or not is_newer(account, attempt, context.credential(tokens), context):
        return Transition(after, accepted.events, changed=after is not login)
    parked = _park(account, tokens, attempt, wanted, context)
    asked = MfaNeeded(*event_head(after, parked, context), wanted.pending_id, wanted.display_message)
    return Transition(with_account(after, account, parked), (*accepted.events, asked))


def find_question(login: Login, question_id: str | None = None, account_id: str | None = None) -> tuple[Account, str]:
    """The account that waits for a code, and the id of its question.

    Raises `CodeNotWanted` where no such question is open, and `AmbiguousAccount` where several are.
    """
    accounts = login.accounts if account_id is None else (login.account(account_id),)
    found = [
        (account, account.pending.id)
        for account in accounts
        if account.pending is not None
        and not account.pending.answered
        and (question_id is None or account.pending.id == question_id)
    ]
    if not found:
        raise CodeNotWanted
    if len(found) > 1:
        waiting = ids_of(account for account, _ in found)
        what = "Several accounts of this login wait for a code: say which, by pending_id."
        raise AmbiguousAccount(what, account_ids=waiting)
    return found[0]


def mark_answered(login: Login, account: Account) -> Login:
    """`login` with the account's question marked as answered, where it has one. Written before a code is sent."""
    if account.pending is None:
        return login
    return with_account(login, account, evolve(account, pending=evolve(account.pending, answered=True)))


def reopen_question(login: Login, attempt: Attempt) -> Login:
    """`login` with the question open again that `attempt` was to answer: the code was wrong, or was not sent.

    A newer question stays as it is: a code may have been sent for it since.
    """
    account = login.by_epoch(attempt.epoch)
    if account is None or account.pending is None or account.pending.id != attempt.with_code:
        return login
    return with_account(login, account, evolve(account, pending=evolve(account.pending, answered=False)))


def wait_after_code(account: Account, attempt: Attempt, context: Context) -> Account:
    """`account` after a code of unknown outcome: its question is answered, and it stays parked.

    A person waits for the next question, so the wait is the short one: the long one is for pairs that another process
    may hold. A late reply may still come, and is merged.
    """
    pending = account.pending
    if pending is not None and pending.id == attempt.with_code:
        pending = evolve(pending, answered=True)
    return evolve(
        account,
        pending=pending,
        failed_by=attempt.number,
        unknown_since=account.unknown_since or context.now,
        resend_not_before=max(account.resend_not_before or context.now, context.now + context.policy.resend_after),
    )


def sibling_asks_until(login: Login, account: Account, now: datetime, policy: Policy) -> datetime | None:
    """Until when `account` waits, so that a person is not asked for a second code of the login; None: it need not."""
    if not account.needs_code:
        return None
    asked = [other.pending.asked_at for other in login.accounts if other is not account and other.pending is not None]
    until = max(asked, default=now) + policy.mfa_wait
    return until if asked and now < until else None


def _with_refresh_token(tokens: Tokens, shared: Tokens | None) -> Tokens:
    """`tokens` with the new refresh token of a first reply.

    The access token of that reply is for the second request only, and stays in the continuation.
    """
    if shared is None or shared.refresh_token == tokens.refresh_token:
        return tokens
    ends = shared.refresh_token_expires_at
    return evolve(tokens, refresh_token=shared.refresh_token, refresh_token_expires_at=ends)


def _park(account: Account, tokens: Tokens, attempt: Attempt, wanted: CodeWanted, context: Context) -> Account:
    is_renewed = tokens is not account.tokens
    return evolve(
        clear_failures(account),
        tokens=tokens,
        state=AccountState.MFA_REQUIRED,
        due_at=None,
        parked_at=context.now,
        produced_by=attempt.number if is_renewed else account.produced_by,
        settled_by=max(account.settled_by, attempt.number),
        renewed_at=attempt.begun_at if is_renewed else account.renewed_at,
        known=fingerprints.remember_rotated(account.known, account.tokens, tokens, context.credential),
        needs_code=True,
        pending=Pending(wanted.pending_id, wanted.document, context.now, display_message=wanted.display_message),
        display_message=wanted.display_message,
    )

"""Replies that cannot be taken are kept as they came, because the only live token may be in them. Pure.

There are three kinds. A reply cannot be read. Or it names only accounts that the login does not have. Or it came late:
after the exchange that its connection served last. Its body goes into the row of the account that was asked for. A body
stays there until the person logs in anew, or until what was salvaged of it is added: no success and no other body drops
it. See docs/decisions/the-keeper.md.
"""

from collections.abc import Sequence

from attrs import evolve

from mesh_refresh.errors import ReplyFacts
from mesh_refresh.keeper.events import AccountUnreadable, Event
from mesh_refresh.keeper.rules.attempt import Attempt, Unreadable
from mesh_refresh.keeper.rules.fencing import find_affected, is_newer
from mesh_refresh.keeper.rules.transition import Context, Transition, event_head, with_account
from mesh_refresh.logins import Account, AccountState, Login, Reason
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.messages import Reply
from mesh_refresh.replies.identity import has_id
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed, UnreadableReply
from mesh_refresh.tokens import Tokens

ONLY_STRANGERS = "The reply names only accounts that this login does not have."
"""What `Account.display_message` says of a reply that is most likely another person's."""


def judge(login: Login, outcome: Refreshed | MfaRequired) -> Refreshed | MfaRequired | UnreadableReply:
    """`outcome`, or the reply to keep in its place where it names only accounts that `login` does not have.

    `login` is the one that the request was made of. The body is the reply's, with the tokens themselves as documents
    where it does not have them: a strategy may have made the outcome without a reply, or changed what that brought.
    """
    if not names_only_strangers(login, outcome.all_tokens):
        return outcome
    reply: Reply | None = outcome.reply
    facts = ReplyFacts() if reply is None else reply.facts
    return UnreadableReply(
        ONLY_STRANGERS,
        facts=evolve(facts, display_message=ONLY_STRANGERS),
        body=_body_of(outcome, b"" if reply is None else reply.body),
        may_hold_token=True,
        before=outcome.before,
    )


def names_only_strangers(login: Login, brought: Sequence[Tokens]) -> bool:
    """Whether each entry has an id, no account of `login` has any of these ids, and every account has one.

    A reply that names a known account too may bring new accounts. Where an entry or an account has no id, nothing
    speaks against the reply.
    """
    if not brought or not all(map(has_id, brought)) or not all(has_id(account.tokens) for account in login.accounts):
        return False
    account_ids = {account.tokens.account_id for account in login.accounts} - {None}
    mesh_ids = {account.tokens.mesh_account_id for account in login.accounts} - {None}
    return not any(tokens.account_id in account_ids or tokens.mesh_account_id in mesh_ids for tokens in brought)


def _body_of(outcome: Refreshed | MfaRequired, body: bytes) -> bytes:
    tokens = outcome.all_tokens
    found = [secret for entry in tokens for secret in entry.secrets]
    if isinstance(outcome, MfaRequired):
        tokens = (*tokens, evolve(outcome.tokens, access_token=outcome.access_token or outcome.tokens.access_token))
        found += tokens[-1].secrets
    sent = set(outcome.before.secrets)
    if all(secret in sent or secret.encode("utf-8", "surrogatepass") in body for secret in found):
        return body
    return MaskedBytes(b"\n".join(filter(None, [body, *(entry.to_json().encode() for entry in tokens)])))


def keep_unreadable(login: Login, attempt: Attempt, reply: Unreadable, context: Context) -> Transition:
    """`login` with the account parked, and the body in its row.

    Accounts that the reply may have renewed too are parked with it: what they have could end what is inside. A late
    reply may park less: see `_keep_late`.
    """
    if login.epoch != attempt.login_epoch:
        return Transition(login, changed=False)
    if reply.late:
        return _keep_late(login, attempt, reply, context)
    events: list[Event] = []
    for account in find_affected(login, attempt, context):
        if is_newer(account, attempt, context.credential(account.tokens), context):
            parked = _park(account, attempt, reply, context)
            parked = evolve(parked, settled_by=max(account.settled_by, attempt.number))
            login = with_account(login, account, parked)
            events.append(AccountUnreadable(*event_head(login, parked, context)))
    return Transition(login, tuple(events), changed=bool(events))


def append_body(old: bytes | None, new: bytes) -> bytes:
    """Both bodies, one line apart; or the one that holds the other."""
    if not old or old in new:
        return new
    return old if new in old else MaskedBytes(old + b"\n" + new)


def _keep_late(login: Login, attempt: Attempt, reply: Unreadable, context: Context) -> Transition:
    """The same for bytes that came after the exchange of `attempt`, whether or not its own outcome is written.

    - A newer attempt has succeeded: the account has the newer pair, and nothing shows that it is dead. The body is kept
      and told, and the account goes on.
    - This attempt or a newer one has brought a question: it stays open. A person is at work on it, and the continuation
      may hold a live token too.
    - The question is older than the attempt: it is closed. Its tokens went out with the code, and a second code would
      send them again.

    The attempt's own outcome is not known here, so nothing is settled.
    """
    asked = login.by_epoch(attempt.epoch)
    if asked is None or append_body(asked.body, reply.body) == asked.body:
        return Transition(login, changed=False)
    events: list[Event] = []
    for account in find_affected(login, attempt, context):
        kept = account
        if not _has_asked_since(account, attempt) and not _has_succeeded_since(account, attempt):
            kept = _park(account, attempt, reply, context)
        elif account is asked:
            kept = evolve(account, body=append_body(account.body, reply.body))
        if kept is not account:
            login = with_account(login, account, kept)
            events.append(AccountUnreadable(*event_head(login, kept, context)))
    return Transition(login, tuple(events))


def _has_asked_since(account: Account, attempt: Attempt) -> bool:
    """Whether the account waits for a code to a question that came by the attempt itself or by a newer one."""
    return account.state is AccountState.MFA_REQUIRED and account.settled_by >= attempt.number


def _has_succeeded_since(account: Account, attempt: Attempt) -> bool:
    """Whether what the account has came by a newer attempt; a broker that does not rotate keeps the old number."""
    return account.produced_by > attempt.number or (account.settled_by > attempt.number and not account.parked)


def _park(account: Account, attempt: Attempt, reply: Unreadable, context: Context) -> Account:
    is_asked = account.epoch == attempt.epoch
    return evolve(
        account,
        state=AccountState.UNREADABLE,
        due_at=None,
        parked_at=context.now,
        reason=Reason.UNREADABLE,
        display_message=reply.display_message,
        body=append_body(account.body, reply.body) if is_asked else account.body,
        unknown_since=account.unknown_since or context.now,
        last_error="UnreadableReply",
        pending=None,
    )

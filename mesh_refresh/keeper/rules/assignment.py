"""Which account of a login each entry of a reply goes to, and what becomes of accounts whose entry is not known. Pure.

`mesh_refresh.replies.identity` has the rule. An entry that stays unclear goes to an account without an id, or joins as
one: a login has one set of these, which each such reply renews. An account with an id that was left, and that may be of
any of these entries, is parked: its own token may be spent, and no entry may be given to the wrong account. See
docs/decisions/one-row-a-login.md.
"""

from attrs import evolve, frozen

from mesh_refresh.keeper.events import Event, ReconnectRequired
from mesh_refresh.keeper.rules.attempt import Attempt, ReplyEntry
from mesh_refresh.keeper.rules.fencing import concerns
from mesh_refresh.keeper.rules.transition import Context, Transition, clear_failures, event_head, with_account
from mesh_refresh.logins import AccountState, Login, Reason
from mesh_refresh.replies.identity import has_id, owners
from mesh_refresh.replies.saving import for_any_account

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

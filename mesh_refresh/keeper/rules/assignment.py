"""Which account of a login each entry of a reply goes to, and what becomes of accounts whose entry is not known. Pure.

`mesh_refresh.replies.identity` has the rule. An entry that stays unclear goes to an account without an id, or joins as
one: a login has one set of these, which each such reply renews. An account with an id that was left, and that may be of
any of these entries, is parked: its own token may be spent, and no entry may be given to the wrong account.
"""

from collections.abc import Sequence

from attrs import evolve, frozen

from mesh_refresh.keeper import events
from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.rules.attempt import Attempt, ReplyEntry
from mesh_refresh.keeper.rules.fencing import Context, Transition, cleared, counts, replaced, told_of
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
        return evolve(self, entries=tuple((entry, place) for entry, place in self.entries if not entry.asked))


def assign(
    login: Login,
    attempt: Attempt,
    entries: tuple[ReplyEntry, ...],
    now: Context,
    *,
    shared: int | None = None,
    asks: bool = False,
) -> Assigned:
    """Every entry with its account in `login`. `shared`: that entry serves every account without one of its own.

    `asks`: the reply asks for a code, so the account asked for is given no entry that does not name it.
    """
    accounts = login.accounts
    place_asked = next((place for place, it in enumerate(accounts) if it.epoch == attempt.epoch), None)
    if len(entries) == 1 and entries[0].asked and shared is None:  # which is the rule
        given = ((entries[0], place_asked),) if place_asked is not None else ()
        return Assigned(given, frozenset([attempt.epoch]), frozenset())
    eligible = [place for place, it in enumerate(accounts) if counts(it, attempt, now)]
    known = {index: place_asked for index, it in enumerate(entries) if it.asked and place_asked is not None}
    found = owners([it.tokens for it in entries], [it.tokens for it in accounts], given=known, eligible=eligible)
    places: list[int | None] = list(found.of)
    left = [place for place in eligible if place not in places]
    nobodys = [index for index in found.unclear if index != shared and not entries[index].asked]
    unnamed = [place for place in left if not has_id(accounts[place].tokens) and not (asks and place == place_asked)]
    if len(nobodys) < len(unnamed):
        unnamed.sort(key=lambda place: place != place_asked)  # its token was spent: it is renewed first
    for index, place in zip(nobodys, unnamed, strict=False):
        places[index] = place
    assigned = [
        (entry, place) for entry, place in zip(entries, places, strict=True) if place is not None or not entry.asked
    ]
    if shared is not None:
        assigned += _for_all(entries[shared], [place for place in left if place not in places])
    served = frozenset(accounts[place].epoch for _, place in assigned if place is not None)
    unclear = {accounts[place].epoch for place in left if has_id(accounts[place].tokens)} if nobodys else set()
    return Assigned(tuple(assigned), served, frozenset(unclear - served))


def _for_all(entry: ReplyEntry, places: Sequence[int]) -> list[tuple[ReplyEntry, int]]:
    any_account = evolve(entry, tokens=for_any_account(entry.tokens), asked=False)
    return [(any_account, place) for place in places]


def park_unclear(login: Login, before: Login, attempt: Attempt, assigned: Assigned, now: Context) -> Transition:
    """`login` with the accounts parked that a reply to `attempt` may have renewed under no name.

    `before` is the login as it was before the reply: what is newer there stays.
    """
    told: list[Event] = []
    for old in before.accounts:
        account = login.by_epoch(old.epoch)
        if account is None or old.epoch not in assigned.unclear or old.state in _STAY:
            continue
        if now.credential(old.tokens) is None or attempt.number <= max(old.produced_by, old.settled_by):
            continue
        parked = evolve(
            cleared(account),
            state=AccountState.RECONNECT_REQUIRED,
            due_at=None,
            parked_at=now.at,
            reason=Reason.AMBIGUOUS,
            last_error="AccountNotInReply",
            settled_by=max(account.settled_by, attempt.number),
        )
        login = replaced(login, account, parked)
        told.append(events.ReconnectRequired(*told_of(login, parked, now), Reason.AMBIGUOUS, None))
    return Transition(login, tuple(told))

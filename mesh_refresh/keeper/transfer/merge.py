"""How a login goes from one store to another while keepers run on both. Pure.

It is written to the new store as arriving, marked as moved in the old one, and then released in the new one. At each of
these moments it is exchanged in one of them at the most. The numbers of attempts are each store's own: those of the old
one become numbers that are lower than any of the new one's, in the same order. Where the new store has exchanged the
login before, they become higher than those: a late reply to one of them is older than what comes back.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve

from mesh_refresh.keeper.rules.add import has_had, with_tokens
from mesh_refresh.keeper.rules.transition import Context, with_account
from mesh_refresh.keeper.rules.unreadable import append_body
from mesh_refresh.logins import Account, Login, Moving, Way, fingerprints
from mesh_refresh.replies.identity import contradicts, one_lacks_id, same_account
from mesh_refresh.replies.lineage import Credential, refresh_token_of


def arriving(source: Login, target: Login | None, epoch: str, credential: Credential = refresh_token_of) -> Login:
    """What is written to the new store, which has `target`; `epoch` is the row's there where it has none.

    A target that has had attempts has had `room` for those of the source since.
    """
    if target is None:
        accounts = _rebased(source.accounts, source.attempt)
        return evolve(source, accounts=accounts, moving=_on_its_way(accounts), epoch=epoch, revision=0, attempt=0)
    accounts = _renumbered(source, target) if target.attempt else _rebased(source.accounts, source.attempt)
    kept, latest = _sorted_out(accounts, _own(source, target), credential)
    times = (source.round_at, source.succeeded_at)
    return evolve(
        target,
        accounts=(*kept, *latest),
        moving=_on_its_way(kept),
        round_at=times[0],
        succeeded_at=times[1],
    )


def _own(source: Login, target: Login) -> list[Account]:
    """What was added there since a copy has begun: it is the person's latest login.

    What a copy has written there is the source's, or was: the person may have logged in anew at the source since. Of a
    login that comes back, all that was added meanwhile is in the source already.
    """
    moving = target.moving
    if moving is None or moving.way is Way.MOVED:
        return []
    copied = dict(moving.seen)
    return [it for it in target.accounts if it.epoch not in copied and source.by_epoch(it.epoch) is None]


def _on_its_way(copied: Iterable[Account]) -> Moving:
    return Moving(Way.ARRIVING, seen=tuple((it.epoch, it.settled_by) for it in copied))


def room(source: Login) -> int:
    """How many attempts in which nothing was sent a store must have had, to have numbers for those of `source`."""
    return len(_numbers(source.accounts))


def joined(source: Login, target: Login, credential: Credential = refresh_token_of) -> Login:
    """`target`, a login that the new store got by itself, with the accounts that only the old one has.

    Or it was moved there already, while who comes now was held up for longer than the lease.
    """
    new, own = _sorted_out(_rebased(source.accounts, source.attempt), target.accounts, credential)
    return evolve(target, accounts=(*own, *new))


def marked(source: Login, to: str) -> Login:
    """What is written to the old store: it is in the store with the id `to`, and so far all that is known of it."""
    seen = tuple((account.epoch, account.settled_by) for account in source.accounts)
    return evolve(source, moving=Moving(Way.MOVED, source.revision + 1, seen, to))


def released(target: Login) -> Login:
    """It is at home in the new store from here on."""
    return evolve(target, moving=None)


def has_more(source: Login) -> bool:
    """Whether anything was written of a moved login since it was taken over."""
    return source.moving is not None and source.revision > source.moving.revision


def taken_over(source: Login, target: Login, context: Context) -> Login:
    """`target` with what came for the moved login since: late replies, and what was added in the old store."""
    seen = dict(source.moving.seen) if source.moving is not None else {}
    for account in source.accounts:
        there = target.by_epoch(account.epoch)
        if there is not None:
            body = there.body if account.body is None else append_body(there.body, account.body)
            news = seen.get(account.epoch) != account.settled_by or body != there.body
            is_later = news and _is_later(account, there, context.credential)
            taken = _rebased((account,), source.attempt)[0] if is_later else there
            target = with_account(target, there, evolve(taken, body=body))
        elif account.epoch not in seen:
            target, _ = with_tokens(target, (account.tokens,), context)
    return target


def _is_later(account: Account, there: Account, credential: Credential) -> bool:
    """Whether what came for it in the old store is later than what the new one has."""
    nothing_came = there.settled_by <= 0  # of any exchange there
    return nothing_came or _was_spent(there, account, credential)


def _was_spent(one: Account, by: Account, credential: Credential) -> bool:
    """Whether the credential of `one` is one that `by` had, and has spent."""
    token = credential(one.tokens)
    return token is not None and fingerprints.was_rotated(by.known, fingerprints.fingerprint(token))


def _sorted_out(
    old: Sequence[Account], own: Sequence[Account], credential: Credential
) -> tuple[list[Account], list[Account]]:
    """Of accounts that are in both stores, what stays: the new store's own, but where the old one has spent its token.

    As for tokens that are added, the only account of a login is meant where one of both has no id.
    """
    lone = len(old) == len(own) == 1

    def is_same(one: Account, other: Account) -> bool:
        return _is_same(one, other, credential, lone=lone)

    latest = [it for it in own if not any(is_same(it, other) and _was_spent(it, other, credential) for other in old)]
    return [it for it in old if not any(is_same(it, other) for other in latest)], latest


def _is_same(one: Account, other: Account, credential: Credential, *, lone: bool) -> bool:
    if one.epoch == other.epoch:
        return True
    if contradicts(one.tokens, other.tokens):
        return False  # siblings may have one token
    if lone and one_lacks_id(one.tokens, other.tokens):
        return True
    if same_account(one.tokens, other.tokens):
        return True
    marks = fingerprints.identity(one.tokens, credential), fingerprints.identity(other.tokens, credential)
    return has_had(one, marks[1], credential) or has_had(other, marks[0], credential)


def _rebased(accounts: Iterable[Account], last: int) -> tuple[Account, ...]:
    """Before every attempt of the new store, where `last` was the last one of the old; what was added stays so."""
    found = tuple(accounts)
    return _with_numbers(found, {number: number - last - 1 for number in _numbers(found)})


def _renumbered(source: Login, target: Login) -> tuple[Account, ...]:
    """The last ones of the attempts that the target has had."""
    numbers = _numbers(source.accounts)
    first = target.attempt - len(numbers) + 1
    return _with_numbers(source.accounts, {number: first + place for place, number in enumerate(numbers)})


def _numbers(accounts: Iterable[Account]) -> list[int]:
    """Of all attempts that left a trace, in order."""
    return sorted({n for it in accounts for n in (it.produced_by, it.settled_by, it.failed_by) if n})


def _with_numbers(accounts: Iterable[Account], new: Mapping[int, int]) -> tuple[Account, ...]:
    return tuple(
        evolve(
            it,
            produced_by=new.get(it.produced_by, 0),
            settled_by=new.get(it.settled_by, 0),
            failed_by=new.get(it.failed_by, 0),
        )
        for it in accounts
    )

"""What is written of a login that moves from one store to another while keepers run on both. Pure.

Order of writes: the login is inserted into the new store as arriving, marked as moved in the old one, then released in
the new one. Keepers exchange neither an arriving nor a moved login, so at each moment one store at most exchanges it.

Each store numbers its own attempts. The old store's numbers become lower than all of the new store's, in the same
order. If the new store has exchanged the login before, they become higher: a late reply to one of its attempts is older
than the login that comes back.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve

from mesh_refresh.keeper.rules.add import has_had, with_tokens
from mesh_refresh.keeper.rules.transition import Context, with_account
from mesh_refresh.keeper.rules.unreadable import append_body
from mesh_refresh.logins import Account, Login, Moving, Way, fingerprints
from mesh_refresh.replies.identity import contradicts, one_lacks_id, same_account
from mesh_refresh.replies.lineage import Credential, refresh_token_of

_NUMBERS = ("produced_by", "settled_by", "failed_by")
"""The fields of an account that are numbers of attempts."""


def arriving(
    source: Login, target: Login | None, epoch: str, credential: Credential = refresh_token_of, *, other: str
) -> Login:
    """The login to write to the new store, which has `target` now, or nothing. It comes from the store `other`.

    `epoch` is for a new row.

    If `target` has had attempts, its store has spent as many attempts as `room` says, so there are free numbers.
    """
    if target is None:
        accounts = _rebased(source.accounts, source.attempt)
        return evolve(
            source, accounts=accounts, moving=_on_its_way(accounts, other), epoch=epoch, revision=0, attempt=0
        )
    accounts = _renumbered(source, target) if target.attempt else _rebased(source.accounts, source.attempt)
    kept, latest = _sorted_out(accounts, _own(source, target), credential)
    times = (source.round_at, source.succeeded_at)
    return evolve(
        target,
        accounts=(*kept, *latest),
        moving=_on_its_way(kept, other),
        round_at=times[0],
        succeeded_at=times[1],
        notice_sequence=max(source.notice_sequence, target.notice_sequence),
    )


def _own(source: Login, target: Login) -> list[Account]:
    """Accounts that were added at the new store since a copy began: the person's latest login.

    Accounts that a copy has written there are the source's, or were: the person may have logged in anew at the source
    since. Of a login that comes back, the source has everything already.
    """
    moving = target.moving
    if moving is None or moving.way is Way.MOVED:
        return []
    copied = dict(moving.seen)
    return [it for it in target.accounts if it.epoch not in copied and source.by_epoch(it.epoch) is None]


def _on_its_way(copied: Iterable[Account], other: str) -> Moving:
    return Moving(Way.ARRIVING, seen=tuple((it.epoch, it.settled_by) for it in copied), other=other)


def room(source: Login) -> int:
    """How many empty attempts give the target's store enough free numbers for the attempts of `source`."""
    return len(_numbers(source.accounts))


def joined(source: Login, target: Login, credential: Credential = refresh_token_of) -> Login:
    """`target`, which is at home in the new store, with the accounts that only the old store has.

    The person logged in at both stores; or another copy moved the login after this one's lease had ended.
    """
    new, own = _sorted_out(_rebased(source.accounts, source.attempt), target.accounts, credential)
    sequence = max(source.notice_sequence, target.notice_sequence)
    return evolve(target, accounts=(*own, *new), notice_sequence=sequence)


def marked(source: Login, to: str) -> Login:
    """The login to write to the old store: moved to the store with the id `to`, which has all that is known so far."""
    seen = tuple((account.epoch, account.settled_by) for account in source.accounts)
    return evolve(source, moving=Moving(Way.MOVED, source.revision + 1, seen, to))


def released(target: Login) -> Login:
    """`target`, at home in the new store: keepers exchange it there."""
    return evolve(target, moving=None)


def has_more(source: Login) -> bool:
    """Whether the old store's row was written since the move, by a late reply or an `add`."""
    return source.moving is not None and source.revision > source.moving.revision


def taken_over(source: Login, target: Login, context: Context) -> Login:
    """`target` with what the old store got for the moved login since: late replies and added tokens."""
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
    """Whether the old store's tokens of the account are later than the new store's."""
    nothing_came = there.settled_by <= 0  # no exchange of the new store has written it
    return nothing_came or _was_spent(there, account, credential)


def _was_spent(one: Account, by: Account, credential: Credential) -> bool:
    """Whether the credential of `one` is one that `by` had, and has spent."""
    token = credential(one.tokens)
    return token is not None and fingerprints.was_rotated(by.known, fingerprints.fingerprint(token))


def _sorted_out(
    old: Sequence[Account], own: Sequence[Account], credential: Credential
) -> tuple[list[Account], list[Account]]:
    """The old and the new store's accounts, each account once.

    Of an account that is in both, the new store's stays, unless the old store has spent its token. As for added tokens,
    the only account of a login is meant where one of both has no id.
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
    return sorted({n for it in accounts for name in _NUMBERS if (n := getattr(it, name))})


def _with_numbers(accounts: Iterable[Account], new: Mapping[int, int]) -> tuple[Account, ...]:
    def numbers(account: Account) -> dict[str, Any]:
        return {name: new.get(getattr(account, name), 0) for name in _NUMBERS}

    return tuple(evolve(account, **numbers(account)) for account in accounts)

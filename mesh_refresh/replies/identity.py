"""Which account each entry of a reply is of: one rule for the client, the keeper and the CLI. Pure.

An entry is of the account that it names: by account id, and only where that finds no account, by Mesh's id. An entry
without a name is known by the tokens in it, or because one entry and one account are left. Any other entry stays
unclear: it is of the login, and is given to no account that has an id, because it could be of another one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from mesh_refresh.tokens import Tokens

SECRETS = ("refresh_token", "access_token", "token_id")
"""The fields of `Tokens` that an exchange may renew."""


class Named(Protocol):
    """A value that may name its account: `Tokens`, or a `BrokerAccount` of a reply."""

    @property
    def account_id(self) -> str | None:
        """The broker's id."""

    @property
    def mesh_account_id(self) -> str | None:
        """Mesh's."""


def same_account(one: Named, other: Named) -> bool:
    """Whether both name one account. Where both have an account id, Mesh's id does not count."""
    if one.account_id and other.account_id:
        return one.account_id == other.account_id
    return bool(one.mesh_account_id) and one.mesh_account_id == other.mesh_account_id


def whose(fresh: Named, known: Sequence[Named]) -> int | None:
    """The index of the one of `known` that is of the account of `fresh`, by its ids; None where there is none.

    By account id, and only where that finds none, by Mesh's id.
    """
    for index, tokens in enumerate(known):
        if fresh.account_id and tokens.account_id == fresh.account_id:
            return index
    return next((index for index, tokens in enumerate(known) if same_account(tokens, fresh)), None)


def contradicts(one: Named, other: Named) -> bool:
    """Whether both have an id of the same kind, and these differ. Then they are of different accounts."""
    if one.account_id and other.account_id:
        return one.account_id != other.account_id
    return bool(one.mesh_account_id and other.mesh_account_id and one.mesh_account_id != other.mesh_account_id)


def has_id(tokens: Named) -> bool:
    """Whether `tokens` name their account."""
    return bool(tokens.account_id or tokens.mesh_account_id)


def one_lacks_id(one: Named, other: Named) -> bool:
    """Whether ids cannot tell that both are of different accounts, because one of them has none.

    Each being the only account of its login, they are the same one.
    """
    return not (has_id(one) and has_id(other))


def is_same_pair(one: Tokens, other: Tokens) -> bool:
    """Whether both have the same tokens, to the byte."""
    return all(getattr(one, name) == getattr(other, name) for name in SECRETS)


def share_a_secret(one: Tokens, other: Tokens) -> bool:
    """Whether a token of both is the same."""
    return any(getattr(one, name) == getattr(other, name) is not None for name in SECRETS)


@frozen
class Owners:
    """Which account each entry is of."""

    of: tuple[int | None, ...]
    """For each entry the index of its account. None: it names a new account, or is unclear."""
    unclear: tuple[int, ...]
    """The indexes of the entries without a name that are of no account in particular."""


def owners(
    entries: Sequence[Tokens],
    accounts: Sequence[Tokens],
    *,
    given: Mapping[int, int] | None = None,
    eligible: Collection[int] | None = None,
) -> Owners:
    """Which of `accounts` each of `entries` is of.

    `accounts` have the tokens that were stored before the reply. `given` maps entries to accounts that are known
    already: the one that was asked for. `eligible` are the accounts that can be the last one left; None: all of them.
    """
    found: list[int | None] = [(given or {}).get(index) for index in range(len(entries))]
    for index, entry in enumerate(entries):
        if found[index] is None:
            found[index] = whose(entry, accounts)
    _find_by_token(entries, accounts, found)
    _find_the_last(entries, accounts, found, range(len(accounts)) if eligible is None else eligible)
    for index, entry in enumerate(entries):
        if found[index] is None and not has_id(entry):
            # A second copy of a pair that belongs to an account is no further account.
            copies = (place for other, place in zip(entries, found, strict=True) if is_same_pair(entry, other))
            found[index] = next((place for place in copies if place is not None), None)
    unclear = tuple(index for index, entry in enumerate(entries) if found[index] is None and not has_id(entry))
    return Owners(tuple(found), unclear)


def entry_of(account: Tokens, entries: Sequence[Tokens], *, may_be_last: bool) -> int | None:
    """The index of the one of `entries` that is of `account`; None where there is none.

    By its name, by its tokens or, where it `may_be_last`, because it is the only one left.
    """
    if (named := whose(account, entries)) is not None:
        return named
    found = owners(entries, [account], eligible=None if may_be_last else ()).of
    return found.index(0) if 0 in found else None


def _find_by_token(entries: Sequence[Tokens], accounts: Sequence[Tokens], found: list[int | None]) -> None:
    """Give an entry to the account whose stored token it repeats, where no other account or entry has that token."""
    repeats: dict[int, list[int]] = {}
    for index, entry in enumerate(entries):
        if found[index] is None:
            hits = [
                place
                for place, account in enumerate(accounts)
                if share_a_secret(entry, account) and not contradicts(entry, account)
            ]
            for place in hits:
                repeats.setdefault(place, []).append(index if len(hits) == 1 else -1)
    for place, indexes in repeats.items():
        if len(indexes) == 1 and indexes[0] >= 0:
            found[indexes[0]] = place


def _find_the_last(
    entries: Sequence[Tokens], accounts: Sequence[Tokens], found: list[int | None], eligible: Collection[int]
) -> None:
    """Give the entry to the account where exactly one of both is left, and their ids do not contradict."""
    left = [index for index in eligible if index not in found]
    if len(left) != 1:
        return
    fitting = [
        index
        for index, entry in enumerate(entries)
        if found[index] is None and not contradicts(entry, accounts[left[0]]) and not _is_of_the_login(entry, entries)
    ]
    if len(fitting) == 1:
        found[fitting[0]] = left[0]


def _is_of_the_login(entry: Tokens, entries: Sequence[Tokens]) -> bool:
    """Whether `entry`, one of several, has nothing but a refresh token: that is of the login, and of no one account."""
    return len(entries) > 1 and not has_id(entry) and entry.access_token is None and entry.token_id is None

"""Which fields of each entry a reply brought, and what these make of stored tokens. Pure.

`Refreshed.all_tokens` has complete tokens: fields that the reply left out of an entry were carried over. Only a field
that the reply itself brought may replace a stored one. A carried value may belong to another account, or be older than
the stored one.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from attrs import field, fields, frozen

from mesh_refresh.replies.identity import entry_of, has_id, one_lacks_id, same_account, share_a_secret
from mesh_refresh.replies.lineage import pass_on, refresh_token_of, successor
from mesh_refresh.tokens import Tokens, with_fields

ACCESS = frozenset({"access_token", "token_id"})
"""The fields that may have the auth token for the next call to Mesh."""
FIELDS = frozenset(each.name for each in fields(Tokens)) - {"broker", "ref", "obtained_at"}
"""The fields that a reply or a strategy can bring."""

_OF_THE_ACCOUNT = ("trade_token", "metadata", "account_id", "mesh_account_id", "account_name", "broker_name")
"""The fields that no token of the three comes with."""


@frozen
class Brought:
    """Which fields of one entry of `all_tokens` the reply itself had."""

    fields: frozenset[str]
    """Names of fields of `Tokens`."""
    tokens: Tokens | None = field(default=None, repr=False)
    """The entry as it was read from the reply. A field that a strategy has changed since counts as brought. None: the
    strategy made the entry itself, and only `fields` is known."""


def brought_fields(
    before: Tokens, all_tokens: Sequence[Tokens], asked: int | None, read: Sequence[Brought]
) -> tuple[frozenset[str], ...]:
    """For each of `all_tokens`, the names of the fields that the reply or a strategy brought.

    `read` says which fields the reply had. A strategy may have changed, dropped, added or reordered entries since, so
    each of `all_tokens` is compared with the reading that it was made of. An entry without a reading is compared with
    `before`.
    """
    if len(read) == len(all_tokens) and all(
        made.tokens is tokens for made, tokens in zip(read, all_tokens, strict=True)
    ):
        return tuple([reading.fields for reading in read])  # as `merging` made them, which is the common case
    readings = _readings(all_tokens, read)
    return tuple(
        [
            _news(before, tokens, is_asked=index == asked) if found is None else _changed(before, tokens, found)
            for index, (tokens, found) in enumerate(zip(all_tokens, readings, strict=True))
        ]
    )


def _readings(all_tokens: Sequence[Tokens], read: Sequence[Brought]) -> list[Brought | None]:
    """The reading that each entry was made of: the one that equals it, else the best that is left."""
    found: list[Brought | None] = [None] * len(all_tokens)
    left = dict(enumerate(read))
    for sign in _SIGNS:
        for index, tokens in enumerate(all_tokens):
            if found[index] is None:
                place = next((at for at, reading in left.items() if sign(tokens, reading.tokens, index == at)), None)
                found[index] = None if place is None else left.pop(place)
    return found


_Sign = Callable[[Tokens, Tokens | None, bool], bool]
_SIGNS: tuple[_Sign, ...] = (
    lambda _, read, in_place: read is None and in_place,
    lambda tokens, read, _: tokens == read,
    lambda tokens, read, _: read is not None and same_account(tokens, read),
    lambda tokens, read, _: read is not None and share_a_secret(tokens, read),
    lambda _, __, in_place: in_place,
)


def _changed(before: Tokens, tokens: Tokens, read: Brought) -> frozenset[str]:
    """The fields that the reply had, and those that a strategy has changed.

    A refresh token of the whole login, which the entry had not, does not become the entry's own by such a change.
    """
    names = read.fields
    if read.tokens is not None:
        changed = changed_fields(read.tokens, tokens)
        if "refresh_token" not in names and read.tokens.refresh_token not in (None, before.refresh_token):
            changed -= {"refresh_token"}
        names |= changed
    return frozenset(name for name in names if getattr(tokens, name) is not None)


def _news(before: Tokens, tokens: Tokens, *, is_asked: bool) -> frozenset[str]:
    """The fields of an entry that a strategy made by itself: those that differ from what was sent."""
    names = changed_fields(before, tokens)
    if is_asked and "expires_at" in names:
        names |= {name for name in ACCESS if getattr(tokens, name) is not None}  # the same token, for longer
    return names


def changed_fields(old: Tokens, new: Tokens) -> frozenset[str]:
    """The names of the fields of `new` with another value than in `old`. A field that is None in `new` is left out."""
    return frozenset(name for name in FIELDS if getattr(new, name) not in (None, getattr(old, name)))


def adopt(stored: Tokens, fresh: Tokens, brought: frozenset[str], *, own: bool) -> Tokens:
    """`stored` with the fields of `fresh` that were `brought`. A lifetime stays with its token. Your `ref` stays.

    `own`: `fresh` is of the account asked for, so the fields carried over are of this account too. `stored` takes those
    that it lacks. In any other entry, no token carried over is of the entry's account.
    """
    access, token_id, expires_at = _access(stored, fresh, brought, own=own)
    refresh, refresh_ends = _refresh(stored, fresh, brought, own=own)
    return with_fields(
        stored,
        refresh_token=refresh,
        refresh_token_expires_at=refresh_ends,
        access_token=access,
        token_id=token_id,
        expires_at=expires_at,
        **{name: _newest(name, stored, fresh, brought) for name in _OF_THE_ACCOUNT},
        ref=fresh.ref if stored.ref is None else stored.ref,
        obtained_at=fresh.obtained_at or stored.obtained_at,
        not_before=fresh.not_before,
    )


def _newest(name: str, stored: Tokens, fresh: Tokens, brought: frozenset[str]) -> Any:
    """A field that belongs to no token of the account: the stored value, unless there is none or it was brought."""
    old, new = getattr(stored, name), getattr(fresh, name)
    return new if new is not None and (old is None or name in brought) else old


def _access(
    stored: Tokens, fresh: Tokens, brought: frozenset[str], *, own: bool
) -> tuple[str | None, str | None, datetime | None]:
    """The access token and token id to store, and their end."""
    if not brought & ACCESS and (stored.auth_token is not None or not own):
        moved = "expires_at" in brought and fresh.auth_token == stored.auth_token
        return stored.access_token, stored.token_id, fresh.expires_at if moved else stored.expires_at
    ends = fresh.expires_at
    if ends is None and fresh.auth_token == stored.auth_token:
        ends = stored.expires_at
    if "token_id" in brought and "access_token" not in brought:
        # A new token id takes the place of the old access token, which would be taken for the newer one.
        return stored.access_token if fresh.token_id == stored.token_id else None, fresh.token_id, ends
    return fresh.access_token, fresh.token_id if "token_id" in brought else stored.token_id or fresh.token_id, ends


def _refresh(
    stored: Tokens, fresh: Tokens, brought: frozenset[str], *, own: bool
) -> tuple[str | None, datetime | None]:
    """The refresh token to store, and its end."""
    if "refresh_token" not in brought and (stored.refresh_token is not None or not own):
        moved = "refresh_token_expires_at" in brought and fresh.refresh_token == stored.refresh_token
        return stored.refresh_token, fresh.refresh_token_expires_at if moved else stored.refresh_token_expires_at
    ends = fresh.refresh_token_expires_at
    if ends is None and fresh.refresh_token == stored.refresh_token:
        ends = stored.refresh_token_expires_at
    return fresh.refresh_token, ends


def onto(
    stored: Tokens,
    before: Tokens,
    all_tokens: Sequence[Tokens],
    asked: int | None,
    brought: Sequence[frozenset[str]],
    *,
    shared: int | None = None,
) -> Tokens:
    """What to store for the account of `stored` after an exchange that sent `before`, of any account of the login.

    The other arguments are those of the outcome, see `Refreshed`.
    """
    index = _entry_of(stored, before, all_tokens, asked, shared)
    new = successor(all_tokens, asked, refresh_token_of)
    stored = pass_on(stored, before.refresh_token, new, refresh_token_of)
    if index is None or all_tokens[index] is stored:
        return stored
    fresh = all_tokens[index]
    if index == shared and has_id(stored) and not same_account(stored, fresh):
        return adopt(stored, for_any_account(fresh), brought[index], own=False)
    return adopt(stored, fresh, brought[index], own=index == asked)


def for_any_account(tokens: Tokens) -> Tokens:
    """A pair that serves every account of the login, without the names of the one account that it was read for."""
    return with_fields(tokens, account_id=None, mesh_account_id=None, account_name=None, ref=None)


def _entry_of(
    stored: Tokens, before: Tokens, all_tokens: Sequence[Tokens], asked: int | None, shared: int | None
) -> int | None:
    """The index of the entry for the account of `stored`; None where the reply left that out."""
    for index, tokens in enumerate(all_tokens):
        if tokens is stored:
            return index
    if (found := entry_of(stored, all_tokens, may_be_last=False)) is not None:
        return found
    may_be_asked = len(all_tokens) == 1 or not has_id(before)
    if may_be_asked and asked is not None and asked < len(all_tokens) and one_lacks_id(stored, all_tokens[asked]):
        return asked
    if shared is not None or has_id(stored):
        return shared
    # Several entries without ids cannot be told apart, so the first one is taken.
    return next((index for index, tokens in enumerate(all_tokens) if not has_id(tokens)), None)

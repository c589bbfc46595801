"""What to store for an account after an outcome. Pure."""

from collections.abc import Sequence

from attrs import evolve

from mesh_refresh.replies.brought import adopt
from mesh_refresh.replies.identity import entry_of, has_id, one_lacks_id, same_account
from mesh_refresh.replies.lineage import pass_on, refresh_token_of, successor
from mesh_refresh.tokens import Tokens


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
    return evolve(tokens, account_id=None, mesh_account_id=None, ref=None)


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

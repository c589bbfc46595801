"""What to keep for an account after an outcome. Pure."""

from collections.abc import Sequence

from attrs import evolve

from mesh_refresh.replies.brought import adopt
from mesh_refresh.replies.identity import contradicts, has_id, whose
from mesh_refresh.tokens import Tokens


def onto(
    stored: Tokens,
    before: Tokens,
    all_tokens: Sequence[Tokens],
    asked: int | None,
    brought: Sequence[frozenset[str]],
) -> Tokens:
    """`stored`, which are tokens of one account of the login, after an exchange that sent `before`."""
    index = _entry_of(stored, before, all_tokens, asked)
    stored = pass_on(stored, before.refresh_token, successor(all_tokens, asked))
    if index is None or all_tokens[index] is stored:
        return stored
    return adopt(stored, all_tokens[index], brought[index], own=index == asked)


def pass_on(stored: Tokens, spent: str | None, new: Tokens | None) -> Tokens:
    """`stored` with the refresh token of `new`, where its own is the `spent` one."""
    if new is None or spent is None or stored.refresh_token != spent:
        return stored
    ends = new.refresh_token_expires_at
    return evolve(stored, refresh_token=new.refresh_token, refresh_token_expires_at=ends)


def successor(all_tokens: Sequence[Tokens], asked: int | None) -> Tokens | None:
    """Whose refresh token came after the spent one: that of the account asked for, or the only one there is."""
    own = next((tokens for index, tokens in enumerate(all_tokens) if index == asked), None)
    if own is not None and own.refresh_token is not None:
        return own
    found = {tokens.refresh_token: tokens for tokens in all_tokens if tokens.refresh_token is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _entry_of(stored: Tokens, before: Tokens, all_tokens: Sequence[Tokens], asked: int | None) -> int | None:
    """Which entry is of the account of `stored`; None where the reply left it out."""
    for index, tokens in enumerate(all_tokens):
        if tokens is stored:
            return index
    named = whose(stored, all_tokens)
    if named is not None:
        return named
    if asked is not None and asked < len(all_tokens) and _may_be_asked(stored, before, all_tokens, asked):
        return asked
    if has_id(stored):
        return None
    # Several entries without ids cannot be told apart, so the first one is taken.
    return next((index for index, tokens in enumerate(all_tokens) if not has_id(tokens)), None)


def _may_be_asked(stored: Tokens, before: Tokens, all_tokens: Sequence[Tokens], asked: int) -> bool:
    """Whether `stored`, which no id finds, is of the account asked for: one of both has no id, and nothing speaks
    against it.
    """
    own = all_tokens[asked]
    if contradicts(stored, own) or (has_id(stored) and has_id(own)):
        return False
    return len(all_tokens) == 1 or not has_id(before)

"""What to keep for an account after an outcome. Pure."""

from collections.abc import Sequence

from mesh_refresh.replies.brought import adopt
from mesh_refresh.replies.identity import contradicts, has_id, whose
from mesh_refresh.replies.lineage import pass_on, refresh_token_of, successor
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
    new = successor(all_tokens, asked, refresh_token_of)
    stored = pass_on(stored, before.refresh_token, new, refresh_token_of)
    if index is None or all_tokens[index] is stored:
        return stored
    return adopt(stored, all_tokens[index], brought[index], own=index == asked)


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

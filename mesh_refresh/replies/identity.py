"""Whether tokens are of the same account, by the ids that are known. Client, keeper and CLI share these rules."""

from collections.abc import Sequence

from mesh_refresh.tokens import Tokens


def same_account(one: Tokens, other: Tokens) -> bool:
    """Whether both are of one account, by their ids; an account id says more than Mesh's."""
    if one.account_id and other.account_id:
        return one.account_id == other.account_id
    return bool(one.mesh_account_id) and one.mesh_account_id == other.mesh_account_id


def whose(fresh: Tokens, known: Sequence[Tokens]) -> int | None:
    """Which of `known` is of the account of `fresh`: by account id, and only where that finds none by Mesh's."""
    for index, tokens in enumerate(known):
        if fresh.account_id and tokens.account_id == fresh.account_id:
            return index
    return next((index for index, tokens in enumerate(known) if same_account(tokens, fresh)), None)


def contradicts(one: Tokens, other: Tokens) -> bool:
    """Whether both are known by an id of the same kind, and these differ."""
    if one.account_id and other.account_id:
        return one.account_id != other.account_id
    return bool(one.mesh_account_id and other.mesh_account_id and one.mesh_account_id != other.mesh_account_id)


def has_id(tokens: Tokens) -> bool:
    """Whether it is known which account of its login they are of."""
    return bool(tokens.account_id or tokens.mesh_account_id)

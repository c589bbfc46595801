"""Two sets of tokens of one account become one: absent is not erased, and a lifetime stays with its token."""

from collections.abc import Sequence

from attrs import evolve

from mesh_refresh.tokens import Tokens


def adopted(old: Tokens, fresh: Tokens) -> Tokens:
    """`fresh`, with what only `old` has; a lifetime stays with its token."""
    renewed_access = fresh.access_token is not None or fresh.token_id is not None
    return evolve(
        fresh,
        refresh_token=fresh.refresh_token or old.refresh_token,
        refresh_token_expires_at=fresh.refresh_token_expires_at
        if fresh.refresh_token
        else old.refresh_token_expires_at,
        access_token=fresh.access_token if renewed_access else old.access_token,
        token_id=fresh.token_id if renewed_access else old.token_id,
        expires_at=fresh.expires_at if renewed_access else old.expires_at,
        trade_token=fresh.trade_token or old.trade_token,
        metadata=old.metadata if fresh.metadata is None else fresh.metadata,
        account_id=fresh.account_id or old.account_id,
        mesh_account_id=fresh.mesh_account_id or old.mesh_account_id,
        not_before=fresh.not_before,
    )


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

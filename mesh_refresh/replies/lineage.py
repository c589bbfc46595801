"""Which tokens came after which, by the credential: what an exchange of them spends, as their strategy says. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from mesh_refresh.tokens import Tokens, with_fields

Credential = Callable[[Tokens], str | None]
"""What an exchange of tokens spends; None: they cannot be exchanged. See `Strategy.credential`."""


def refresh_token_of(tokens: Tokens) -> str | None:
    """The credential at most brokers."""
    return tokens.refresh_token


def successor(all_tokens: Sequence[Tokens], asked: int | None, credential: Credential) -> Tokens | None:
    """The tokens with the credential that came after the spent one; None where the reply does not tell.

    Those of the account asked for. Where it has none, those of the only credential in the reply.
    """
    own = next((tokens for index, tokens in enumerate(all_tokens) if index == asked), None)
    if own is not None and credential(own) is not None:
        return own
    found = {token: tokens for tokens in all_tokens if (token := credential(tokens)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def pass_on(stored: Tokens, spent: str | None, new: Tokens | None, credential: Credential) -> Tokens:
    """`stored` with the credential of `new`, where it has the `spent` one. Its other fields stay."""
    if new is None or spent is None or credential(stored) != spent:
        return stored
    candidates: tuple[dict[str, Any], ...] = (
        {"refresh_token": new.refresh_token, "refresh_token_expires_at": new.refresh_token_expires_at},
        {"access_token": new.access_token, "expires_at": new.expires_at, "obtained_at": new.obtained_at},
        {"token_id": new.token_id, "expires_at": new.expires_at, "obtained_at": new.obtained_at},
    )
    for fields in candidates:
        after = with_fields(stored, **fields)
        if credential(after) not in (None, spent):
            return after
    return stored

"""Which tokens came after which: lineage goes by what an exchange spends, which a strategy says. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve

from mesh_refresh.tokens import Tokens

Credential = Callable[[Tokens], str | None]
"""What an exchange of tokens spends; None: they cannot be exchanged. See `Strategy.credential`."""


def refresh_token_of(tokens: Tokens) -> str | None:
    """What most brokers spend."""
    return tokens.refresh_token


def successor(all_tokens: Sequence[Tokens], asked: int | None, credential: Credential) -> Tokens | None:
    """Whose tokens came after the spent ones: those of the account asked for, or the only ones there are."""
    own = next((tokens for index, tokens in enumerate(all_tokens) if index == asked), None)
    if own is not None and credential(own) is not None:
        return own
    found = {token: tokens for tokens in all_tokens if (token := credential(tokens)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def pass_on(stored: Tokens, spent: str | None, new: Tokens | None, credential: Credential) -> Tokens:
    """`stored` with the token of `new` that came after the `spent` one, where `stored` has that; all else stays."""
    if new is None or spent is None or credential(stored) != spent:
        return stored
    candidates: tuple[dict[str, Any], ...] = (
        {"refresh_token": new.refresh_token, "refresh_token_expires_at": new.refresh_token_expires_at},
        {"access_token": new.access_token, "expires_at": new.expires_at, "obtained_at": new.obtained_at},
        {"token_id": new.token_id, "expires_at": new.expires_at, "obtained_at": new.obtained_at},
    )
    for fields in candidates:
        after = evolve(stored, **fields)
        if credential(after) not in (None, spent):
            return after
    return stored

"""How it is known that a token was seen before, without keeping it."""

import base64
import hashlib
from collections.abc import Iterable

from mesh_refresh.replies.lineage import Credential
from mesh_refresh.tokens import Tokens

ROTATED = 12
"""So many rotated tokens of an account are remembered, beside all that were added."""
_ADDED, _ROTATED = "+", "-"


def fingerprint(token: str) -> str:
    """SHA-256 of `token`, cut to 128 bits."""
    return base64.b64encode(hashlib.sha256(token.encode()).digest()[:16]).decode().rstrip("=")


def identity(tokens: Tokens, credential: Credential) -> str | None:
    """The fingerprint by which tokens are known: of what an exchange spends or, without that, of any token."""
    token = credential(tokens) or tokens.refresh_token or tokens.access_token or tokens.token_id
    return None if token is None else fingerprint(token)


def added(known: tuple[str, ...], tokens: Tokens, credential: Credential) -> tuple[str, ...]:
    """`known`, with every token that was added."""
    return _appended(known, _ADDED, (tokens.refresh_token, tokens.auth_token, credential(tokens)))


def rotated(known: tuple[str, ...], old: Tokens, new: Tokens, credential: Credential) -> tuple[str, ...]:
    """`known`, with what `new` has taken the place of. Of these, only the last few are remembered."""
    gone = (
        credential(old) if credential(old) != credential(new) else None,
        old.refresh_token if old.refresh_token != new.refresh_token else None,
        old.auth_token if old.auth_token != new.auth_token else None,
    )
    known = _appended(known, _ROTATED, gone)
    spent = [mark for mark in known if mark[0] == _ROTATED]
    if len(spent) <= ROTATED:
        return known
    forgotten = set(spent[:-ROTATED])
    return tuple([mark for mark in known if mark not in forgotten])


def seen(known: tuple[str, ...], mark: str | None) -> bool:
    """Whether a token with this fingerprint was added, or rotated away lately."""
    return mark is not None and (_ADDED + mark in known or _ROTATED + mark in known)


def was_rotated(known: tuple[str, ...], mark: str | None) -> bool:
    """Whether a token with this fingerprint was spent lately."""
    return mark is not None and _ROTATED + mark in known


def _appended(known: tuple[str, ...], kind: str, tokens: Iterable[str | None]) -> tuple[str, ...]:
    marks = dict.fromkeys(kind + fingerprint(token) for token in tokens if token is not None)
    return (*known, *(mark for mark in marks if mark not in known))

"""Marks of tokens that an account has or had: they tell that a token was seen before, without keeping it. Pure.

`Account.known` is a text of marks, the oldest first, each of the same length: how the token was seen, then 8 bytes of
its SHA-256 in base64. It is one text and no list because every read and write of a login carries it.
"""

import base64
import hashlib
from collections.abc import Iterable

from mesh_refresh.replies.lineage import Credential
from mesh_refresh.tokens import Tokens

MOST = 1_000
"""So many marks of an account are kept. Where there are more, those of rotated tokens go first: dropping the mark of an
added token lets an old payload, repeated, replace a live pair."""
_ADDED, _ROTATED = "!", "~"  # not in base64, so that a mark is found at no other place than its own
_SIZE = 8
_LENGTH = 1 + len(base64.b64encode(bytes(_SIZE)).rstrip(b"="))


def fingerprint(token: str) -> str:
    """SHA-256 of `token`, cut to 64 bits."""
    return base64.b64encode(hashlib.sha256(token.encode()).digest()[:_SIZE]).decode().rstrip("=")


def identity(tokens: Tokens, credential: Credential) -> str | None:
    """The fingerprint by which tokens are known: that of their credential or, without one, of another token."""
    token = credential(tokens) or tokens.refresh_token or tokens.access_token or tokens.token_id
    return None if token is None else fingerprint(token)


def remember_added(known: str, tokens: Tokens, credential: Credential) -> str:
    """`known` with marks of every token of `tokens`, as added."""
    return _appended(known, _ADDED, (tokens.refresh_token, tokens.auth_token, credential(tokens)))


def remember_rotated(known: str, old: Tokens, new: Tokens, credential: Credential) -> str:
    """`known` with marks of each token of `old` that `new` has replaced, as rotated away."""
    gone = (
        credential(old) if credential(old) != credential(new) else None,
        old.refresh_token if old.refresh_token != new.refresh_token else None,
        old.auth_token if old.auth_token != new.auth_token else None,
    )
    return _appended(known, _ROTATED, gone)


def was_seen(known: str, mark: str | None) -> bool:
    """Whether a token with this fingerprint was added or rotated away, among the marks that are kept."""
    return mark is not None and (_ADDED + mark in known or _ROTATED + mark in known)


def was_rotated(known: str, mark: str | None) -> bool:
    """Whether a token with this fingerprint was rotated away: it is spent."""
    return mark is not None and _ROTATED + mark in known


def count(known: str) -> int:
    """How many marks there are."""
    return len(known) // _LENGTH


def _appended(known: str, kind: str, tokens: Iterable[str | None]) -> str:
    for token in tokens:
        mark = "" if token is None else kind + fingerprint(token)
        if mark not in known:
            known += mark
    while count(known) > MOST:
        oldest = max(0, known.find(_ROTATED))
        known = known[:oldest] + known[oldest + _LENGTH :]
    return known

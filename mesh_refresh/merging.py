"""What a reply's tokens make of the tokens in hand: whose entry it is, and what is carried over.

Absent is not erased. A lifetime belongs to the token that it came with.
"""

from datetime import datetime

from attrs import evolve, frozen

from mesh_refresh.messages import BrokerAccount, BrokerAccountTokens, BrokerRefreshTokenResponse
from mesh_refresh.tokens import Tokens


@frozen
class Merged:
    """The accounts that a reply renewed, and which of them was asked for."""

    all_tokens: tuple[Tokens, ...]
    asked: int | None


def merge(tokens: Tokens, content: BrokerRefreshTokenResponse, at: datetime) -> Merged:
    """Every entry of `content` that has a token, complete, after a request with `tokens` that was sent at `at`."""
    entries, listed = _entries(content)
    asked = _asked(tokens, entries, listed)
    if asked == 0 and len(entries) == 1:
        return Merged((_renewed(tokens, entries[0], content, at),), 0)
    shared = _shared_refresh_token(entries, asked)
    return Merged(
        tuple(
            _renewed(tokens, entry, content, at)
            if index == asked
            else _renewed(_sibling(tokens, shared, content, at), entry, content, at)
            for index, entry in enumerate(entries)
        ),
        asked,
    )


def _entries(content: BrokerRefreshTokenResponse) -> tuple[tuple[BrokerAccountTokens, ...], int]:
    """The entries with a token, and how many of them are listed: the deprecated top level may add one."""
    listed = tuple([entry for entry in content.broker_account_tokens if entry.has_token])
    if not (content.access_token or content.refresh_token):
        return listed, len(listed)
    top = content.top_level
    if not listed:
        return (top,), 1
    filled = tuple(_filled(entry, top, alone=len(listed) == 1) for entry in listed)
    kept = {token for entry in filled for token in (entry.access_token, entry.refresh_token)}
    if {top.access_token, top.refresh_token} - {None} <= kept:
        return filled, len(filled)
    return (*filled, top), len(filled)


def _filled(entry: BrokerAccountTokens, top: BrokerAccountTokens, *, alone: bool) -> BrokerAccountTokens:
    """`entry` with what only the top level has, where that is about the same account."""
    named = top.account is not None
    if named and not _same_account(entry.account, top.account) and not (alone and entry.account is None):
        return entry
    return evolve(
        entry,
        account=entry.account or (top.account if alone or named else None),
        # Without an account to go by, an access token is of one account, a refresh token of the whole login.
        access_token=entry.access_token or (top.access_token if alone or named else None),
        refresh_token=entry.refresh_token or top.refresh_token,
    )


def _same_account_id(one: BrokerAccount | None, other: BrokerAccount) -> bool:
    return one is not None and bool(one.account_id) and one.account_id == other.account_id


def _same_account(one: BrokerAccount | None, other: BrokerAccount | None) -> bool:
    if one is None or other is None:
        return False
    if one.account_id and other.account_id:
        return one.account_id == other.account_id
    return bool(one.mesh_account_id) and one.mesh_account_id == other.mesh_account_id


def _asked(tokens: Tokens, entries: tuple[BrokerAccountTokens, ...], listed: int) -> int | None:
    if tokens.account_id or tokens.mesh_account_id:
        own = BrokerAccount(account_id=tokens.account_id, mesh_account_id=tokens.mesh_account_id)
        for same in (_same_account_id, _same_account):  # an account id says more than a mesh account id
            for index, entry in enumerate(entries):
                if same(entry.account, own):
                    return index
        if listed == 1 and _contradicts(entries[0].account, own):
            return None
    return 0 if listed == 1 else None


def _contradicts(one: BrokerAccount | None, other: BrokerAccount) -> bool:
    """Whether both are known by an id of the same kind, and differ."""
    if one is None:
        return False
    if one.account_id and other.account_id:
        return one.account_id != other.account_id
    return bool(one.mesh_account_id and other.mesh_account_id and one.mesh_account_id != other.mesh_account_id)


def _shared_refresh_token(entries: tuple[BrokerAccountTokens, ...], asked: int | None) -> str | None:
    """The new refresh token that a sibling without one of its own takes, because the login's old one is spent."""
    if asked is not None and entries[asked].refresh_token:
        return entries[asked].refresh_token
    found = {entry.refresh_token for entry in entries if entry.refresh_token}
    return found.pop() if len(found) == 1 else None


def _sibling(tokens: Tokens, shared: str | None, content: BrokerRefreshTokenResponse, at: datetime) -> Tokens:
    """What another account of the same login starts from: what belongs to the login, not to the account."""
    ends = tokens.refresh_token_expires_at
    if shared:
        ends = at + content.refresh_token_expires_in if content.refresh_token_expires_in else None
    return Tokens(
        tokens.broker,
        shared or tokens.refresh_token,
        trade_token=tokens.trade_token,
        metadata=tokens.metadata,
        refresh_token_expires_at=ends,
    )


def _renewed(old: Tokens, entry: BrokerAccountTokens, content: BrokerRefreshTokenResponse, at: datetime) -> Tokens:
    account, ids = entry.account, (old.account_id, old.mesh_account_id)
    if account is not None:
        ids = (account.account_id or ids[0], account.mesh_account_id or ids[1])
    expires_at, refresh_ends = old.expires_at, old.refresh_token_expires_at
    if (new := entry.access_token or entry.token_id) is not None:
        known_end = old.expires_at if new == old.auth_token else None
        expires_at = at + content.expires_in if content.expires_in else known_end
    if entry.refresh_token is not None:
        known_end = old.refresh_token_expires_at if entry.refresh_token == old.refresh_token else None
        refresh_ends = at + content.refresh_token_expires_in if content.refresh_token_expires_in else known_end
    access_token = entry.access_token
    if access_token is None and entry.token_id in (None, old.token_id):
        # A new token id stands in its place: carried over, the old access token would be taken for the newer one.
        access_token = old.access_token
    return old.renewed(
        entry.refresh_token or old.refresh_token,
        access_token,
        entry.token_id or old.token_id,
        ids,
        (at, expires_at, refresh_ends),
    )


def continuation_token(tokens: Tokens, content: BrokerRefreshTokenResponse, merged: Merged) -> str | None:
    """The access token for the second request of an MFA: the first reply's, wherever it is, else the one in force."""
    entries, _ = _entries(content)
    own = entries[merged.asked] if merged.asked is not None else None
    candidates = (own, content.top_level, *(entries if own is None else ()))
    found = (entry.access_token or entry.token_id for entry in candidates if entry is not None)
    return next((token for token in found if token), tokens.auth_token)

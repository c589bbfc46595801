"""What a reply's tokens make of the tokens in hand: whose entry it is, what it brought, and what is carried over.

Absent is not erased. A lifetime belongs to the token that it came with. What belongs to one account is carried to no
other: the entry of a sibling has the tokens that the reply gives it, and no refresh token where the reply has none.
"""

from datetime import datetime, timedelta

from attrs import evolve, frozen

from mesh_refresh.blank import some
from mesh_refresh.messages import BrokerAccount, BrokerAccountTokens, BrokerRefreshTokenResponse
from mesh_refresh.replies.brought import Brought
from mesh_refresh.replies.identity import contradicts, entry_of, has_id, same_account
from mesh_refresh.tokens import Tokens


@frozen
class Merged:
    """The accounts that a reply renewed, and which of them was asked for."""

    all_tokens: tuple[Tokens, ...]
    asked: int | None
    read: tuple[Brought, ...]
    """For each of `all_tokens`, which of its fields the reply had."""
    shared: int | None = None
    """The entry that is one pair for every account of the login."""


@frozen
class _Entries:
    """The entries of a reply that have a token."""

    all: tuple[BrokerAccountTokens, ...]
    listed: int
    """How many of them are listed. The deprecated top level may add one."""
    shared: str | None
    """A new refresh token that is of the login and of no one account."""
    is_nameless: bool = False
    """Whether the reply gives `shared` without an account. Else to several ones, perhaps not to the one asked for."""
    pair: int | None = None
    """The index of the entry that the reply has several times, where no other entry is without an account."""


_NO_ACCOUNT = BrokerAccount()


def merge(tokens: Tokens, content: BrokerRefreshTokenResponse, at: datetime) -> Merged:
    """The complete tokens of every entry of `content` that has a token, after a request with `tokens`, sent at `at`."""
    if (only := _only_entry(tokens, content)) is not None:
        renewed = _renewed(tokens, only, None, content, at)
        return Merged((renewed,), 0, (Brought(_fields(only, content, tokens), renewed),))
    entries = _entries(tokens, content)
    asked = _asked(tokens, entries)
    all_tokens: list[Tokens] = []
    read: list[Brought] = []
    for index, entry in enumerate(entries.all):
        own = index == asked
        shared = entries.shared if entries.is_nameless or not own else None
        renewed = _renewed(tokens if own else _sibling(tokens), entry, shared, content, at)
        all_tokens.append(renewed)
        read.append(Brought(_fields(entry, content, tokens if own else None), renewed))
    return Merged(tuple(all_tokens), asked, tuple(read), entries.pair)


def _only_entry(tokens: Tokens, content: BrokerRefreshTokenResponse) -> BrokerAccountTokens | None:
    """The only entry of a reply, where `tokens` have no ids or its account id. None where `merge` must look closer.

    This is the common case. The result is the same as by the whole of `merge`, at half the CPU time.
    """
    if len(content.broker_account_tokens) != 1 or content.account or content.access_token or content.refresh_token:
        return None
    entry = content.broker_account_tokens[0]
    if tokens.account_id:
        is_own = entry.account is not None and entry.account.account_id == tokens.account_id
    else:
        is_own = not tokens.mesh_account_id
    return entry if is_own and entry.has_token else None


def _sibling(tokens: Tokens) -> Tokens:
    """The fields that another account of the same login takes over: those of the login, and no token of an account."""
    return Tokens(
        tokens.broker, trade_token=tokens.trade_token, metadata=tokens.metadata, broker_name=tokens.broker_name
    )


def _fields(entry: BrokerAccountTokens, content: BrokerRefreshTokenResponse, sent: Tokens | None) -> frozenset[str]:
    """The names of the fields of `Tokens` that the reply had for `entry`.

    `sent` are the tokens of its account, where the entry is of the account asked for. A repetition of their refresh
    token does not count as brought.
    """
    account, refresh, access = entry.account, entry.refresh_token, entry.access_token or entry.token_id
    had: dict[str, object] = {
        "refresh_token": refresh and (sent is None or refresh != sent.refresh_token),
        "refresh_token_expires_at": refresh and content.refresh_token_expires_in,
        "access_token": entry.access_token,
        "token_id": entry.token_id,
        "expires_at": access and content.expires_in,
        "account_id": account and account.account_id,
        "mesh_account_id": account and account.mesh_account_id,
        "account_name": account and some(account.account_name),
    }
    return frozenset([name for name in had if had[name]])


def _entries(tokens: Tokens, content: BrokerRefreshTokenResponse) -> _Entries:
    listed = tuple([entry for entry in content.broker_account_tokens if entry.has_token])
    if len(listed) == 1 and not (content.account or content.access_token or content.refresh_token):
        return _Entries(listed, 1, None)  # the common case
    if len(listed) > 1:
        once = _without_copies(listed)
        if len(once) < len(listed):
            top = content.top_level
            found = _pair_and_top(tokens, once[0], top) if len(once) == 1 else _entries_of(tokens, once, top)
            nameless = [index for index, entry in enumerate(found.all) if not _has_id(entry)]
            return evolve(found, pair=nameless[0] if len(nameless) == 1 else None)
    return _entries_of(tokens, listed, content.top_level)


def _without_copies(listed: tuple[BrokerAccountTokens, ...]) -> tuple[BrokerAccountTokens, ...]:
    """`listed` with each pair once that the reply gives several times without an account: it is of several accounts."""
    once: dict[tuple[str | None, ...], BrokerAccountTokens] = {}
    for index, entry in enumerate(listed):
        tokens = (entry.access_token, entry.refresh_token, entry.token_id)
        once.setdefault((str(index),) if _has_id(entry) else tokens, entry)
    return tuple(once.values())


def _pair_and_top(tokens: Tokens, pair: BrokerAccountTokens, top: BrokerAccountTokens) -> _Entries:
    """The entries of a reply with a pair of several accounts. Another token at the top level may be of one account."""
    if not _has_more(top, pair):
        return _Entries((pair,), 1, None)  # the top level names one account, and the pair is of several
    filled = evolve(
        pair,
        account=top.account,
        access_token=pair.access_token or top.access_token,
        refresh_token=_newer(pair.refresh_token, top.refresh_token, tokens),
    )
    if not _has_more(top, filled):
        return _Entries((filled,), 1, None)
    return _Entries((pair if _has_id(top) else filled, top), 1, None)


def _entries_of(tokens: Tokens, listed: tuple[BrokerAccountTokens, ...], top: BrokerAccountTokens) -> _Entries:
    if not listed:
        return _Entries((top,) if top.has_token else (), int(top.has_token), None)
    if len(listed) == 1:
        found = _one_listed(tokens, listed[0], top)
        return _Entries(found, 1, None)
    filled = tuple([_filled(entry, top) for entry in listed])
    shared, is_nameless = _shared(tokens, filled, top)
    if shared is not None and any(entry.refresh_token is None for entry in filled):
        # It is at its place in an entry, so it is no account of its own.
        filled = tuple([entry for entry in filled if not _is_only(shared, entry)])
    elif top.refresh_token is not None and all(top.refresh_token != entry.refresh_token for entry in filled):
        return _Entries((*filled, top), len(filled), shared, is_nameless)
    if top.access_token in (None, *(entry.access_token for entry in filled)):
        return _Entries(filled, len(filled), shared, is_nameless)
    return _Entries((*filled, top), len(filled), shared, is_nameless)


def _is_only(refresh_token: str, entry: BrokerAccountTokens) -> bool:
    """Whether `entry` has this token, and neither an account nor another token."""
    alone = entry.access_token is None and entry.token_id is None
    return alone and entry.refresh_token == refresh_token and not _has_id(entry)


def _one_listed(
    tokens: Tokens, entry: BrokerAccountTokens, top: BrokerAccountTokens
) -> tuple[BrokerAccountTokens, ...]:
    """The entries of a reply with one listed entry: mostly the top level is of the same account."""
    nameless = not _has_id(entry)
    if not nameless and _has_id(top) and not _same_account(entry, top):
        return (entry, top) if _has_more(top, entry) else (entry,)
    filled = evolve(
        entry,
        account=top.account if nameless else entry.account,
        access_token=entry.access_token or top.access_token,
        refresh_token=entry.refresh_token or top.refresh_token,
    )
    if not _has_more(top, filled):
        return (filled,)
    if not nameless or contradicts(top.account or _NO_ACCOUNT, tokens):
        return filled, top
    access = _newer(filled.access_token, top.access_token, tokens)
    return (evolve(filled, access_token=access, refresh_token=_newer(filled.refresh_token, top.refresh_token, tokens)),)


def _newer(listed: str | None, top: str | None, tokens: Tokens) -> str | None:
    """The `listed` one of two tokens for one place, unless it repeats a token that was sent and `top` does not."""
    known = (None, *tokens.secrets)
    return top if listed is None or (listed in known and top not in known) else listed


def _has_more(top: BrokerAccountTokens, entry: BrokerAccountTokens) -> bool:
    """Whether the top level has a token that is not in `entry`."""
    return bool({top.access_token, top.refresh_token} - {None, entry.access_token, entry.refresh_token})


def _filled(entry: BrokerAccountTokens, top: BrokerAccountTokens) -> BrokerAccountTokens:
    """`entry`, one of several, with the tokens that only the top level has, where that names the same account."""
    if not _has_id(top) or not _same_account(entry, top):
        return entry
    return evolve(
        entry,
        access_token=entry.access_token or top.access_token,
        refresh_token=entry.refresh_token or top.refresh_token,
    )


def _shared(
    tokens: Tokens, entries: tuple[BrokerAccountTokens, ...], top: BrokerAccountTokens
) -> tuple[str | None, bool]:
    """The new refresh token of the login, and whether the reply gives it without an account; else to several ones."""
    loose = [top] if not _has_id(top) else []
    loose += [entry for entry in entries if entry.refresh_token is not None and _is_only(entry.refresh_token, entry)]
    found = {entry.refresh_token for entry in loose} - {None, tokens.refresh_token}
    if found:
        return (found.pop(), True) if len(found) == 1 else (None, True)
    all_found = [entry.refresh_token for entry in entries if entry.refresh_token not in (None, tokens.refresh_token)]
    several = {token for token in all_found if all_found.count(token) > 1}
    return several.pop() if len(several) == 1 else None, False


def _has_id(entry: BrokerAccountTokens) -> bool:
    return has_id(entry.account or _NO_ACCOUNT)


def _same_account(one: BrokerAccountTokens, other: BrokerAccountTokens) -> bool:
    return same_account(one.account or _NO_ACCOUNT, other.account or _NO_ACCOUNT)


def _asked(tokens: Tokens, entries: _Entries) -> int | None:
    """The index of the entry of the account asked for; None where the reply has none, or does not tell."""
    if len(entries.all) == 1:
        return None if contradicts(entries.all[0].account or _NO_ACCOUNT, tokens) else 0
    found = entry_of(tokens, [_bare(tokens, entry) for entry in entries.all], may_be_last=True)
    if found is not None:
        return found
    if entries.listed == 1 and not contradicts(entries.all[0].account or _NO_ACCOUNT, tokens):
        return 0
    return entries.pair


def _bare(tokens: Tokens, entry: BrokerAccountTokens) -> Tokens:
    """`entry` as tokens, with nothing carried over."""
    account = entry.account or _NO_ACCOUNT
    return Tokens(
        tokens.broker,
        entry.refresh_token,
        access_token=entry.access_token,
        token_id=entry.token_id,
        account_id=account.account_id,
        mesh_account_id=account.mesh_account_id,
    )


def _renewed(
    old: Tokens, entry: BrokerAccountTokens, shared: str | None, content: BrokerRefreshTokenResponse, at: datetime
) -> Tokens:
    """`old` with what `entry` has; `shared` is a new refresh token for an entry without one. Absent is not erased."""
    account = entry.account or _NO_ACCOUNT
    access = entry.access_token or entry.token_id
    refresh = entry.refresh_token or shared
    # A new token id takes the place of the old access token: both sent, the old one would be taken for the newer.
    replaces_access = entry.access_token is None and entry.token_id not in (None, old.token_id)
    return old.renewed(
        refresh or old.refresh_token,
        entry.access_token if replaces_access else entry.access_token or old.access_token,
        entry.token_id or old.token_id,
        (
            account.account_id or old.account_id,
            account.mesh_account_id or old.mesh_account_id,
            some(account.account_name) or old.account_name,
        ),
        (
            at,
            _end(access, old.auth_token, old.expires_at, content.expires_in, at),
            _end(refresh, old.refresh_token, old.refresh_token_expires_at, content.refresh_token_expires_in, at),
        ),
    )


def _end(
    token: str | None, old: str | None, old_end: datetime | None, lifetime: timedelta | None, at: datetime
) -> datetime | None:
    """When `token` of a reply ends. A lifetime belongs to the token that it came with.

    Without a token, or with the `old` one again, the end stays. A new token without a lifetime has no known end.
    """
    if token is not None and lifetime is not None:
        return at + lifetime
    return old_end if token is None or token == old else None


def continuation_token(tokens: Tokens, content: BrokerRefreshTokenResponse, merged: Merged) -> str | None:
    """The access token for the second request of an MFA: that of the first reply, at any place, else the old one."""
    entries = _entries(tokens, content).all
    own = entries[merged.asked] if merged.asked is not None else None
    candidates = (own, content.top_level, *(entries if own is None else ()))
    found = (entry.access_token or entry.token_id for entry in candidates if entry is not None)
    return next((token for token in found if token), tokens.auth_token)

"""Logins, attempts and outcomes for tests of the pure parts, in few words."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.rules.add import new_login
from mesh_refresh.keeper.rules.attempt import Attempt, CodeWanted, ReplyEntry, Success
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.logins import Account, Login
from mesh_refresh.replies.lineage import Credential, refresh_token_of

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy()
HOUR = timedelta(hours=1)


def at(seconds: float = 0) -> datetime:
    """So many seconds after the start."""
    return START + timedelta(seconds=seconds)


def names(prefix: str = "name") -> Callable[[], str]:
    """Gives a name that was never used."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}-{next(numbers)}"


_EPOCHS = names("epoch")


def context(seconds: float = 0, policy: Policy = POLICY, credential: Credential = refresh_token_of) -> Context:
    """What pure code is told."""
    return Context(at(seconds), policy, _EPOCHS, credential)


def tokens(refresh: str | None = "r-0", access: str | None = "a-0", account: str | None = None, **given: Any) -> Tokens:
    """Tokens that were obtained at the start (or `got` seconds after it) for an hour."""
    got = at(given.pop("got", 0))
    given.setdefault("expires_at", got + HOUR if access is not None else None)
    given.setdefault("obtained_at", got)
    return Tokens(given.pop("broker", "coinbase"), refresh, access_token=access, account_id=account, **given)


def made(*given: Tokens, seconds: float = 0, policy: Policy = POLICY, login_id: str = "user-7", **more: Any) -> Login:
    """A login with an account for each of the tokens."""
    return new_login(login_id, _EPOCHS(), given or (tokens(),), context(seconds, policy, **more))[0]


def changed(login: Login, index: int = 0, /, **fields: Any) -> Login:
    """`login` with other fields of one account."""
    accounts = list(login.accounts)
    accounts[index] = evolve(accounts[index], **fields)
    return evolve(login, accounts=tuple(accounts))


def attempt(
    login: Login, number: int, account: int | Account = 0, *, seconds: float = 0, code_for: str | None = None,
    renew: bool = False, credential: Credential = refresh_token_of,
) -> Attempt:  # fmt: skip
    """The attempt of that number at an account of `login`, as it is now."""
    chosen = login.accounts[account] if isinstance(account, int) else account
    login = evolve(login, attempt=number)
    return Attempt.of(login, chosen, at(seconds), code_for=code_for, renew=renew, credential=credential)


def brought(given: Tokens, *, own: bool = True, access: bool = True, asked: bool = True) -> ReplyEntry:
    """An entry of the account that was asked for, with a refresh token of its `own` and an `access` token."""
    names = {"account_id": True, "refresh_token": own, "refresh_token_expires_at": own}
    names |= {"access_token": access, "token_id": access, "expires_at": access}
    found = {name for name, there in names.items() if there and getattr(given, name) is not None}
    return ReplyEntry(given, frozenset(found), asked=asked)


def beside(given: Tokens, *, own: bool = True, access: bool = True) -> ReplyEntry:
    """An entry of another account of the login."""
    return brought(given, own=own, access=access, asked=False)


def success(*entries: ReplyEntry) -> Success:
    return Success(entries)


def question(name: str = "question-1", refresh: str | None = "r-0", *entries: ReplyEntry) -> CodeWanted:
    """The broker asks for a code."""
    return CodeWanted(entries, refresh, None, "the continuation", name, "Look at your telephone.")

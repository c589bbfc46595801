"""Bugs to plant that only a mixed fleet shows: logins that Mesh manages, and access tokens that are spent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mesh_refresh import MeshClient
from mesh_refresh.keeper.rules import add
from mesh_refresh.logins import AccountState
from tests.simulation.planted import original


@contextmanager
def a_managed_login_is_due() -> Iterator[None]:
    """The loop comes for a token that Mesh renews itself."""
    right = original(add, "next_due")

    def due(account: Any, policy: Any, *, chance: float, now: Any) -> Any:
        found = right(account, policy, chance=chance, now=now)
        return account.tokens.expires_at if account.state is AccountState.MANAGED else found

    with patch.object(add, "next_due", due):
        yield


@contextmanager
def a_managed_token_ends() -> Iterator[None]:
    """A token id without anything to spend is an access token like another one."""
    right = original(add, "working_state")

    def state(*args: Any) -> Any:
        found = right(*args)
        return AccountState.NOT_REFRESHABLE if found is AccountState.MANAGED else found

    with patch.object(add, "working_state", state):
        yield


@contextmanager
def only_refresh_tokens_are_spent() -> Iterator[None]:
    """What a strategy says of the credential is not asked for."""
    with patch.object(MeshClient, "credential", lambda _, tokens: tokens.refresh_token):
        yield


MIXED_BUGS: dict[str, Callable[[], Any]] = {
    "a managed login is due": a_managed_login_is_due,
    "a managed token ends": a_managed_token_ends,
    "only refresh tokens are spent": only_refresh_tokens_are_spent,
}

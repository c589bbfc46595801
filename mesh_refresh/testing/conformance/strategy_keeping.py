"""What a keeper makes of a strategy's outcome, for the tests that every strategy must pass. Pure."""

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import evolve

from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.add import new_login
from mesh_refresh.keeper.rules.attempt import Attempt, CodeWanted, Success, result_of
from mesh_refresh.keeper.rules.mfa import park_with_question
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.logins import Login
from mesh_refresh.replies.lineage import Credential
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed
from mesh_refresh.tokens import Tokens


def login_after(
    accounts: Sequence[Tokens],
    at: datetime,
    exchange: Callable[[Tokens], Refreshed | MfaRequired],
    credential: Credential,
) -> Login:
    """A login with these accounts after an `exchange` of the first of them, which was sent `at`."""
    numbers = itertools.count(1)

    def new_id() -> str:
        return f"epoch-{next(numbers)}"

    context = Context(at, Policy(), new_id, credential)
    login = evolve(new_login("login", "row", accounts, context)[0], attempt=1)
    asked = login.accounts[0]
    attempt = Attempt.of(login, asked, at, credential=credential)
    match result_of(exchange(asked.tokens), context.new_id):
        case Success() as success:
            return apply_success(login, attempt, success, context).login
        case CodeWanted() as wanted:
            return park_with_question(login, attempt, wanted, context).login
        case unreadable:
            raise AssertionError(f"{type(unreadable).__name__} is no outcome of a strategy.")

"""What is kept of a person's login at a broker: its accounts, their tokens, and what became of them. Pure."""

from mesh_refresh.logins.account import Account, AccountState, Pending, Reason
from mesh_refresh.logins.documents import login_from_text, login_to_text
from mesh_refresh.logins.errors import AmbiguousAccount, UnknownAccount, UnknownLogin
from mesh_refresh.logins.joining import adopted
from mesh_refresh.logins.login import Login

__all__ = [
    "Account",
    "AccountState",
    "AmbiguousAccount",
    "Login",
    "Pending",
    "Reason",
    "UnknownAccount",
    "UnknownLogin",
    "adopted",
    "login_from_text",
    "login_to_text",
]

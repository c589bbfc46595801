"""What is kept of a person's login at a broker: its accounts, their tokens, and what became of them. Pure."""

from mesh_refresh.logins.account import Account, AccountState, Pending, Reason
from mesh_refresh.logins.documents import login_from_text, login_to_text
from mesh_refresh.logins.epochs import with_own_epochs
from mesh_refresh.logins.errors import AmbiguousAccount, LoginMoved, UnknownAccount, UnknownLogin
from mesh_refresh.logins.login import Login
from mesh_refresh.logins.moving import Moving, Way

__all__ = [
    "Account",
    "AccountState",
    "AmbiguousAccount",
    "Login",
    "LoginMoved",
    "Moving",
    "Pending",
    "Reason",
    "UnknownAccount",
    "UnknownLogin",
    "Way",
    "login_from_text",
    "login_to_text",
    "with_own_epochs",
]

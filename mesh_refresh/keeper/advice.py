"""What is the matter with accounts, and what to do next, in words: for the command line and for the page. Pure."""

from datetime import datetime

from attrs import frozen

from mesh_refresh.keeper.errors import WHY
from mesh_refresh.logins import Account, AccountState, Login, Way


@frozen
class ParkedWords:
    """What people are told of accounts in a state in which the loop leaves them alone."""

    what: str
    """What they are, as a heading: ``Waiting for an MFA code``."""
    next_step: str
    """What to do, as a sentence."""
    command: str
    """What to do on the command line."""


PARKED = {
    AccountState.MFA_REQUIRED: ParkedWords(
        "Waiting for an MFA code",
        "Ask the person for the code that the broker sent, and submit it. If it never came or is too old, let the "
        "broker ask for a new one.",
        "mesh-refresh mfa LOGIN",
    ),
    AccountState.RECONNECT_REQUIRED: ParkedWords(
        "To be logged in again by the person",
        "The person must log in at the broker again, through Link. Then import the new payload of Link.",
        "import the new payload of Link.",
    ),
    AccountState.UNREADABLE: ParkedWords(
        "With an unreadable reply",
        "Bring the reply out with “mesh-refresh salvage LOGIN”, and add the tokens that are in it. If there are none, "
        "the person must log in again.",
        "mesh-refresh salvage LOGIN",
    ),
}

_ANSWERED = "A code was sent, and its outcome is not known."
_ASKED = "The broker asked for an MFA code."
_MOVING = {
    Way.MOVED: "The login was moved to another store, and is refreshed there.",
    Way.ARRIVING: "The login is arriving from another store. If no copy runs now, run it again.",
}


def why_parked(account: Account) -> str | None:
    """Why the loop leaves the account alone, as a sentence; None where it does not."""
    if account.state is AccountState.MFA_REQUIRED:
        return _ANSWERED if account.pending is not None and account.pending.answered else _ASKED
    if not account.parked or account.reason is None:
        return None
    why = WHY[account.reason]
    return f"{why[0].upper()}{why[1:]}."


def why_waiting(login: Login, account: Account, now: datetime) -> str | None:
    """Why an account that is not parked is not exchanged now, though it failed or is due; None where there is nothing
    to say.
    """
    if login.moving is not None:
        return _MOVING[login.moving.way]
    if account.resend_not_before is not None and account.resend_not_before > now:
        return "The outcome of the last request is not known. The tokens wait before they are sent again."
    if account.refused_at is not None:
        return "The tokens were refused once. One more request will tell whether that is so."
    if account.failures and not account.parked:
        return "The last exchange failed, and is tried again."
    if account.state is AccountState.ACTIVE and account.due_at is None:
        return "It is refreshed when a caller asks for its tokens, and not by time."
    return None

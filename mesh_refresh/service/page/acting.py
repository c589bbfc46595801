"""Doing what a form asks for: errors become words, and each is a line of the audit."""

from collections.abc import Awaitable

from attrs import frozen

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper import CodeNotWanted
from mesh_refresh.replies.outcomes import CodeRefused, MfaPending
from mesh_refresh.service.api.problems import answer_of, outcome_of, words_of
from mesh_refresh.service.audit import audit
from mesh_refresh.service.page.visit import Visit

TOLD = {
    "refresh": "The login was refreshed.",
    "mfa": "The broker took the code. The login is fresh.",
    "mfa_restart": "The broker was asked. What it wants now is below.",
    "pause": "The broker is paused. Exchanges under way are finished.",
    "resume": "The broker goes on.",
    "remove": "The login was removed.",
}
"""What a page says after something was done, by its verb."""

_WORDS: dict[type[MeshRefreshError], str] = {
    CodeNotWanted: "No question waits for this code any more. How the login is now is below.",
    CodeRefused: "The broker did not take this code. The question is still open: try again.",
    MfaPending: "The broker asks for an MFA code. Nothing is lost: the question is below.",
}


@frozen
class Problem:
    """Why something was not done."""

    status: int
    words: str
    broker_said: str | None
    """What Mesh or the broker wrote about it."""
    error: MeshRefreshError


async def act(
    visit: Visit, verb: str, doing: Awaitable[object], *, login: str | None = None, **facts: str | None
) -> Problem | None:
    """Await `doing`. Returns None where it was done, else the problem."""
    outcome = "done"
    try:
        await doing
    except BaseException as error:
        outcome = outcome_of(error)
        if not isinstance(error, MeshRefreshError):
            raise
        words = _WORDS.get(type(error)) or words_of(error)
        return Problem(answer_of(error).status, words, error.display_message, error)
    finally:
        audit(visit.who, verb, outcome, login=login, **facts)
    return None

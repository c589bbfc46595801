"""What a login is after an outcome that brought something: pure functions of the login as it is stored, the attempt,
and what came of it.
"""

from attrs import evolve

from mesh_refresh.keeper import events
from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.rules import fingerprints
from mesh_refresh.keeper.rules.assignment import assign, park_unclear
from mesh_refresh.keeper.rules.attempt import Attempt, CodeWanted, Success
from mesh_refresh.keeper.rules.fencing import Context, Transition, cleared, is_newer, replaced, told_of
from mesh_refresh.keeper.rules.schedule import paced
from mesh_refresh.keeper.rules.siblings import left_out, successor_of
from mesh_refresh.keeper.rules.success import taken
from mesh_refresh.logins import AccountState, Login, Pending
from mesh_refresh.tokens import Tokens


def succeeded(login: Login, attempt: Attempt, success: Success, now: Context) -> Transition:
    """Fresh tokens came. Everything that the reply brought is taken up at once."""
    if login.epoch != attempt.login_epoch:
        return Transition(login)  # removed, and made anew: what was sent for the old one is of nobody
    asked = login.by_epoch(attempt.epoch)
    continues = asked is not None and asked.behind
    round_at = login.round_at if continues and login.round_at is not None else attempt.begun_at
    round_at = min(round_at, now.at)  # else siblings renew each other until a clock that was ahead is right
    begun = login.succeeding(round_at, now.at)
    told: list[Event] = []
    entries, assigned = success.entries, assign(login, attempt, success.entries, now, shared=success.shared)
    fresh = taken(begun, attempt, assigned, now, told, new=successor_of(login, attempt, entries, now))
    fresh = left_out(fresh, attempt, entries, now, served=assigned.served)
    after = park_unclear(fresh, login, attempt, assigned, now)
    if not told:
        # Known already, or out of date for those whom it names. Others may have had the token that was spent.
        return Transition(after.login.succeeding(login.round_at, login.succeeded_at), after.told)
    return Transition(paced(after.login, now.policy), (*told, *after.told))


def code_wanted(login: Login, attempt: Attempt, wanted: CodeWanted, now: Context) -> Transition:
    """The broker asks for a code: the account is parked with its continuation."""
    if login.epoch != attempt.login_epoch:
        return Transition(login)
    told: list[Event] = []
    assigned = assign(login, attempt, wanted.entries, now, asks=True)
    new = successor_of(login, attempt, wanted.entries, now)
    login = taken(login, attempt, assigned.without_asked, now, told, new=new, asks=True)
    shared = None
    if wanted.refresh_token not in (None, attempt.spent):
        ends = wanted.refresh_token_expires_at
        shared = Tokens(login.broker, wanted.refresh_token, refresh_token_expires_at=ends)
    login = left_out(login, attempt, wanted.entries, now, shared=shared, served=assigned.served)
    account = login.by_epoch(attempt.epoch)
    if account is None:
        return Transition(login, tuple(told))
    tokens = account.tokens
    if shared is not None and shared.refresh_token != tokens.refresh_token:
        # The access token of a first reply is for the second request only: it stays in the continuation.
        ends = shared.refresh_token_expires_at
        tokens = evolve(tokens, refresh_token=shared.refresh_token, refresh_token_expires_at=ends)
    if not is_newer(account, attempt, now.credential(tokens), now):
        return Transition(login, tuple(told))
    pending = Pending(wanted.pending_id, wanted.document, now.at, display_message=wanted.display_message)
    parked = evolve(
        cleared(account),
        tokens=tokens,
        state=AccountState.MFA_REQUIRED,
        due_at=None,
        parked_at=now.at,
        produced_by=account.produced_by if tokens is account.tokens else attempt.number,
        settled_by=max(account.settled_by, attempt.number),
        renewed_at=account.renewed_at if tokens is account.tokens else attempt.begun_at,
        known=fingerprints.rotated(account.known, account.tokens, tokens, now.credential),
        needs_code=True,
        pending=pending,
        display_message=wanted.display_message,
    )
    told.append(events.MfaNeeded(*told_of(login, parked, now), pending.id, wanted.display_message))
    return Transition(replaced(login, account, parked), tuple(told))

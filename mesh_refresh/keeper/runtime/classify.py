"""Whose fault a failed exchange is: an account's; or that of a broker, of Mesh, of the keys or of the way to it.

The latter goes to the breakers, and counts against no account. A request that is not accepted is either: the account
backs off, until so many do that a breaker opens. Then those backoffs are undone.
"""

from datetime import timedelta

from mesh_refresh import errors
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, OutcomeUnknown
from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.keeper.limits.limiter import Permit
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.failure import BackedOff, Failed, Failure, Refused, Unknown
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.undo_backoffs import undo_backoffs
from mesh_refresh.logins import Account
from mesh_refresh.replies.outcomes import CodeRefused, UnreadableReply

_FAULTS: dict[type[MeshRefreshError], BreakerFault] = {
    errors.ClientRefused: BreakerFault.CLIENT_REFUSED,
    errors.RedirectRefused: BreakerFault.REDIRECTED,
    errors.Throttled: BreakerFault.THROTTLED,
    errors.Unavailable: BreakerFault.UNAVAILABLE,
    errors.NotSent: BreakerFault.NOT_SENT,
}
REJECTIONS: dict[type[MeshRefreshError], BreakerFault] = {
    errors.PermissionDenied: BreakerFault.NOT_PERMITTED,
    errors.NotFound: BreakerFault.NOT_PERMITTED,
    errors.UnavailableForLegalReasons: BreakerFault.NOT_PERMITTED,
    errors.RequestRejected: BreakerFault.REJECTED,
}


def blame(
    runtime: Runtime, error: MeshRefreshError, account: Account, attempt: Attempt, place: Permit
) -> Failure | None:
    """What `error` means for the account; None for a wrong code, which is no fault. The breakers are told too."""
    breakers, broker, probe, login_id = runtime.limiter.breakers, place.broker, place.probe, attempt.login_id
    now, at, name = runtime.clock.monotonic(), runtime.at(), type(error).__name__
    if isinstance(error, CodeRefused):
        runtime.event_queue.tell(breakers.answered(broker, now, at, probe, login_id=login_id))
        return None
    if isinstance(error, errors.TokensRefused):
        expected = account.unknown_since is not None
        blamed, events = breakers.refused(broker, login_id, now, at, probe, account=account.epoch, expected=expected)
        runtime.event_queue.tell(events)
        return Refused(error.display_message, blamed, breakers.forgiven_until(broker))
    if isinstance(error, UnreadableReply):
        counted = None if attempt.with_code is not None else login_id
        runtime.event_queue.tell(breakers.unreadable(broker, counted, now, at, probe))
        return Unknown(name, runtime.mesh.may_resend(account.tokens))
    if isinstance(error, OutcomeUnknown):
        runtime.event_queue.tell(breakers.unknown(broker, login_id, now, at, probe))
        return Unknown(name, runtime.mesh.may_resend(account.tokens))
    rejection = _of(REJECTIONS, error)
    if rejection is not None:
        message = error.display_message
        return _rejected(
            runtime, name, rejection, account=account, attempt=attempt, place=place, display_message=message
        )
    fault = _of(_FAULTS, error)
    if fault is None:
        if not isinstance(error, InvalidRequest):
            runtime.event_queue.tell(breakers.answered(broker, now, at, probe, login_id=login_id))
        return Failed(name, blamed=True)
    asked: timedelta | None = getattr(error, "retry_after", None)
    said = error.display_message
    runtime.event_queue.tell(breakers.nobodys(broker, fault, now, at, probe, retry_after=asked, display_message=said))
    return Failed(name, blamed=False)


def not_made(runtime: Runtime, error: Exception, account: Account, attempt: Attempt, place: Permit) -> Failed:
    """What an exception of the user's code means, before anything was sent. It may be about one login or about all."""
    name = type(error).__name__
    return _rejected(runtime, name, BreakerFault.REJECTED, account=account, attempt=attempt, place=place, sent=False)


def _rejected(
    runtime: Runtime,
    name: str,
    fault: BreakerFault,
    *,
    account: Account,
    attempt: Attempt,
    place: Permit,
    sent: bool = True,
    display_message: str | None = None,
) -> Failed:
    now, at = runtime.clock.monotonic(), runtime.at()
    backed_off = None if attempt.with_code is not None else BackedOff.of(account, attempt)
    found = runtime.limiter.breakers.rejected(
        place.broker,
        fault,
        now,
        at,
        place.probe,
        backed_off=backed_off,
        sent=sent,
        display_message=display_message,
    )
    runtime.event_queue.tell(found.events)
    if found.undo:
        _ = runtime.start(undo_backoffs(runtime, found.undo))
    return Failed(name, blamed=found.blamed)


def _of(faults: dict[type[MeshRefreshError], BreakerFault], error: MeshRefreshError) -> BreakerFault | None:
    return next((fault for kind, fault in faults.items() if isinstance(error, kind)), None)

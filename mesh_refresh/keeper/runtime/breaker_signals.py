"""Tells the breakers of failed exchanges. What an error means is said in `mesh_refresh.keeper.rules.classify`.

A request that is not accepted backs its account off, until so many do that a breaker opens. Then those backoffs are
undone.
"""

from datetime import timedelta

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.keeper.limits.limiter import Permit
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.classify import Heard, Signal, classify
from mesh_refresh.keeper.rules.failure import BackedOff, Failed, Failure, Refused
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.undo_backoffs import undo_backoffs
from mesh_refresh.logins import Account


def blame(
    runtime: Runtime, error: MeshRefreshError, account: Account, attempt: Attempt, place: Permit
) -> Failure | None:
    """What `error` means for the account; None for a wrong code, which is no fault. The breakers are told too."""
    breakers, broker, probe, login_id = runtime.limiter.breakers, place.broker, place.probe, attempt.login_id
    now, at, tell = runtime.clock.monotonic(), runtime.at(), runtime.event_queue.tell
    failure, signal = classify(error, account.tokens, runtime.mesh.may_resend)
    said = error.display_message
    match signal:
        case Signal(Heard.ANSWERED):
            tell(breakers.answered(broker, now, at, probe, login_id=login_id))
        case Signal(Heard.REFUSED):
            expected = account.unknown_since is not None
            verdict = breakers.refused(broker, login_id, now, at, probe, account=account.epoch, expected=expected)
            tell(verdict.events)
            return Refused(said, verdict.blamed, breakers.forgiven_until(broker))
        case Signal(Heard.UNREADABLE):
            tell(breakers.unreadable(broker, None if attempt.with_code is not None else login_id, now, at, probe))
        case Signal(Heard.UNKNOWN):
            tell(breakers.unknown(broker, login_id, now, at, probe))
        case Signal(Heard.REJECTED, BreakerFault() as fault):
            return _rejected(
                runtime,
                type(error).__name__,
                fault,
                account=account,
                attempt=attempt,
                place=place,
                display_message=said,
            )
        case Signal(Heard.OUTAGE, BreakerFault() as fault):
            asked: timedelta | None = getattr(error, "retry_after", None)
            tell(breakers.outage(broker, fault, now, at, probe, retry_after=asked, display_message=said))
        case _:
            pass  # Heard.NOTHING
    return failure


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
